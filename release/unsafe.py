"""Counts the lines of each crate in the command, and those that the compiler cannot check for safety:
python3 release/unsafe.py

A line of Rust counts as unsafe if it has the word outside comments and string literals: the number counts places to
read, not lines in unsafe blocks. All files of a crate count except build scripts, tests, benchmarks and examples,
also files that only other systems or sets of features compile."""

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = {"tests", "test", "benches", "examples", "fuzz", "ci", "docs", "crypto-test-vectors", "bench"}
NATIVE = {".c", ".cc", ".cpp", ".h", ".hpp", ".S", ".s", ".asm", ".inc"}
# Comments and string literals, which do not count.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|r#*".*?"#*|"(?:\\.|[^"\\])*"', re.S)


def lines_of(folder):
    rust = unsafe = native = 0
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not path.is_file() or OUT & set(parts) or path.name in ("build.rs", "tests.rs"):
            continue
        if path.suffix == ".rs":
            text = path.read_text("utf-8", "replace")
            rust += text.count("\n")
            code = NOISE.sub(lambda m: "\n" * m.group().count("\n"), text)
            unsafe += sum(1 for line in code.splitlines() if re.search(r"\bunsafe\b", line) and "unsafe_code" not in line)
        elif path.suffix in NATIVE:
            native += path.read_text("utf-8", "replace").count("\n")
    return rust, unsafe, native


def main():
    tree = subprocess.run(["cargo", "tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}"],
                          cwd=ROOT, check=True, capture_output=True, text=True).stdout
    used = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    metadata = json.loads(subprocess.run(["cargo", "metadata", "--locked", "--format-version=1"],
                                         cwd=ROOT, check=True, capture_output=True).stdout)
    rows = []
    for package in metadata["packages"]:
        # The C++ source of Luau is in a crate that only build scripts use.
        if (package["name"], "v" + package["version"]) in used or package["name"] == "luau0-src":
            folder = pathlib.Path(package["manifest_path"]).parent
            own = folder == ROOT
            counts = lines_of(folder / "src" if own else folder)
            rows.append((package["name"] + (" (this crate)" if own else " " + package["version"]), *counts))
    print("| crate | Rust | `unsafe` | C, C++, assembly |\n|---|--:|--:|--:|")
    for name, rust, unsafe, native in sorted(rows, key=lambda row: (-row[2], -row[3], row[0])):
        print(f"| {name} | {rust:,} | {unsafe:,} | {native:,} |")


main()
