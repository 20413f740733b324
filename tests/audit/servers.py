#!/usr/bin/env python3
"""Audits servers of others and prints the findings.

    servers.py MOONWIRE [NAME…]      ws websockets tungstenite uvicorn-websockets uvicorn-wsproto bun
                                     nginx-ws (default: all)
    servers.py --write MOONWIRE      also writes docs/AUDITED.md

Needs node with npm, python3 with venv, cargo and nginx. Packages of npm and PyPI are installed, in their newest
versions, into the folder that AUDIT_ENV names (by default a temporary one); tungstenite is that of
tests/peers/rust/Cargo.lock. Every server echoes, and compresses if it can; its other settings are the defaults.
A fault of a server does not fail this script: status 1 means that an audit did not complete. Each server gets 25 s
without traffic, in which it may ping.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SERVERS = HERE / "servers"

NGINX = """\
daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
    fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout.strip()


class Env:
    """Where the servers are installed."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.python = self.folder / "venv/bin/python"
        self.logs = self.folder / "logs"
        self.logs.mkdir(exist_ok=True)

    def install(self, names):
        if any(n.startswith(("websockets", "uvicorn")) for n in names) and not self.python.exists():
            output("python3", "-m", "venv", self.folder / "venv")
            output(self.python, "-m", "pip", "install", "--quiet", "websockets", "uvicorn", "wsproto")
        npm = {"ws"} if {"ws", "nginx-ws"} & set(names) else set()
        npm |= {"bun"} & set(names)
        if any(not (self.folder / "node_modules" / p).exists() for p in npm):
            output("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", self.folder, *npm)
        if "tungstenite" in names:
            manifest = ROOT / "tests/peers/rust/Cargo.toml"
            output("cargo", "build", "--quiet", "--locked", "--manifest-path", manifest,
                   "--bin", "tungstenite_server")

    def node_version(self, package):
        return json.loads((self.folder / "node_modules" / package / "package.json").read_text())["version"]

    def python_version(self, package):
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return output(self.python, "-c", code)

    def ws(self, port):
        return [(["node", SERVERS / "ws.mjs", port], port)], f"ws {self.node_version('ws')}, node {output('node', '--version')[1:]}"

    def bun(self, port):
        bun = self.folder / "node_modules/.bin/bun"
        return [([bun, SERVERS / "bun.js", port], port)], f"Bun {output(bun, '--version')}"

    def websockets(self, port):
        return [([self.python, SERVERS / "websockets_server.py", port], port)], f"websockets {self.python_version('websockets')}"

    def tungstenite(self, port):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "tests/peers/rust/target"))
        lock = (ROOT / "tests/peers/rust/Cargo.lock").read_text()
        version = re.search(r'name = "tungstenite"\nversion = "([^"]+)"', lock)[1]
        return [([target / "debug/tungstenite_server", port], port)], f"tungstenite {version}"

    def uvicorn(self, port, protocol):
        command = [self.python, "-m", "uvicorn", "--app-dir", SERVERS, "--host", "127.0.0.1", "--port", port,
                   "--ws", protocol, "--log-level", "critical", "uvicorn_app:app"]
        version = f"uvicorn {self.python_version('uvicorn')}"
        library = "websockets" if protocol.startswith("websockets") else protocol
        return [(command, port)], f"{version}, {library} {self.python_version(library)}"

    def nginx(self, port):
        behind = free_port()
        folder = tempfile.mkdtemp(dir=self.folder)
        config = pathlib.Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(dir=folder, port=port, behind=behind))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        version = re.search(r"nginx/([\d.]+)", output(nginx, "-v"))[1]
        ws, name = self.ws(behind)
        return [*ws, ([nginx, "-c", config], port)], f"nginx {version} in front of {name}"

    def start(self, name, port):
        return {
            "ws": self.ws,
            "bun": self.bun,
            "websockets": self.websockets,
            "tungstenite": self.tungstenite,
            "uvicorn-websockets": lambda p: self.uvicorn(p, "websockets-sansio"),
            "uvicorn-wsproto": lambda p: self.uvicorn(p, "wsproto"),
            "nginx-ws": self.nginx,
        }[name](port)


NAMES = ["ws", "websockets", "tungstenite", "uvicorn-websockets", "uvicorn-wsproto", "bun", "nginx-ws"]


def wait_for(port, children):
    for _ in range(600):
        if any(child.poll() is not None for child in children):
            raise RuntimeError("the server ended")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not listen")


def audit(env, moonwire, name):
    """The server's description, its findings, and the status of the audit."""
    port = free_port()
    commands, version = env.start(name, port)
    children = []
    environ = {**os.environ, "NODE_MODULES": str(env.folder)}
    log = open(env.logs / f"{name}.log", "w")
    try:
        for command, its_port in commands:
            command = [str(word) for word in command]
            children.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
            wait_for(its_port, children)
        command = [moonwire, "audit", "--hostile", "--json", "--idle", "25", "--timeout", "600", f"ws://127.0.0.1:{port}/"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        findings = [json.loads(line) for line in done.stdout.splitlines()]
        return version, findings, done.returncode
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        log.close()


def count(findings, verdict):
    return sum(finding["verdict"] == verdict for finding in findings)


HEAD = """\
# What `moonwire audit` found in servers of others

Results of `moonwire audit --hostile --idle 25` for servers of other projects. Each server echoes on loopback, with \
its defaults, but with compression if it has an option for that (tungstenite has no compression). \
nginx is configured as its documentation describes for WebSockets, and writes `Connection: upgrade` itself. \
Written by `tests/audit/servers.py --write`, {date}.

A *fault* is a broken rule of the RFC, whatever its effect; a *notice* is a choice that the RFC leaves open. \
Neither means that a server is unsafe. Only these faults affect a client that observes the RFCs: \
{met}; hostile input causes all others.

"""


def cell(finding):
    return {"ok": "ok", "fault": "**fault**", "notice": "notice", "skipped": "–"}[finding["verdict"]]


def escape(text):
    return text.replace("|", "\\|")


def write(results):
    faults = {f["check"]: None for _, findings in results.values() for f in findings
              if f["verdict"] == "fault" and f["kind"] == "legit"}
    met = ", ".join(f"`{check}`" for check in faults) or "none"
    text = HEAD.format(date=time.strftime("%Y-%m-%d", time.gmtime()), met=met)
    text += "| server | ok | faults | notices | skipped |\n|---|--:|--:|--:|--:|\n"
    for version, findings in results.values():
        counts = [count(findings, v) for v in ("ok", "fault", "notice", "skipped")]
        text += f"| {version} | {' | '.join(map(str, counts))} |\n"
    checks = [finding["check"] for finding in next(iter(results.values()))[1]]
    by_name = {name: {f["check"]: f for f in findings} for name, (_, findings) in results.items()}
    text += "\n## Check by check\n\nThe checks with a fault or a notice; – means skipped.\n\n"
    text += f"| check | section | {' | '.join(results)} |\n|---|---|{'---|' * len(results)}\n"
    for check in checks:
        row = [by_name[name][check] for name in results]
        if any(f["verdict"] in ("fault", "notice") for f in row):
            section = row[0]["section"].removeprefix("RFC 6455 ")
            text += f"| {check} | {section} | {' | '.join(map(cell, row))} |\n"
    for name, (version, findings) in results.items():
        text += f"\n## {version}\n\n"
        rest = [f for f in findings if f["verdict"] in ("fault", "notice")]
        if rest:
            text += "| check | the rule | verdict | what the server did |\n|---|---|---|---|\n"
        for f in rest:
            text += f"| {f['check']} | {escape(f['proves'])} | {cell(f)} | {escape(f['seen'])} |\n"
    (ROOT / "docs/AUDITED.md").write_text(text)


def main():
    args = sys.argv[1:]
    writes = "--write" in args
    args = [arg for arg in args if arg != "--write"]
    if not args or any(name not in NAMES for name in args[1:]):
        sys.exit(__doc__)
    moonwire, names = args[0], args[1:] or NAMES
    with tempfile.TemporaryDirectory() as temp:
        folder = os.environ.get("AUDIT_ENV") or temp
        os.makedirs(folder, exist_ok=True)
        env = Env(folder)
        env.install(names)
        results, failed = {}, False
        for name in names:
            version, findings, status = audit(env, moonwire, name)
            results[name] = (version, findings)
            counts = ", ".join(f"{count(findings, v)} {v}" for v in ("ok", "fault", "notice", "skipped"))
            print(f"{version}: {counts}" + ("" if status in (0, 1) else f"; NOT DONE: status {status}"))
            failed |= status not in (0, 1)
            for finding in findings:
                if finding["verdict"] in ("fault", "notice"):
                    print(f"    {finding['verdict']:7} {finding['check']:28} {finding['seen']}")
        if writes and not failed:
            write(results)
        return int(failed)


if __name__ == "__main__":
    sys.exit(main())
