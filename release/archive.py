"""release/archive.py FOLDER NAME TARGET BINARY: writes an archive with the command, licences and
documents, with the same bytes each time (release/build)."""

import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The files beside the binary, and their names in the archive.
BESIDE = {
    "README.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "LICENSE-APACHE": "LICENSE-APACHE",
    "LICENSE-MIT": "LICENSE-MIT",
    "release/sbom.cdx.json": "sbom.cdx.json",
}
NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def crates(target):
    """The crates in the binary: name, version, licence, and the folder with their files."""
    command = ["cargo", "tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=none"]
    command += ["--format={p}", f"--target={target}"]
    tree = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    used = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    found = []
    for package in metadata["packages"]:
        # The C++ source of Luau is in a crate that only build scripts use.
        linked = (package["name"], "v" + package["version"]) in used or package["name"] == "luau0-src"
        if package["source"] and linked:
            folder = pathlib.Path(package["manifest_path"]).parent
            found.append((package["name"], package["version"], package["license"], folder))
    return sorted(found)


def licences(target):
    """The licence of each crate in the binary, with its text if the crate has one."""
    parts = ["What others wrote and the binary holds, with the licence of each. The standard library of Rust is\n"
             "under MIT or Apache-2.0, (c) The Rust Project contributors (https://www.rust-lang.org/policies/licenses).\n"]
    for name, version, licence, folder in crates(target):
        parts.append(f"{'=' * 80}\n{name} {version}: {licence}\n")
        texts = [p for p in folder.rglob("*") if p.is_file() and p.name.upper().startswith(NAMES) and len(p.relative_to(folder).parts) <= 2]
        for path in sorted(texts, key=lambda p: p.relative_to(folder).as_posix()):
            text = path.read_text("utf-8", "replace").replace("\r\n", "\n").strip()
            parts.append(f"--- {path.relative_to(folder).as_posix()}\n\n{text}\n")
        if not texts:
            parts.append("(It brings no file with a licence; the text of those named is in the files beside this one.)\n")
    return "\n".join(parts).encode()


def main():
    folder, name, target, binary = sys.argv[1:]
    binary = pathlib.Path(binary)
    files = {to: (ROOT / file).read_bytes() for file, to in BESIDE.items()}
    files["LICENSES-OF-OTHERS.txt"] = licences(target)
    files[binary.name] = binary.read_bytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in sorted(files):
            info = tarfile.TarInfo(f"{name}/{file}")
            info.size = len(files[file])
            info.mtime = int(os.environ["SOURCE_DATE_EPOCH"])
            info.mode = 0o755 if file == binary.name else 0o644
            archive.addfile(info, io.BytesIO(files[file]))
    path = pathlib.Path(folder) / f"{name}.tar.gz"
    path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    print(f"{path}: {path.stat().st_size:,} bytes")
    for file in sorted(files):
        print(f"    {file:24} {len(files[file]):10,}")


main()
