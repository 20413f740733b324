#!/usr/bin/env python3
"""Compare the results of a run with expected.json, case by case.

usage: compare.py [--differing FILE] [--cases LIST] EXPECTED AGENT REPORTS [REPORTS_OF_SECOND_RUN]

EXPECTED maps a case to [behavior, behaviorClose]; REPORTS holds the suite's index.json.
The result of a case in a second run replaces that of the first. Each differing, missing or
extra case is named with both values; --differing writes the expected ones among them into
FILE, as a list for a second run. --cases says which were run (12.1.1,12.2.1), if not all. The last line has the two sums: "N as expected, N not".
exit status: 0 all as expected, 1 not
"""
import argparse
import json
import os
import sys


def load(reports, agent):
    path = os.path.join(reports, "index.json")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf8") as f:
        return {case: [r["behavior"], r["behaviorClose"]]
                for case, r in json.load(f).get(agent, {}).items()}


def main():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument("--differing")
    ap.add_argument("--cases")
    ap.add_argument("expected")
    ap.add_argument("agent")
    ap.add_argument("reports", nargs="+")
    o = ap.parse_args()

    with open(o.expected, encoding="utf8") as f:
        expected = json.load(f)
    if o.cases:
        expected = {case: expected[case] for case in o.cases.split(",")}
    seen = {}
    for reports in o.reports:
        seen.update(load(reports, o.agent))

    differing = [c for c in sorted(expected.keys() | seen.keys(), key=lambda c: [int(x) for x in c.split(".")])
                 if expected.get(c) != seen.get(c)]
    for case in differing:
        want, got = (" / ".join(r[case]) if case in r else "none" for r in (expected, seen))
        kind = "extra" if case not in expected else "missing" if case not in seen else "differs"
        print("  %-7s %-7s  expected %s, seen %s" % (case, kind, want, got))
    if o.differing:
        with open(o.differing, "w", encoding="utf8") as f:
            f.write(",".join(c for c in differing if c in expected))
    passed = sum(expected[c] == seen.get(c) for c in expected)
    print("%d as expected, %d not" % (passed, len(differing)))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
