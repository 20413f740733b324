#!/usr/bin/env python3
"""Replaces `moonwire`: accepts the same command line, and uses curl and a small WebSocket client.

    client.py run [OPTIONS] websocket.luau|events.luau|upload.luau ARGS...

With it `run.py --client curl` shows that the programs and the servers of the matrix are right, so that
a cell that fails only with `moonwire` is a fault of moonwire. Of the scripts, only the names matter.
"""

import base64
import hashlib
import ipaddress
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

from origin import Stream, accept_key, frame, read_frame

WITH_VALUE = {
    *("--proxy", "--no-proxy", "--proxy-header", "--ca", "--cert", "--key", "--pin", "--tls-min", "--resolve"),
    *("--timeout", "--connect-timeout"),
}


def payload(mib: int) -> bytes:
    """The body of upload.luau: numbered blocks of 1 KiB."""
    filling = "moon" * 254
    return "".join(f"{i:07}:{filling}" for i in range(1, mib * 1024 + 1)).encode()


class Options:
    def __init__(self, words: list[str]) -> None:
        self.many: dict[str, list[str]] = {name: [] for name in WITH_VALUE}
        self.trace = False
        while words and words[0].startswith("-"):
            name, _, value = words.pop(0).partition("=")
            if name == "--trace":
                self.trace = True
            elif name in WITH_VALUE:
                self.many[name].append(value or words.pop(0))
            else:
                sys.exit(f"client.py: no option {name}")
        self.script = pathlib.Path(words.pop(0)).stem
        self.args = words

    def one(self, name: str) -> str | None:
        return self.many[name][-1] if self.many[name] else None

    @property
    def limit(self) -> float:
        return float(self.one("--connect-timeout") or self.one("--timeout") or 20)


def url_of(text: str):
    """Scheme, host, port, target and Unix socket."""
    scheme, _, rest = text.partition(":")
    if scheme.endswith("+unix"):
        path, _, target = rest.partition(":")
        return scheme.removesuffix("+unix"), "localhost", 80, target or "/", path
    parts = urllib.parse.urlsplit(text)
    port = parts.port or (443 if scheme in ("wss", "https") else 80)
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return scheme, parts.hostname, port, target, None


# curl ----------------------------------------------------------------------------------------------


def curl_options(options: Options, url: str) -> tuple[list[str], str]:
    scheme, host, port, target, unix = url_of(url)
    words = ["curl", "-sS", "-N", "-g", "--http1.1", "--max-time", str(options.limit)]
    if unix:
        words += ["--unix-socket", unix]
        url = f"{scheme}://localhost{target}"
    if options.one("--proxy"):
        words += ["--proxy", options.one("--proxy")]
    if options.one("--no-proxy"):
        words += ["--noproxy", options.one("--no-proxy")]
    for header in options.many["--proxy-header"]:
        words += ["--proxy-header", header]
    if options.one("--ca"):
        words += ["--cacert", options.one("--ca"), "--proxy-cacert", options.one("--ca")]
    if options.one("--cert"):
        words += ["--cert", options.one("--cert"), "--key", options.one("--key")]
    if options.one("--pin"):
        words += ["--pinnedpubkey", options.one("--pin").replace("sha256/", "sha256//")]
    if options.one("--tls-min"):
        words += [f"--tlsv{options.one('--tls-min')}"]
    for entry in options.many["--resolve"]:
        name, at, *rest = entry.split(":", 2)
        words += ["--resolve", f"{name}:{at}:{rest[0].split(':')[0]}"]
        if ":" in rest[0]:
            words += ["--connect-to", f"{name}:{at}:{name}:{rest[0].split(':')[1]}"]
    if options.trace:
        words += ["-v"]
    return words, url


def curl_forms() -> list[list[str]]:
    """curl asks a proxy for an http:// URL in absolute form unless an option demands CONNECT: both are tried
    if the runner says so, otherwise only CONNECT."""
    return [["--proxytunnel"], []] if os.environ.get("WALLS_FORMS") == "both" else [["--proxytunnel"]]


def curl_env() -> dict:
    # curl reads http_proxy in lower case only, since a web server gives HTTP_PROXY to CGI programs.
    env = dict(os.environ)
    if "HTTP_PROXY" in env:
        env["http_proxy"] = env["HTTP_PROXY"]
    return env


def finish(curl: subprocess.Popen) -> None:
    error = curl.stderr.read().decode(errors="replace")
    if curl.wait():
        sys.stderr.write(error)
        raise RuntimeError(f"curl ended with {curl.returncode}")
    if error:
        sys.stderr.write(error)


def events(options: Options) -> str:
    url, *live = options.args
    words, url = curl_options(options, url)
    for form in curl_forms():
        command = [*words, "--fail", *form, f"{url}?n=10&ms=50"]
        curl = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=curl_env())
        got, times = b"", []
        while data := os.read(curl.stdout.fileno(), 65536):
            got += data
            times.append(time.monotonic())
        finish(curl)
        want = "".join(f'event: tick\nid: {k}\ndata: {{"tick":{k}}}\n\n' for k in range(1, 11)).encode()
        if got != want:
            raise RuntimeError(f"events: {got!r}")
        if live == ["live"] and times[-1] - times[0] < 0.15:
            raise RuntimeError(f"held back: ten events within {times[-1] - times[0]:.3f} s")
    return "events: ten"


def upload(options: Options) -> str:
    url, mib, sha256 = options.args
    words, url = curl_options(options, url)
    with tempfile.NamedTemporaryFile() as file:
        file.write(payload(int(mib)))
        file.flush()
        for form in curl_forms():
            command = [*words, "--fail", *form, "-H", "Content-Type: application/octet-stream"]
            command += ["--data-binary", f"@{file.name}", url]
            curl = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=curl_env())
            got = curl.stdout.read().decode(errors="replace")
            finish(curl)
            if got != f"{int(mib) << 20} {sha256}\n":
                raise RuntimeError(f"upload: {got!r}")
    return f"upload: {mib} MiB"


# A WebSocket client --------------------------------------------------------------------------------


class Tls:
    """TLS over any object with `recv` and `sendall`, so also over another TLS."""

    def __init__(self, below, context: ssl.SSLContext, name: str) -> None:
        self.below = below
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self._until(self.object.do_handshake)

    def _until(self, call, *args):
        while True:
            try:
                result = call(*args)
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.below.recv(65536)
                self.incoming.write(data) if data else self.incoming.write_eof()

    def _flush(self) -> None:
        if data := self.outgoing.read():
            self.below.sendall(data)

    def recv(self, size: int) -> bytes:
        try:
            return self._until(self.object.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def sendall(self, data: bytes) -> None:
        self._until(self.object.write, data)


def bypassed(host: str, rule: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in rule.lower().replace(",", " ").split():
        if entry == "*" or host == entry.strip(".*[]"):
            return True
        if address is None and host.endswith("." + entry.lstrip(".*")):
            return True
        try:
            if address and address in ipaddress.ip_network(entry.strip("[]"), strict=False):
                return True
        except ValueError:
            pass
    return False


def proxy_for(options: Options, scheme: str, host: str) -> str | None:
    env = os.environ
    named = env.get("HTTPS_PROXY") if scheme == "wss" else env.get("HTTP_PROXY")
    proxy = options.one("--proxy") or named or env.get("ALL_PROXY")
    rule = options.one("--no-proxy")
    if rule is None:
        rule = env.get("NO_PROXY", "")
    return None if bypassed(host, rule) else proxy


def tls_context(options: Options) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.one("--ca"))
    if options.one("--cert"):
        context.load_cert_chain(options.one("--cert"), options.one("--key"))
    if options.one("--tls-min") == "1.3":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def check_pin(options: Options, tls: Tls) -> None:
    pin = options.one("--pin")
    if pin:
        pem = ssl.DER_cert_to_PEM_cert(tls.object.getpeercert(True))
        public = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=pem.encode(), capture_output=True)
        der = base64.b64decode("".join(public.stdout.decode().strip().splitlines()[1:-1]))
        if "sha256/" + base64.b64encode(hashlib.sha256(der).digest()).decode() != pin:
            raise RuntimeError("the pin does not match")


def resolved(options: Options, host: str, port: int) -> tuple[str, int]:
    for entry in options.many["--resolve"]:
        name, at, address, *to = entry.split(":")
        if (name, int(at)) == (host, port):
            return address, int(to[0]) if to else port
    return host, port


def tunnel(options: Options, proxy: str, host: str, port: int):
    parts = urllib.parse.urlsplit(proxy)
    user = urllib.parse.unquote(parts.username) if parts.username is not None else None
    password = urllib.parse.unquote(parts.password or "")
    conn = socket.create_connection((parts.hostname, parts.port), options.limit)
    if parts.scheme.startswith("socks5"):
        remote = parts.scheme == "socks5h"
        return socks5(conn, user, password, *((host, port) if remote else resolved(options, host, port)), remote)
    if parts.scheme == "https":
        conn = Tls(conn, ssl.create_default_context(cafile=options.one("--ca")), parts.hostname)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if user is not None:
        head += f"Proxy-Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    head += "".join(f"{header}\r\n" for header in options.many["--proxy-header"])
    conn.sendall(f"{head}\r\n".encode())
    stream = Stream(conn)
    while True:
        answer = stream.head()
        version, status = answer[:7], answer[8:13]
        if version != b"HTTP/1." or status[:1] + status[-1:] != b"  " or not status.strip().isdigit():
            raise RuntimeError(f"the proxy answered {answer[:80]!r}")
        if answer.count(b"\r\n") > 128:
            raise RuntimeError("the proxy answered with too many fields")
        if any(b":" not in line for line in answer.split(b"\r\n")[1:-2]) or b"\0" in answer:
            raise RuntimeError("the proxy answered with a field that is none")
        if status.strip()[:1] == b"2":
            break
        if status.strip()[:1] != b"1" or status.strip() == b"101":
            raise RuntimeError(f"the proxy refused: {answer.splitlines()[0].decode(errors='replace')}")
    if stream.have:
        raise RuntimeError("the proxy sent bytes behind its head")
    return conn


SOCKS_ERRORS = {
    1: "general failure",
    2: "not allowed by the ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


def socks5(conn: socket.socket, user, password, host: str, port: int, remote: bool):
    stream = Stream(conn)
    conn.sendall(b"\5\1\0" if user is None else b"\5\2\0\2")
    version, method = stream.exactly(2)
    if version != 5 or method not in ((0,) if user is None else (0, 2)):
        raise RuntimeError(f"SOCKS: version {version}, method {method}")
    if method == 2:
        name, word = user.encode(), password.encode()
        if not 0 < len(name) < 256 or len(word) > 255:
            raise RuntimeError("SOCKS: user name or password too long")
        conn.sendall(b"\1" + bytes([len(name)]) + name + bytes([len(word)]) + word)
        if stream.exactly(2)[1]:
            raise RuntimeError("SOCKS: user name or password refused")
    try:
        address = ipaddress.ip_address(host if remote else socket.getaddrinfo(host, port)[0][4][0])
        place = bytes([1 if address.version == 4 else 4]) + address.packed
    except ValueError:
        name = host.encode()
        if len(name) > 255:
            raise RuntimeError("SOCKS: name of the host too long") from None
        place = b"\3" + bytes([len(name)]) + name
    conn.sendall(b"\5\1\0" + place + port.to_bytes(2, "big"))
    version, reply, _, kind = stream.exactly(4)
    if version != 5 or reply:
        raise RuntimeError(f"SOCKS: version {version}, {SOCKS_ERRORS.get(reply, f'code {reply}')}")
    if kind not in (1, 3, 4):
        raise RuntimeError(f"SOCKS: address of type {kind}")
    stream.exactly({1: 4, 4: 16}[kind] if kind != 3 else stream.exactly(1)[0])
    stream.exactly(2)
    if stream.have:
        raise RuntimeError("the proxy sent bytes behind its reply")
    return conn


def websocket(options: Options) -> str:
    scheme, host, port, target, unix = url_of(options.args[0])
    proxy = None if unix else proxy_for(options, scheme, host)
    if unix:
        conn = socket.socket(socket.AF_UNIX)
        conn.connect(unix)
    elif proxy:
        conn = tunnel(options, proxy, host, port)
    else:
        conn = socket.create_connection(resolved(options, host, port), options.limit)
    if scheme == "wss":
        conn = Tls(conn, tls_context(options), host)
        check_pin(options, conn)
    key = base64.b64encode(os.urandom(16)).decode()
    conn.sendall(
        f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    stream = Stream(conn)
    head = stream.head()
    if not head.startswith(b"HTTP/1.1 101 ") or accept_key(key).encode() not in head:
        raise RuntimeError(f"handshake refused: {head[:120]!r}")
    for first, data in ((0x81, b"hello"), (0x81, "über".encode()), (0x82, payload(1)), (0x81, b"")):
        conn.sendall(frame(first, data, os.urandom(4)))
        answer = b""
        while True:  # fragments, if a program in between cuts the message
            got, part = read_frame(stream)
            answer += part
            if got & 0x80:
                break
        if answer != data:
            raise RuntimeError(f"{len(data)} bytes came back as {len(answer)}")
    conn.sendall(frame(0x88, b"\x03\xe8", os.urandom(4)))
    first, data = read_frame(stream)
    if (first, data[:2]) != (0x88, b"\x03\xe8"):
        raise RuntimeError(f"close came back as {first:02x} {data!r}")
    return "websocket: text and 1 MiB of binary"


def late(*_) -> None:
    raise TimeoutError("time is over")


def main() -> None:
    if sys.argv[1:2] != ["run"]:
        sys.exit(__doc__)
    options = Options(sys.argv[2:])
    # The time limit of a socket restarts with each byte.
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, options.limit + 1)
    kinds = {"websocket": websocket, "events": events, "upload": upload}
    try:
        print("OK", kinds[options.script](options))
    except Exception as e:
        print(f"client.py: {type(e).__name__}: {e}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
