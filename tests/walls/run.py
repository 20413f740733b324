#!/usr/bin/env python3
"""Runs moonwire through programs between it and a server: proxies, TLS fronts, Unix sockets.

    run.py install                        installs what is missing, and prints what is not available
    run.py --moonwire PATH                the short form: one cell of each kind for each program
    run.py --moonwire PATH --full         every cell
    run.py --client curl --full           the same with curl and a small client, to check the other side
    run.py --list [--full]                the cells

Programs, certificates and logs are in a temporary folder, everything listens on free ports of
loopback, and all of it ends with the run. Programs that are not available are skipped and
named. WALLS_HOME has the Python programs (default: walls in the target folder). Exit 1 if a cell failed.
"""

import argparse
import base64
import collections
import fnmatch
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import cells
import programs
from cells import ANY, OK, Cell
from client import payload
from origin import Origin, has_ipv6
from pki import Pki
from programs import PASSWORD, PLAIN_PASSWORD, USER, Broken, Missing

MIB = 15
# The time limit of a client, by its own clock and by ours.
LIMIT, HARD_LIMIT = 20, 40
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUEST_METHOD")
AUTH = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}"
# Texts that must reach neither the origin nor the output of a client.
SECRETS = [PASSWORD, urllib.parse.quote(PASSWORD, safe=""), PLAIN_PASSWORD]
SECRETS += [base64.b64encode(f"{USER}:{word}".encode()).decode() for word in (PASSWORD, PLAIN_PASSWORD)]


class Failed(Exception):
    """A cell is not as expected."""


class Walls:
    def __init__(self, folder: pathlib.Path, home: pathlib.Path, client: list[str], known: str | None) -> None:
        self.client, self.known = client, known
        self.reference = known is None
        self.pki = Pki(folder / "pki")
        self.origin = Origin(self.pki.cert("server"), self.pki.key("server"), str(folder / "app.sock"))
        self.start = programs.Start(folder, home, self.pki, self.origin)
        self.setups: dict[str, object] = {}
        self.sha256 = hashlib.sha256(payload(MIB)).hexdigest()
        pki = self.pki
        self.words = {
            "plain": self.origin.plain, "tls": self.origin.tls, "sock": self.origin.unix,
            "ca": pki.cert("ca"), "other": pki.cert("other"),
            "cert": pki.cert("client"), "key": pki.key("client"),
            "othercert": pki.cert("other-client"), "otherkey": pki.key("other-client"),
            "pin": pki.pin("server"), "badpin": pki.pin("wrong-name"), "auth": AUTH,
        }

    def setup(self, name: str):
        """Starts the setup at its first use; remembers why it is not available."""
        if name not in self.setups:
            try:
                for attempt in (1, 2):
                    try:
                        self.setups[name] = programs.SETUPS[name](self.start)
                        break
                    except Broken:
                        # Another process may have taken the port meanwhile.
                        if attempt == 2:
                            raise
            except (Missing, Broken) as e:
                self.setups[name] = e
        if isinstance(self.setups[name], Exception):
            raise self.setups[name]
        return self.setups[name]

    # One cell --------------------------------------------------------------------------------------

    def run(self, cell: Cell) -> None:
        """Raises Missing or Failed."""
        if "[::1]" in cell.url and not has_ipv6():
            raise Missing("there is no IPv6 on loopback")
        own = cell.setup(self.pki) if callable(cell.setup) else None
        try:
            at = own or (self.setup(cell.setup) if cell.setup else None)
            words = dict(self.words, at=at, auth=getattr(at, "auth", "") or AUTH)
            if "{nginx." in cell.url:
                words["nginx"] = self.setup("nginx")
            options = [word.format(**words) for word in shlex.split(cell.options)]
            self._supported(cell, options)
            mark = len(self.origin.requests)
            log = at.log.stat().st_size if getattr(at, "log", None) else 0
            code, said = self._client(cell, options, words, at)
            want = self._want(cell)
            self._judge(cell, want, code, said)
            requests = self.origin.requests[mark:]
            if want == OK and not requests:
                raise Failed(f"the origin was not asked\n{said}")
            if want not in (OK, ANY) and not cell.reached and requests:
                raise Failed(f"the origin was asked: {requests[0].head[:200]!r}\n{said}")
            if cell.want == OK:
                self._way(cell, at, own, requests, log)
            self._secrets(requests, said)
            self._seen(cell, own, said)
        finally:
            if own:
                own.close()

    def _supported(self, cell: Cell, options: list[str]) -> None:
        """If the binary is older than an option, its cells are skipped."""
        if self.known is None:
            return
        wanted = {word.partition("=")[0] for word in options if word.startswith("--")}
        if cell.env:
            wanted.add("HTTPS_PROXY")
        if "+unix:" in cell.url:
            wanted.add("+unix")
        missing = sorted(word for word in wanted if word not in self.known)
        if missing:
            raise Missing(f"this moonwire does not know {' '.join(missing)}")

    def _client(self, cell: Cell, options: list[str], words: dict, at) -> tuple[int, str]:
        if "--ca" not in options:
            options = ["--ca", self.words["ca"], *options]
        if "+unix:" in cell.url and not self.reference:
            options = ["--allow-unix", *options]
        command = [*self.client, "run", "--timeout", str(LIMIT), *options, str(HERE / f"{cell.script}.luau")]
        command.append(cell.url.format(**words))
        if cell.script == "events" and cell.live:
            command.append("live")
        if cell.script == "upload":
            command += [str(MIB), self.sha256]
        env = {k: v for k, v in os.environ.items() if k.upper() not in PROXY_VARIABLES}
        env.update({k: v.format(**words) for k, v in cell.env.items()})
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        if cell.forms:
            env["WALLS_FORMS"] = "both"
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=programs.with_parent,
        )
        try:
            out, _ = process.communicate(timeout=HARD_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            text = out.decode(errors="replace")
            raise Failed(f"did not end within {HARD_LIMIT} s\n{text}") from None
        return process.returncode, out.decode(errors="replace")

    def _want(self, cell: Cell) -> str:
        if not self.reference:
            return cell.want
        # The texts of other clients differ, except for the status.
        same = cell.want in (OK, ANY) or cell.want.startswith(r"\b")
        return cell.curl or (cell.want if same else ".")

    def _judge(self, cell: Cell, want: str, code: int, said: str) -> None:
        if re.search(r"panicked|RUST_BACKTRACE|Traceback \(most recent", said):
            raise Failed(f"a crash\n{said}")
        if want == ANY:
            if code not in (0, 1):
                raise Failed(f"status {code}\n{said}")
        elif want == OK:
            if code != 0 or not re.search(rf"^OK {cell.script}: ", said, re.M):
                raise Failed(f"status {code}, and no OK line\n{said}")
        # A proxy URL that is not valid is a usage error.
        elif code != (2 if said.startswith("moonwire: --proxy: ") else 1):
            raise Failed(f"status {code} instead of 1\n{said}")
        elif not re.search(want, self._error(said), re.I):
            raise Failed(f"an error that does not say /{want}/\n{said}")

    def _error(self, said: str) -> str:
        """The error that the script raised, without the lines of --trace and the place in the script."""
        _, found, rest = said.partition("error: ")
        return rest.replace(str(HERE), "") if found and not self.reference else said

    def _way(self, cell: Cell, at, own, requests, log: int) -> None:
        source = cell.peer or ("127.0.0.1" if not cell.through or at is None else at.source)
        if source is None:
            self._logged(cell, at.log, log)
        else:
            others = {request.peer for request in requests} - {source}
            if others:
                raise Failed(f"the origin was asked from {', '.join(others)} instead of {source}")
        if not cell.through and own and own.seen:
            raise Failed(f"the proxy was asked: {own.seen}")

    def _logged(self, cell: Cell, log: pathlib.Path, start: int) -> None:
        """Some programs write their log when a connection has ended."""
        port = str(self.origin.tls if cell.url.startswith(("wss", "https")) else self.origin.plain)
        end = time.monotonic() + 5
        while port not in (text := log.read_bytes()[start:].decode(errors="replace")):
            if time.monotonic() > end:
                raise Failed(f"the proxy's log has nothing of port {port}: {text}")
            time.sleep(0.05)

    def _secrets(self, requests, said: str) -> None:
        for request in requests:
            head = request.head.decode("latin-1")
            if "proxy-authorization" in head.lower() or any(secret in head for secret in SECRETS):
                raise Failed(f"the origin has got the proxy's credentials: {head!r}")
        if not self.reference:
            for secret in SECRETS:
                if secret in said:
                    raise Failed(f"{secret} of the proxy's credentials was printed\n{said}")

    def _seen(self, cell: Cell, own, said: str) -> None:
        seen = "\n".join(own.seen) if own else ""
        if cell.seen and not re.search(cell.seen, seen, re.M):
            raise Failed(f"the proxy did not get /{cell.seen}/ but {own.seen}\n{said}")
        if cell.unseen and re.search(cell.unseen, seen):
            raise Failed(f"the proxy got /{cell.unseen}/: {own.seen}\n{said}")


def known_options(moonwire: str) -> str:
    """The options that the help of this binary has."""
    done = subprocess.run([moonwire, "run", "--help"], capture_output=True, stdin=subprocess.DEVNULL)
    return done.stdout.decode() + done.stderr.decode()


def chosen(args) -> list[Cell]:
    every = cells.all_cells()
    if args.only:
        return [c for c in every if any(part in c.name or fnmatch.fnmatch(c.name, part) for part in args.only)]
    return every if args.full else [c for c in every if c.short]


def describe(cell: Cell) -> str:
    setup = cell.setup if isinstance(cell.setup, str) else "hostile" if cell.setup else "none"
    env = " ".join(f"{k}={v}" for k, v in cell.env.items())
    words = [cell.name, setup, f"{env} {cell.options}".strip() or "-", cell.script, cell.url, cell.want]
    return "\t".join(word if len(word) < 120 else word[:117] + "..." for word in words)


def home() -> pathlib.Path:
    target = os.environ.get("CARGO_TARGET_DIR", HERE / ".." / ".." / "target")
    return pathlib.Path(os.environ.get("WALLS_HOME", pathlib.Path(target) / "walls")).resolve()


def install() -> None:
    begin = time.monotonic()
    programs.install(home())
    for command in programs.VERSIONS:
        print(f"{command:<11} {programs.version(command, home())}")
    print(f"install: {time.monotonic() - begin:.0f} s")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=["install"])
    parser.add_argument("--moonwire", metavar="PATH")
    parser.add_argument("--client", choices=["moonwire", "curl"], default="moonwire")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", action="store_true", help="the default")
    size.add_argument("--full", action="store_true")
    parser.add_argument("--only", metavar="NAME", action="append", help="part of a cell's name, or a pattern; of all")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--strict", action="store_true", help="what is skipped is a failure")
    parser.add_argument("--no-install", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leaves the folder with configurations and logs")
    args = parser.parse_args()
    if not args.list and not args.step and args.client == "moonwire" and not args.moonwire:
        parser.error("--moonwire PATH, or --client curl")
    return args


def run(args, folder: pathlib.Path) -> int:
    if args.client == "curl":
        walls = Walls(folder, home(), [sys.executable, "-B", str(HERE / "client.py")], None)
    else:
        moonwire = str(pathlib.Path(args.moonwire).resolve())
        walls = Walls(folder, home(), [moonwire], known_options(moonwire))
    try:
        return go_through(args, walls)
    finally:
        walls.start.end()


def go_through(args, walls: Walls) -> int:
    begin = time.monotonic()
    passed, failed, skipped = 0, [], collections.defaultdict(list)
    for cell in chosen(args):
        start, note = time.monotonic(), ""
        try:
            try:
                walls.run(cell)
            except Failed as e:
                # The machine may be busy: only a cell that fails twice has failed.
                note = f" (second try; the first: {str(e).splitlines()[0]})"
                walls.run(cell)
        except (Missing, Broken) as e:
            skipped[str(e)].append(cell.name)
            continue
        except Failed as e:
            failed.append(cell.name)
            first, *rest = str(e).splitlines()
            print(f"FAIL {cell.name}: {first}", *rest[:12], sep="\n     ")
            print(f"     {describe(cell)}", flush=True)
            continue
        passed += 1
        print(f"ok   {cell.name} {time.monotonic() - start:.2f} s{note}", flush=True)
    for reason, names in skipped.items():
        for name in names:
            print(f"!!! SKIPPED {name}: {reason}")
    count = sum(map(len, skipped.values()))
    print(f"walls: {passed} as expected, {len(failed)} not, {count} skipped, {time.monotonic() - begin:.0f} s")
    if failed:
        print("failed:", *failed)
    if passed + len(failed) + count == 0:
        print("no such cell")
        return 2
    return 1 if failed or (args.strict and count) else 0


def main() -> int:
    args = arguments()
    if args.list:
        print(*map(describe, chosen(args)), sep="\n")
        return 0
    if args.step == "install":
        install()
        return 0
    # So that `finally` runs.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if not args.no_install:
        programs.install(home())
    if not shutil.which("openssl"):
        print("!!! SKIPPED all: there is no openssl to make certificates")
        return 1 if args.strict else 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="walls-"))
    # Programs that drop root privileges must be able to read their files in it.
    folder.chmod(0o755)
    try:
        return run(args, folder)
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
