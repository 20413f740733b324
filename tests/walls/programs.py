"""The real programs: how each is installed, configured and started, from a folder of its own.

A setup is a function of `Start` that writes its configuration and returns what listens. If it can
be configured, a program connects to the origin from 127.0.0.2, which proves that a request came through it;
for the others, the log is searched.
"""

import ctypes
import dataclasses
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time

SOURCE = "127.0.0.2"
# With characters that a URL has to encode. tinyproxy accepts only letters, digits, ".", "_" and "-", mitmproxy no ":".
USER, PASSWORD, PLAIN_PASSWORD = "moon", "se:cret/walls?", "se.cret_w-alls"

# Command: the package of Debian that has it.
DEBIAN = {
    "squid": "squid",
    "tinyproxy": "tinyproxy",
    "microsocks": "microsocks",
    "nginx": "nginx",
    "stunnel": "stunnel4",
    "haproxy": "haproxy",
    "openssl": "openssl",
    "curl": "curl",
}
# Command: the package of PyPI, in the version that the matrix was made with.
PYPI = {"proxy": "proxy.py==2.4.10", "mitmdump": "mitmproxy==11.0.2"}


class Missing(Exception):
    """Something is not available: its cells are skipped."""


class Broken(Exception):
    """A program is installed but does not start."""


# Installing -----------------------------------------------------------------------------------------


def find(command: str, home: pathlib.Path) -> str | None:
    venv = home / "venv" / "bin" / command
    if command in PYPI:
        return str(venv) if venv.exists() else None
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


def install(home: pathlib.Path) -> None:
    """Installs what is missing. Prints what is not available; its cells are skipped later."""
    packages = [package for command, package in DEBIAN.items() if not find(command, home)]
    if packages:
        install_debian(packages)
    missing = [package for command, package in PYPI.items() if not find(command, home)]
    if missing:
        install_pypi(home, missing)


def quiet(*command: str, env=None, limit: float = 600) -> bool:
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=limit, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as e:
        print(f"install: {' '.join(command)}: {e}")
        return False
    if done.returncode:
        tail = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-3:]
        print(f"install: {' '.join(command)}: {done.returncode}", *tail, sep="\n    ")
    return done.returncode == 0


def install_debian(packages: list[str]) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"install: needs root and apt-get for {' '.join(packages)}")
        return
    # Debian starts the programs that it installs, on their default ports, unless this file forbids it.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    get = ("apt-get", "install", "-qy", "--no-install-recommends")
    try:
        if not quiet(*get, *packages, env=env):
            quiet("apt-get", "update", "-q", env=env)
            # One that is not available must not prevent the others.
            if not quiet(*get, *packages, env=env):
                for package in packages:
                    quiet(*get, package, env=env)
    finally:
        if ours:
            policy.unlink()


def install_pypi(home: pathlib.Path, packages: list[str]) -> None:
    venv = home / "venv"
    python = str(venv / "bin" / "python")
    home.mkdir(parents=True, exist_ok=True)
    if not (venv / "bin" / "pip").exists() and not quiet(sys.executable, "-m", "venv", "--clear", str(venv)):
        # Debian without python3-venv: the same from pip.
        tool = str(home / "virtualenv")
        if not quiet(sys.executable, "-m", "pip", "install", "-q", "--target", tool, "virtualenv"):
            return
        if not quiet(sys.executable, "-m", "virtualenv", "-q", str(venv), env=dict(os.environ, PYTHONPATH=tool)):
            return
    for package in packages:
        pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input")
        # The newest if the pinned one is gone.
        quiet(*pip, package) or quiet(*pip, package.split("==")[0])


VERSIONS = {
    "squid": ("-v",),
    "tinyproxy": ("-v",),
    "microsocks": None,  # tells none
    "nginx": ("-v",),
    "stunnel": ("-version",),
    "haproxy": ("-v",),
    "proxy": ("--version",),
    "mitmdump": ("--version",),
    "curl": ("--version",),
    "openssl": ("version",),
}


def version(command: str, home: pathlib.Path) -> str:
    path = find(command, home)
    if not path:
        return "missing"
    if VERSIONS[command] is None:
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", command], capture_output=True)
        return done.stdout.decode() or "?"
    done = subprocess.run([path, *VERSIONS[command]], capture_output=True, stdin=subprocess.DEVNULL)
    lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
    named = [line for line in lines if any(c.isdigit() for c in line) and "Initializing" not in line]
    return named[0].strip() if named else "?"


# Starting -------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Running:
    """The values of a setup that a cell can use as {at.…}."""

    port: int = 0
    tls: int = 0  # with TLS
    mtls: int = 0  # with TLS, and demanding a certificate of the client
    bad: int = 0  # with a certificate of an untrusted root
    wrong: int = 0  # with a certificate for another name
    expired: int = 0
    tls12: int = 0  # with TLS 1.2 at most
    unix: str = ""
    ca: str = ""  # a root of its own
    auth: str = ""  # user and password, if they are not the usual ones
    source: str | None = SOURCE
    log: pathlib.Path | None = None  # the log with the requests of a program without its own source address


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def with_parent() -> None:
    """Runs in the child process: the kernel ends it when the runner has ended, for whatever reason."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    except (OSError, AttributeError):
        pass


class Start:
    """For the setups: the folder, the certificates, the origin, and the processes that were started."""

    def __init__(self, folder: pathlib.Path, home: pathlib.Path, pki, origin) -> None:
        self.folder, self.home, self.pki, self.origin = folder, home, pki, origin
        self.processes: list[tuple[str, subprocess.Popen]] = []
        self.root = os.geteuid() == 0
        self.count = 0

    def command(self, name: str) -> str:
        path = find(name, self.home)
        if not path:
            raise Missing(f"{name} is not here ({DEBIAN.get(name) or PYPI[name]})")
        return path

    def dir(self, name: str, owner: str = "") -> pathlib.Path:
        self.count += 1
        path = self.folder / f"{name}-{self.count}"
        path.mkdir()
        if self.root and owner:
            entry = pwd.getpwnam(owner)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def write(self, path: pathlib.Path, text: str, mode: int = 0o644) -> str:
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def run(self, name: str, dir: pathlib.Path, command: list[str], ports: list[int], env=None, owner="") -> None:
        """Starts it, and waits until it listens on all of `ports`. If this process is root, `owner` is the user of the
        program: a program that drops root privileges itself would not be ended when the runner is killed."""
        user = {}
        if self.root and owner:
            entry = pwd.getpwnam(owner)
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        try:
            with open(dir / "out", "wb") as out:
                process = subprocess.Popen(
                    command, cwd=dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                    env=dict(os.environ, HOME=str(dir), **(env or {})), preexec_fn=with_parent, **user,
                )
        except OSError as e:
            raise Broken(f"{name}: {e}") from None
        self.processes.append((name, process))
        end = time.monotonic() + 40
        left = list(ports)
        while left:
            if process.poll() is not None or time.monotonic() > end:
                tail = (dir / "out").read_text(errors="replace").strip().splitlines()[-6:]
                how = f"ended with {process.returncode}" if process.poll() is not None else "does not listen"
                raise Broken(f"{name} {how}: {' | '.join(tail)}")
            try:
                socket.create_connection(("127.0.0.1", left[0]), 1).close()
                left.pop(0)
            except OSError:
                time.sleep(0.03)

    def end(self) -> None:
        for number, wait in ((signal.SIGTERM, 3), (signal.SIGKILL, 2)):
            for _, process in self.processes:
                try:
                    os.killpg(process.pid, number)
                except (ProcessLookupError, PermissionError):
                    pass
            end = time.monotonic() + wait
            for _, process in self.processes:
                try:
                    process.wait(max(0.01, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass
        self.processes.clear()


# Proxies --------------------------------------------------------------------------------------------


def squid(start: Start, auth: bool = False) -> Running:
    command, dir = start.command("squid"), start.dir("squid", "proxy")
    port, tls = free_port(), free_port()
    hosts = start.write(dir / "hosts", "127.0.0.1 localhost origin.test\n")
    rules = "http_access allow all"
    if auth:
        salted = subprocess.run(
            ["openssl", "passwd", "-apr1", "-stdin"], input=PASSWORD.encode(), capture_output=True, check=True
        ).stdout.decode()
        users = start.write(dir / "users", f"{USER}:{salted}")
        helper = "/usr/lib/squid/basic_ncsa_auth"
        if not os.path.exists(helper):
            raise Missing(f"squid has no {helper}")
        rules = (
            f"auth_param basic program {helper} {users}\nauth_param basic realm walls\n"
            "auth_param basic children 2 startup=1 idle=1\n"
            "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all"
        )
    config = start.write(dir / "conf", f"""
http_port 127.0.0.1:{port}
https_port 127.0.0.1:{tls} tls-cert={start.pki.cert("server")} tls-key={start.pki.key("server")}
{rules}
hosts_file {hosts}
tcp_outgoing_address {SOURCE}
cache deny all
cache_mem 1 MB
access_log stdio:{dir}/access
cache_log {dir}/cache
cache_store_log none
pid_filename {dir}/pid
coredump_dir {dir}
netdb_filename none
pinger_enable off
max_filedescriptors 1024
shutdown_lifetime 0 seconds
visible_hostname walls.test
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
""")
    # Its shared memory is named after the service, so two squids need two names.
    start.run("squid", dir, [command, "-N", "-n", f"walls{os.getpid()}x{start.count}", "-f", config], [port, tls],
              owner="proxy")
    return Running(port=port, tls=tls)


def tinyproxy(start: Start, auth: bool = False) -> Running:
    command, dir = start.command("tinyproxy"), start.dir("tinyproxy", "nobody")
    port = free_port()
    config = start.write(dir / "conf", f"""
Port {port}
Listen 127.0.0.1
Bind {SOURCE}
Timeout 60
LogFile "{dir}/log"
LogLevel Info
PidFile "{dir}/pid"
MaxClients 50
{f"BasicAuth {USER} {PLAIN_PASSWORD}" if auth else ""}
""")
    start.run("tinyproxy", dir, [command, "-d", "-c", config], [port], owner="nobody")
    return Running(port=port, auth=f"{USER}:{PLAIN_PASSWORD}")


def proxypy(start: Start, auth: bool = False, tls: bool = False) -> Running:
    command, dir = start.command("proxy"), start.dir("proxypy")
    port = free_port()
    words = [command, "--hostname", "127.0.0.1", "--port", str(port), "--data-dir", str(dir / "data")]
    words += ["--num-workers", "1", "--num-acceptors", "1", "--threaded", "--log-file", str(dir / "log")]
    if auth:
        words += ["--basic-auth", f"{USER}:{PASSWORD}"]
    if tls:
        words += ["--cert-file", start.pki.cert("server"), "--key-file", start.pki.key("server")]
    start.run("proxy.py", dir, words, [port])
    at = Running(source=None, log=dir / "log")
    at.tls, at.port = (port, 0) if tls else (0, port)
    return at


def mitmproxy(start: Start, auth: bool = False, mode: str = "regular", stream: bool = False) -> Running:
    command, dir = start.command("mitmdump"), start.dir("mitmproxy")
    port = free_port()
    words = [command, "--mode", mode, "--listen-host", "127.0.0.1", "--listen-port", str(port)]
    words += ["--set", f"confdir={dir}/conf", "--set", f"ssl_verify_upstream_trusted_ca={start.pki.cert('ca')}"]
    words += ["--set", "flow_detail=1", "--set", "termlog_verbosity=info"]
    if auth:
        words += ["--set", f"proxyauth={USER}:{PLAIN_PASSWORD}"]
    if stream:
        words += ["--set", "stream_large_bodies=1"]
    start.run("mitmproxy", dir, words, [port], env={"PYTHONUNBUFFERED": "1"})
    ca = dir / "conf" / "mitmproxy-ca-cert.pem"
    # It accepts TLS on the same port, if the client begins with TLS.
    return Running(port=port, tls=port, ca=str(ca), auth=f"{USER}:{PLAIN_PASSWORD}", source=None, log=dir / "out")


def microsocks(start: Start, auth: bool = False) -> Running:
    command, dir = start.command("microsocks"), start.dir("microsocks")
    port = free_port()
    words = [command, "-i", "127.0.0.1", "-p", str(port), "-b", SOURCE]
    words += ["-u", USER, "-P", PASSWORD] if auth else []
    start.run("microsocks", dir, words, [port])
    return Running(port=port)


def stunnel_proxy(start: Start, auth: bool = False) -> Running:
    """TLS in front of tinyproxy: an https proxy, with a good certificate and with three bad ones."""
    command = start.command("stunnel")
    behind = tinyproxy(start, auth)
    dir = start.dir("stunnel")
    ports = {name: free_port() for name in ("server", "other-server", "wrong-name", "expired")}
    text = f"foreground = yes\npid =\noutput = {dir}/log\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
    for name, port in ports.items():
        text += (
            f"[{name}]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind.port}\n"
            f"cert = {start.pki.cert(name)}\nkey = {start.pki.key(name)}\n"
        )
    start.run("stunnel", dir, [command, start.write(dir / "conf", text)], list(ports.values()))
    return Running(
        tls=ports["server"], bad=ports["other-server"], wrong=ports["wrong-name"], expired=ports["expired"],
        auth=behind.auth,
    )


# In front of the origin -----------------------------------------------------------------------------


def nginx(start: Start) -> Running:
    command, dir = start.command("nginx"), start.dir("nginx")
    at = Running(port=free_port(), tls=free_port(), mtls=free_port(), tls12=free_port(), unix=str(dir / "sock"))
    pki = start.pki
    secure = f"ssl_certificate {pki.cert('server')}; ssl_certificate_key {pki.key('server')};"
    pass_on = f"""
        location / {{
            proxy_pass http://127.0.0.1:{start.origin.plain};
            proxy_bind {SOURCE};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrade;
            proxy_set_header Host $http_host;
            proxy_buffering off;
        }}"""
    config = start.write(dir / "conf", f"""
{"user root;" if start.root else ""}
daemon off;
master_process off;
pid {dir}/pid;
error_log {dir}/error info;
events {{ worker_connections 256; }}
http {{
    access_log {dir}/access;
    client_max_body_size 32m;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    map $http_upgrade $upgrade {{ default upgrade; '' close; }}
    server {{ listen 127.0.0.1:{at.port}; listen unix:{at.unix}; {pass_on} }}
    server {{ listen 127.0.0.1:{at.tls} ssl http2; {secure} ssl_protocols TLSv1.2 TLSv1.3; {pass_on} }}
    server {{ listen 127.0.0.1:{at.tls12} ssl; {secure} ssl_protocols TLSv1.2; {pass_on} }}
    server {{ listen 127.0.0.1:{at.mtls} ssl; {secure} ssl_protocols TLSv1.2 TLSv1.3;
        ssl_client_certificate {pki.cert("clients")}; ssl_verify_client on; {pass_on} }}
}}
""")
    words = [command, "-p", str(dir), "-c", config, "-e", str(dir / "error")]
    start.run("nginx", dir, words, [at.port, at.tls, at.tls12, at.mtls])
    return at


def stunnel(start: Start) -> Running:
    command, dir = start.command("stunnel"), start.dir("stunnel")
    at = Running(tls=free_port(), mtls=free_port(), bad=free_port(), wrong=free_port(), expired=free_port(),
                 tls12=free_port())
    pki = start.pki
    text = f"foreground = yes\npid =\noutput = {dir}/log\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
    for name, port, cert, more in (
        ("tls", at.tls, "server", ""),
        ("bad", at.bad, "other-server", ""),
        ("wrong", at.wrong, "wrong-name", ""),
        ("expired", at.expired, "expired", ""),
        ("tls12", at.tls12, "server", "sslVersionMax = TLSv1.2\n"),
        ("mtls", at.mtls, "server", f"CAfile = {pki.cert('clients')}\nverifyChain = yes\nrequireCert = yes\n"),
    ):
        text += (
            f"[{name}]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{start.origin.plain}\nlocal = {SOURCE}\n"
            f"cert = {pki.cert(cert)}\nkey = {pki.key(cert)}\n{more}"
        )
    start.run("stunnel", dir, [command, start.write(dir / "conf", text)], [at.tls, at.mtls, at.expired])
    return at


def haproxy(start: Start) -> Running:
    command, dir = start.command("haproxy"), start.dir("haproxy")
    at = Running(port=free_port(), tls=free_port(), mtls=free_port(), tls12=free_port())
    pem = start.pki.both("server")
    config = start.write(dir / "conf", f"""
global
    maxconn 200
    stats socket {dir}/stats
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend front
    bind 127.0.0.1:{at.port}
    bind 127.0.0.1:{at.tls} ssl crt {pem} alpn h2,http/1.1
    bind 127.0.0.1:{at.tls12} ssl crt {pem} ssl-max-ver TLSv1.2
    bind 127.0.0.1:{at.mtls} ssl crt {pem} ca-file {start.pki.cert("clients")} verify required
    default_backend back
backend back
    source {SOURCE}
    server origin 127.0.0.1:{start.origin.plain}
""")
    start.run("haproxy", dir, [command, "-db", "-f", config], [at.port, at.tls, at.tls12, at.mtls])
    return at


SETUPS = {
    "squid": squid,
    "squid+auth": lambda start: squid(start, True),
    "tinyproxy": tinyproxy,
    "tinyproxy+auth": lambda start: tinyproxy(start, True),
    "proxy.py": proxypy,
    "proxy.py+auth": lambda start: proxypy(start, True),
    "proxy.py+tls": lambda start: proxypy(start, True, True),
    "mitmproxy": mitmproxy,
    "mitmproxy+stream": lambda start: mitmproxy(start, stream=True),
    "mitmproxy+auth": lambda start: mitmproxy(start, True),
    "mitmproxy+socks": lambda start: mitmproxy(start, mode="socks5"),
    "microsocks": microsocks,
    "microsocks+auth": lambda start: microsocks(start, True),
    "stunnel+tinyproxy": stunnel_proxy,
    "stunnel+tinyproxy+auth": lambda start: stunnel_proxy(start, True),
    "nginx": nginx,
    "stunnel": stunnel,
    "haproxy": haproxy,
}
