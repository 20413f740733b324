"""The real servers: how each is installed and started. The functions for installing and starting are those of
tests/walls.

A setup is a function of `Start`; it returns the port of each of its settings.
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def _walls():
    """tests/walls/programs.py, which has the same name as this file."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("walls_programs", HERE.parent / "walls" / "programs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


walls = _walls()
Missing, Broken, free_port = walls.Missing, walls.Broken, walls.free_port

# The versions that the matrix was made with; the newest, if one is gone. `bun` and `deno` bring binaries.
NPM = {"ws": "8.23.0", "bun": "1.4.5", "deno": "2.9.6"}
PYPI = {
    "websockets": "17.4", "aiohttp": "3.14.5", "tornado": "6.6.1",
    "uvicorn": "0.54.0", "wsproto": "1.3.2", "starlette": "1.10.0",
}
DEBIAN = {"node": "nodejs", "npm": "npm", "nginx": "nginx", "nats-server": "nats-server"}
# The servers of the short form.
SHORT = ("node", "npm", "ws", "websockets", "aiohttp")
WINDOWS = [f"asks-{bits}" for bits in range(9, 16)]


def where(command: str) -> str | None:
    return walls.find(command, HERE)


def python(home: pathlib.Path) -> str:
    return str(home / "venv" / "bin" / "python")


def in_venv(home: pathlib.Path, package: str) -> str | None:
    """The version of a package of PyPI."""
    done = list((home / "venv").glob(f"lib/python3*/site-packages/{package}-*.dist-info"))
    return done[0].name.removesuffix(".dist-info").partition("-")[2] if done else None


def in_npm(home: pathlib.Path, package: str) -> str | None:
    file = home / "npm" / "node_modules" / package / "package.json"
    return json.loads(file.read_text())["version"] if file.exists() else None


def install(home: pathlib.Path, short: bool) -> None:
    """Installs what is missing. Prints what is not available; its cells are skipped later."""

    def lacks(table, has):
        return [name for name in table if (not short or name in SHORT) and not has(name)]

    if packages := lacks(DEBIAN, where):
        walls.install_debian([DEBIAN[name] for name in packages])
    if packages := lacks(PYPI, lambda name: in_venv(home, name)):
        walls.install_pypi(home, [f"{name}=={PYPI[name]}" for name in packages])
    packages = lacks(NPM, lambda name: in_npm(home, name))
    if packages and not where("npm"):
        print(f"install: needs npm for {' '.join(packages)}")
        return
    for name in packages:
        npm = ("npm", "install", "--prefix", str(home / "npm"), "--no-audit", "--no-fund", "--silent")
        (home / "npm").mkdir(parents=True, exist_ok=True)
        walls.quiet(*npm, f"{name}@{NPM[name]}") or walls.quiet(*npm, name)


def versions(home: pathlib.Path) -> dict[str, str]:
    found = {name: in_npm(home, name) for name in NPM} | {name: in_venv(home, name) for name in PYPI}
    for name in DEBIAN:
        argument = "-v" if name == "nginx" else "--version"
        if command := where(name):
            done = subprocess.run([command, argument], capture_output=True, stdin=subprocess.DEVNULL, text=True)
            found[name] = (done.stdout + done.stderr).strip().splitlines()[0]
    return {name: found.get(name) or "missing" for name in (*NPM, *PYPI, *DEBIAN)}


class Start(walls.Start):
    def __init__(self, folder: pathlib.Path, home: pathlib.Path) -> None:
        super().__init__(folder, home, None, None)

    def command(self, name: str) -> str:
        if not (path := where(name)):
            raise Missing(f"{name} is not here (Debian: {DEBIAN[name]})")
        return path

    def npm(self, name: str) -> pathlib.Path:
        if not in_npm(self.home, name):
            raise Missing(f"{name} is not here (npm)")
        return self.home / "npm" / "node_modules" / name

    def serve(self, name: str, command: list[str], settings: list[str], env=None) -> dict[str, int]:
        """`command` gets a port for each setting."""
        ports = {setting: free_port() for setting in settings}
        dir = self.dir(name)
        self.run(name, dir, [*command, json.dumps(ports)], list(ports.values()), env=env)
        return ports

    def python(self, name: str, settings: list[str], *packages: str) -> dict[str, int]:
        for package in packages:
            if not in_venv(self.home, package):
                raise Missing(f"{package} is not here (PyPI)")
        program = str(HERE / "servers" / f"{name}_server.py")
        return self.serve(name, [python(self.home), "-B", program], settings)


def ws(start: Start) -> dict[str, int]:
    start.npm("ws")
    node = start.command("node")
    # ws.mjs looks for the package here.
    at = f"process.chdir({json.dumps(str(start.home / 'npm'))})"
    start.write(start.folder / "at.cjs", at)
    command = [node, "--require", str(start.folder / "at.cjs"), str(HERE / "servers" / "ws.mjs")]
    return start.serve("ws", command, ["default", *WINDOWS, "alone", "fragments", "http"])


def bun(start: Start) -> dict[str, int]:
    binary = start.npm("bun") / "bin" / "bun.exe"
    if not binary.exists():
        raise Missing("the package bun has no binary (its install script was not run)")
    sizes = ["3KB", "4KB", "8KB", "16KB", "32KB", "64KB", "128KB", "256KB"]
    return start.serve("bun", [str(binary), str(HERE / "servers" / "bun.mjs")], ["default", "dedicated", *sizes, "http"])


def deno(start: Start) -> dict[str, int]:
    start.npm("deno")
    binaries = [p for p in (start.home / "npm" / "node_modules").glob("@deno/*/deno") if p.is_file()]
    if not binaries:
        raise Missing("the package deno has no binary here")
    command = [str(binaries[0]), "run", "--no-check", "--allow-net", str(HERE / "servers" / "deno.mjs")]
    return start.serve("deno", command, ["default"], env={"DENO_NO_UPDATE_CHECK": "1"})


def nats(start: Start) -> dict[str, int]:
    command, dir = start.command("nats-server"), start.dir("nats")
    port, plain = free_port(), free_port()
    config = start.write(dir / "conf", f"""
host: 127.0.0.1
port: {plain}
max_payload: 2097152
websocket {{ host: 127.0.0.1, port: {port}, no_tls: true, compression: true }}
""")
    start.run("nats", dir, [command, "-c", config], [port, plain])
    return {"default": port}


def nginx(start: Start) -> dict[str, int]:
    """In front of aiohttp's bodies that are not coded."""
    behind = aiohttp(start)["default"]
    command, dir, port = start.command("nginx"), start.dir("nginx"), free_port()
    config = start.write(dir / "conf", f"""
{"user root;" if start.root else ""}
daemon off;
master_process off;
pid {dir}/pid;
error_log {dir}/error info;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    gzip on;
    gzip_proxied any;
    gzip_types text/plain text/event-stream;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind}/plain/;
            proxy_http_version 1.1;
            proxy_buffering off;
        }}
    }}
}}
""")
    start.run("nginx", dir, [command, "-p", str(dir), "-c", config, "-e", str(dir / "error")], [port])
    return {"default": port}


def aiohttp(start: Start) -> dict[str, int]:
    return start.python("aiohttp", ["default"], "aiohttp")


SETUPS = {
    "ws": ws,
    "bun": bun,
    "deno": deno,
    "websockets": lambda s: s.python(
        "websockets", ["default", "open", *WINDOWS, "alone", "fragments"], "websockets"),
    "aiohttp": aiohttp,
    "tornado": lambda s: s.python("tornado", ["default"], "tornado"),
    "uvicorn": lambda s: s.python(
        "uvicorn", ["websockets", "websockets-sansio", "wsproto"], "uvicorn", "websockets", "wsproto", "starlette"),
    "nats": nats,
    "nginx": nginx,
}
