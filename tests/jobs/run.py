#!/usr/bin/env python3
"""Runs everyday jobs with moonwire, wscat and websocat on the same servers.

    run.py --moonwire PATH                moonwire, and wscat if there is npm
    run.py --moonwire PATH --full         websocat, too, which cargo builds if it is not here (minutes)
    run.py --table                        the table for docs/COMMAND.md

The servers are the package ws of npm, the package websockets of PyPI, `moonwire echo`, and Python's
http.server. All listen on free ports of loopback, and end with the run. Programs that are not
available are skipped and named. JOBS_HOME has the packages (default: jobs in the target folder). Exit 1 if
an output is not as expected, or if the table of docs/COMMAND.md differs.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "walls")]

import jobs
import programs
from pki import Pki, openssl
from programs import Broken, Missing, free_port

# The time limit of a command.
LIMIT = 60
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE")


def home() -> pathlib.Path:
    target = os.environ.get("CARGO_TARGET_DIR", HERE / ".." / ".." / "target")
    return pathlib.Path(os.environ.get("JOBS_HOME", pathlib.Path(target) / "jobs")).resolve()


class Tools:
    """The available programs, or the reason why one is not available."""

    def __init__(self, moonwire: str, full: bool) -> None:
        home().mkdir(parents=True, exist_ok=True)
        self.moonwire = str(pathlib.Path(moonwire).resolve())
        self.node_modules = self._npm()
        self.wscat = str(home() / "node_modules/.bin/wscat") if self.node_modules else ""
        self.python = self._pypi()
        self.websocat = self._websocat(full)

    def _npm(self) -> bool:
        if not (shutil.which("npm") and shutil.which("node")):
            return False
        there = all((home() / "node_modules" / name).exists() for name in ("ws", "wscat"))
        command = ("npm", "install", "--no-audit", "--no-fund", "--prefix", str(home()), "ws", "wscat")
        return there or programs.quiet(*command)

    def _pypi(self) -> str:
        python = home() / "venv/bin/python"
        if not python.exists() or not programs.quiet(str(python), "-c", "import websockets.asyncio.server"):
            programs.install_pypi(home(), ["websockets"])
        there = python.exists() and programs.quiet(str(python), "-c", "import websockets.asyncio.server")
        return str(python) if there else ""

    def _websocat(self, full: bool) -> str:
        ours = home() / "websocat/bin/websocat"
        if not ours.exists() and not shutil.which("websocat") and full:
            print("cargo install websocat: this takes minutes", flush=True)
            command = ("cargo", "install", "websocat", "--locked", "--root", str(home() / "websocat"))
            programs.quiet("nice", *command, limit=3600)
        return str(ours) if ours.exists() else shutil.which("websocat") or ""


class Servers:
    def __init__(self, folder: pathlib.Path, tools: Tools) -> None:
        self.folder, self.tools = folder, tools
        self.pki = Pki(folder / "pki")
        self.start = programs.Start(folder, home(), self.pki, None)
        self.processes: list[subprocess.Popen] = []
        self.urls: dict[str, dict[str, str]] = {}
        self.proxies: dict[str, str] = {}

    def begin(self) -> None:
        pki, sock = self.pki, str(self.folder / "app.sock")
        words = [pki.cert("server"), pki.key("server"), pki.cert("clients"), sock]
        if self.tools.node_modules:
            env = {"NODE_PATH": str(home() / "node_modules")}
            at = json.loads(self._line(["node", str(HERE / "server.js"), *words], env))
            self.urls["ws"] = {
                "url": f"ws://127.0.0.1:{at['plain']}", "tls": f"wss://localhost:{at['tls']}",
                "mtls": f"wss://localhost:{at['mtls']}", "sock": sock,
            }
        if self.tools.python:
            at = json.loads(self._line([self.tools.python, "-B", str(HERE / "server.py")], {}))
            self.urls["websockets"] = {"url": f"ws://127.0.0.1:{at['plain']}"}
            self.urls["http"] = {"http": f"http://127.0.0.1:{at['http']}"}
        said = self._line([self.tools.moonwire, "echo"], {})
        self.urls["echo"] = {"url": next(word for word in said.split() if word.startswith("ws:")).rstrip("/")}
        for name, make in (("http_proxy", self._tinyproxy), ("socks", self._microsocks)):
            try:
                self.proxies[name] = f"127.0.0.1:{make()}"
            except (Missing, Broken) as e:
                print(f"!!! {name}: {e}")
        openssl("pkcs12", "-export", "-in", pki.cert("client"), "-inkey", pki.key("client"), "-passout", "pass:moon",
                "-out", str(self.folder / "me.p12"))

    def _tinyproxy(self) -> int:
        return programs.tinyproxy(self.start).port

    def _microsocks(self) -> int:
        port, command = free_port(), self.start.command("microsocks")
        where = ["-i", "127.0.0.1", "-p", str(port)]
        self.start.run("microsocks", self.start.dir("microsocks"), [command, *where], [port])
        return port

    def _line(self, command: list[str], env: dict) -> str:
        """Starts a server; its first line of output has its addresses."""
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=dict(os.environ, **env),
            preexec_fn=programs.with_parent, text=True,
        )
        self.processes.append(process)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(command)} does not start")
        return line

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.start.end()

    def words(self, server: str, unique: str) -> dict[str, str]:
        pki, tools = self.pki, self.tools
        return dict(
            self.urls[server], **self.proxies, moonwire=tools.moonwire, wscat=tools.wscat, websocat=tools.websocat,
            ca=pki.cert("ca"), cert=pki.cert("client"), key=pki.key("client"), p12=str(self.folder / "me.p12"),
            file=str(self.folder / f"file-{unique}"), unique=unique,
        )


def run(command: str) -> tuple[int, bytes, bytes]:
    env = {k: v for k, v in os.environ.items() if k.upper() not in VARIABLES}
    process = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, preexec_fn=programs.with_parent,
    )
    # Standard input stays open: wscat ends with it.
    with concurrent.futures.ThreadPoolExecutor(2) as readers:
        out, err = readers.submit(process.stdout.read), readers.submit(process.stderr.read)
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        process.stdin.close()
        return status, out.result(), err.result()


def verdict(job: jobs.Job, tool: str, command: str) -> str:
    """The differences from the expected output; none if it is right."""
    want = job.want if tool == "moonwire" or job.other is None else job.other
    status, out, err = run(command)
    try:
        right = want(out) if callable(want) else out == want
    except ValueError:
        right = False
    # If another tool ends the connection itself, its status is not always 0.
    if right and (status == 0 or tool == "websocat"):
        return ""
    wanted = "" if callable(want) else f", not {want[:200]!r}"
    return f"status {status}, {out[:300]!r}{wanted}; {err[:400].decode(errors='replace').strip()}"


def cells(servers: Servers, only: list[str]):
    """Job, tool, server and command line; or what is missing instead of a command line."""
    tools = servers.tools
    for number, job in enumerate(jobs.JOBS):
        if only and not any(part in job.name for part in only):
            continue
        for tool in ("moonwire", "wscat", "websocat", "curl"):
            template = getattr(job, tool)
            there = shutil.which("curl") if tool == "curl" else getattr(tools, tool)
            # The other tools run with one server only.
            for server in job.servers if tool == "moonwire" else job.servers[:1]:
                if not template:
                    continue
                name = f"{job.name} ({tool}, {server})"
                if not there:
                    yield job, tool, name, None, f"no {tool} here"
                elif server not in servers.urls:
                    yield job, tool, name, None, f"no server {server} here"
                elif job.needs in ("http_proxy", "socks") and job.needs not in servers.proxies:
                    yield job, tool, name, None, f"no {job.needs} here"
                elif job.needs == "xxd" and not shutil.which("xxd") and tool != "moonwire":
                    yield job, tool, name, None, "no xxd here"
                else:
                    command = template.format(**servers.words(server, f"{number}-{tool}-{server}"))
                    yield job, tool, name, command, ""


def same_table() -> bool:
    text = (HERE / ".." / ".." / "docs" / "COMMAND.md").read_text()
    rows = [row for row in jobs.table() if row not in text.splitlines()]
    for row in rows:
        print(f"FAIL docs/COMMAND.md has no such row (run.py --table): {row}")
    return not rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moonwire", metavar="PATH")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", metavar="PART", action="append", help="part of a job's name")
    args = parser.parse_args()
    if args.table:
        print(*jobs.table(), sep="\n")
        return 0
    if not args.moonwire:
        parser.error("--moonwire PATH")
    begin, failed, passed = time.monotonic(), 0, 0
    missing = [name for name in ("tinyproxy", "microsocks", "xxd") if not programs.find(name, home())]
    if missing:
        programs.install_debian(missing)
    tools = Tools(args.moonwire, args.full)
    skipped: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="jobs-") as folder:
        # tinyproxy drops root privileges.
        os.chmod(folder, 0o755)
        servers = Servers(pathlib.Path(folder), tools)
        try:
            servers.begin()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                asked = []
                for job, tool, name, command, why in cells(servers, args.only):
                    if why:
                        skipped[why] = skipped.get(why, 0) + 1
                    else:
                        asked.append((name, command, pool.submit(verdict, job, tool, command)))
                for name, command, future in asked:
                    wrong = future.result()
                    passed, failed = passed + (not wrong), failed + bool(wrong)
                    print(f"FAIL {name}: {command}\n     {wrong}" if wrong else f"ok   {name}", flush=True)
        finally:
            servers.end()
    failed += not same_table()
    for why, count in skipped.items():
        print(f"!!! NOT CHECKED: {why}: {count} command lines")
    print(f"jobs: {passed} as expected, {failed} not, {sum(skipped.values())} skipped, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
