#!/usr/bin/env python3
"""Compressed messages (RFC 7692) and coded bodies, exchanged with real servers.

    run.py install                        installs what is missing, and prints what is not available
    run.py --moonwire PATH                the short form: ws, websockets and aiohttp, a few cells of each
    run.py --moonwire PATH --full         every cell
    run.py --list [--full]                the cells

The client on the blocking face is the example `interop_client`, in the folder "examples" beside PATH.
Everything listens on free ports of loopback, in a temporary folder, and ends with the run. Servers that
are not available are skipped and named. INTEROP_HOME has the packages of npm and PyPI (default: interop
in the target folder). Exit 1 if a cell failed.
"""

import argparse
import collections
import fnmatch
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import cells
import programs
from cells import Cell
from programs import Broken, Missing

HARD_LIMIT = 60
# A message in the trace: its direction, its length, and its length on the wire.
MESSAGE = re.compile(r" (->|<-) (?:text|binary) message (\d+) compressed to (\d+) ")
BODY = re.compile(r" <- body (\d+) coded as (\d+)$", re.M)
KEPT = re.compile(r"over a kept connection", re.M)
CODED = re.compile(r" <- coded as (\w+)(?: though identity was asked for)?; it is decoded$", re.M)
# The distances of echo.luau, and how far from its window's end zlib stays (MIN_LOOKAHEAD).
DISTANCES = (250, 500, 1000, 2000, 4000, 8000, 16000, 32000)
LOOKAHEAD = 262
# The small messages of echo.luau: with takeover they compress to less than this part of their length,
# without it to more.
SMALL, PART = range(128, 200), 0.45


class Failed(Exception):
    """A cell is not as expected."""


class Interop:
    def __init__(self, folder: pathlib.Path, home: pathlib.Path, moonwire: pathlib.Path) -> None:
        self.moonwire, self.example = moonwire, moonwire.parent / "examples" / "interop_client"
        self.start = programs.Start(folder, home)
        self.setups: dict[str, object] = {}

    def setup(self, name: str) -> dict[str, int]:
        """Starts the server at its first use; remembers why it is not available."""
        if name not in self.setups:
            try:
                self.setups[name] = programs.SETUPS[name](self.start)
            except (Missing, Broken) as e:
                self.setups[name] = e
        if isinstance(self.setups[name], Exception):
            raise self.setups[name]
        return self.setups[name]

    def run(self, cell: Cell) -> str:
        """Returns what was observed. Raises Missing or Failed."""
        port = self.setup(cell.server)[cell.setting]
        code, out, trace = self._client(self._command(cell, port))
        said = f"{out}\n{trace[-1500:]}"
        if re.search(r"panicked|RUST_BACKTRACE", said):
            raise Failed(f"a crash\n{said}")
        if cell.path:
            return self._judge_body(cell, code, out, trace, said)
        return self._judge(cell, code, out, trace, said)

    def _command(self, cell: Cell, port: int) -> list[str]:
        scheme = "http" if cell.path else "ws"
        url = f"{scheme}://127.0.0.1:{port}{cell.path or '/'}"
        words = [word for word in cell.options if word == "held"] if cell.path else [cell.work]
        words += cell.offer.arguments() if cell.offer else []
        if cell.client == "blocking":
            if not self.example.exists():
                raise Missing(f"{self.example.name} is not built (cargo build --release --example interop_client)")
            return [str(self.example), url, *([cell.work] if cell.path else []), *words]
        script = cell.work if cell.path else "echo"
        command = [str(self.moonwire), "run", "--trace", "--timeout", str(HARD_LIMIT - 10)]
        command += ["--poll-thread"] if cell.client == "poll-thread" else []
        command += ["--compressed"] if cell.path and "unasked" not in cell.options else []
        return [*command, str(HERE / f"{script}.luau"), url, *words]

    def _client(self, command: list[str]) -> tuple[int, str, str]:
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=programs.walls.with_parent,
        )
        try:
            out, err = process.communicate(timeout=HARD_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise Failed(f"did not end within {HARD_LIMIT} s\n{out.decode(errors='replace')}") from None
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    # Messages ---------------------------------------------------------------------------------------

    def _judge(self, cell: Cell, code: int, out: str, trace: str, said: str) -> str:
        if cell.want.startswith("refused: "):
            if code != 1 or not re.search(cell.want.removeprefix("refused: "), said):
                raise Failed(f"is not {cell.want}\n{said}")
            return "refused"
        answer = re.search(r"^answer: (.*)$", out, re.M)
        if code != 0 or not answer or not re.search(r"^OK echo: \d+ messages$", out, re.M):
            raise Failed(f"status {code}, and no OK line\n{said}")
        offer = cell.offer or cells.Offer()
        got = agreement(answer[1], offer)
        if got != cell.want:
            raise Failed(f"agreed on {got!r} ({answer[1]}), not on {cell.want!r}")
        reported = re.search(r"^agreed: (.*)$", out, re.M)
        if reported and reported[1] != got:
            raise Failed(f"WebSocket::compression says {reported[1]!r}, the answer {got!r}: {answer[1]}")
        return f"{got}; {self._used(cell, offer, got, MESSAGE.findall(trace))}"

    def _used(self, cell: Cell, offer: cells.Offer, got: str, seen: list) -> str:
        """Checks that both sides compressed, and within the agreed parameters."""
        ways = collections.defaultdict(list)
        for way, length, wire in seen:
            ways[way].append((int(length), int(wire)))
        if got == "none":
            if seen:
                raise Failed(f"nothing was agreed on, and {len(seen)} messages were compressed")
            return "plain"
        window, taken, server_window, server_taken = got.split()
        if not ways["->"] or not ways["<-"]:
            raise Failed(f"{len(ways['->'])} messages were sent compressed, and {len(ways['<-'])} came so")
        if any(wire >= length for length, wire in ways["->"]):
            raise Failed("a message went out compressed that had not become shorter")
        parts = {way: part(lengths) for way, lengths in ways.items()}
        if cell.work == "all":
            far = {length // 3 for length, _ in ways["->"] if length % 3 == 0 and length // 3 in DISTANCES}
            near = {d for d in DISTANCES if d <= 2 ** int(window) - LOOKAHEAD}
            if far != near:
                raise Failed(f"with a window of {window} what is {sorted(far)} away was found, not {sorted(near)}")
            if (parts["->"] < PART) != (taken == "takeover"):
                raise Failed(f"with {taken}, small messages went out as {parts['->']:.2f} of their length")
            self._kept(ways["<-"], int(server_window))
            if server_taken == "alone" and parts["<-"] < PART:
                raise Failed(f"without takeover, small messages came as {parts['<-']:.2f} of their length")
        up, down = (f"{parts[way]:.2f}" for way in ("->", "<-"))
        return f"sent {len(ways['->'])} as {up}, came {len(ways['<-'])} as {down}"

    def _kept(self, came: list, window: int) -> None:
        """Checks that references beyond the server's window were not used."""
        for length, wire in came:
            if length % 3 == 0 and length // 3 in DISTANCES and length // 3 > 2**window and wire < length:
                raise Failed(f"with a window of {window} the server found what is {length // 3} away")

    # Bodies -----------------------------------------------------------------------------------------

    def _judge_body(self, cell: Cell, code: int, out: str, trace: str, said: str) -> str:
        if code != 0 or not re.search(rf"^OK {cell.work}: ", out, re.M):
            raise Failed(f"status {code}, and no OK line\n{said}")
        if cell.work == "calls":
            kept = len(KEPT.findall(trace))
            if kept != 20:
                raise Failed(f"{kept} of 21 calls went over a connection that was kept, not 20\n{said}")
            return f"{kept} of 21 calls over a connection that was kept"
        if cell.work == "upload":
            return "the server undid gzip"
        codings = CODED.findall(trace)
        body = BODY.search(trace)
        if cell.want not in codings or not body:
            raise Failed(f"the answer is coded as {codings}, not as {cell.want}\n{said}")
        return f"{cell.want}; {body[1]} bytes as {body[2]}"


def part(lengths: list) -> float:
    """The compressed length of small messages, as a part of their length."""
    small = [(length, wire) for length, wire in lengths if length in SMALL]
    return sum(wire for _, wire in small) / max(1, sum(length for length, _ in small))


def agreement(answer: str, offer: cells.Offer) -> str:
    """The meaning of an answer (RFC 7692 §7.1), parsed without moonwire."""
    if not answer:
        return "none"
    name, *parameters = [word.strip() for word in answer.split(";")]
    if name != "permessage-deflate":
        raise Failed(f"what is {answer}?")
    said = dict(word.partition("=")[::2] for word in parameters)
    return cells.agreed(
        int(said.get("client_max_window_bits") or offer.window),
        offer.takeover and "client_no_context_takeover" not in said,
        int(said.get("server_max_window_bits") or 15),
        "server_no_context_takeover" not in said,
    )


# The command line -------------------------------------------------------------------------------------


def chosen(args) -> list[Cell]:
    every = cells.all_cells()
    if args.only:
        return [c for c in every if any(part in c.name or fnmatch.fnmatch(c.name, part) for part in args.only)]
    return every if args.full else [c for c in every if c.short]


def home() -> pathlib.Path:
    target = os.environ.get("CARGO_TARGET_DIR", HERE / ".." / ".." / "target")
    return pathlib.Path(os.environ.get("INTEROP_HOME", pathlib.Path(target) / "interop")).resolve()


def install(short: bool) -> None:
    begin = time.monotonic()
    programs.install(home(), short)
    for name, version in programs.versions(home()).items():
        if not short or name in programs.SHORT:
            print(f"{name:<11} {version}")
    print(f"install: {time.monotonic() - begin:.0f} s", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=["install"])
    parser.add_argument("--moonwire", metavar="PATH")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", metavar="NAME", action="append", help="part of a cell's name, or a pattern; of all")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--strict", action="store_true", help="what is skipped is a failure")
    parser.add_argument("--no-install", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leaves the folder with configurations and logs")
    args = parser.parse_args()
    if not args.list and not args.step and not args.moonwire:
        parser.error("--moonwire PATH")
    return args


def go_through(args, interop: Interop) -> int:
    begin = time.monotonic()
    passed, failed, skipped = 0, [], collections.defaultdict(list)
    for cell in chosen(args):
        start, note = time.monotonic(), ""
        try:
            try:
                seen = interop.run(cell)
            except Failed as e:
                # The machine may be busy: only a cell that fails twice has failed.
                note = f" (second try; the first: {str(e).splitlines()[0]})"
                seen = interop.run(cell)
        except (Missing, Broken) as e:
            skipped[str(e)].append(cell.name)
            continue
        except Failed as e:
            failed.append(cell.name)
            first, *rest = str(e).splitlines()
            print(f"FAIL {cell.name}: {first}", *[line[:300] for line in rest[:12]], sep="\n     ", flush=True)
            continue
        passed += 1
        print(f"ok   {cell.name} {time.monotonic() - start:.2f} s: {seen}{note}", flush=True)
    for reason, names in skipped.items():
        print(f"!!! SKIPPED {len(names)} cells, {names[0]} and so on: {reason}")
    count = sum(map(len, skipped.values()))
    print(f"interop: {passed} as expected, {len(failed)} not, {count} skipped, {time.monotonic() - begin:.0f} s")
    if failed:
        print("failed:", *failed)
    if passed + len(failed) + count == 0:
        print("no such cell")
        return 2
    return 1 if failed or (args.strict and count) else 0


def main() -> int:
    args = arguments()
    if args.list:
        for cell in chosen(args):
            print(f"{cell.name}\t{cell.want}")
        return 0
    if args.step or not args.no_install:
        install(short=not (args.full or args.only or args.step))
    if args.step:
        return 0
    # So that `finally` runs.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="interop-"))
    interop = Interop(folder, home(), pathlib.Path(args.moonwire).resolve())
    try:
        return go_through(args, interop)
    finally:
        interop.start.end()
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)



if __name__ == "__main__":
    sys.exit(main())
