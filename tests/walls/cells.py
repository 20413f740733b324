"""The matrix: one `Cell` for each combination that is tried. A new one is one line.

In `options`, `url` and `env`, a {word} is filled in when the cell runs:

    {at.port} {at.tls} …    what the setup listens on (programs.Running), {at.ca} a root of its own
    {plain} {tls} {sock}    ports and Unix socket of the origin
    {ca} {other}            the root that everything is signed with, and another one
    {cert} {key}            of a client; {othercert} {otherkey} of one that another root signed
    {pin} {badpin}          of the certificate "server"
    {auth}                  user and password, as a URL has them

`--ca {ca}` is added where the options have no --ca, and a time limit always.
"""

import dataclasses

from hostile import Connect, Socks
from programs import PASSWORD, USER

OK = "ok"  # the script ends with its OK line and status 0
ANY = "any"  # an error or not, but it ends in time and does not crash
# Any other value: status 1, and the output matches this regular expression, ignoring case.


@dataclasses.dataclass
class Cell:
    name: str  # program/what; --only accepts a part of it
    setup: object  # a name of programs.SETUPS, a function of the certificates that gives a hostile proxy, or None
    options: str
    script: str  # websocket, events, upload
    url: str
    want: str = OK
    short: bool = False
    env: dict = dataclasses.field(default_factory=dict)
    through: bool = True  # whether the request came through the setup; False: it went around it
    peer: str | None = None  # the source address, if it is not the setup's own
    reached: bool = False  # the origin may get a request although an error is expected
    seen: str = ""  # a regular expression for what a hostile proxy received
    unseen: str = ""
    live: bool = True  # events come one by one
    forms: bool = False  # curl also tries the absolute form
    curl: str | None = None  # what the reference clients do, if that differs from `want`


PATHS = {"websocket": "", "events": "sse", "upload": "upload"}
NO_CERT = "certificate|alert|handshake|reset|closed|eof|ended"
BAD_CERT = "certificate|unknown ?issuer|invalid peer|self.signed|not valid for"
PROXY = "proxy|socks|tunnel|connect"
LATE = "time limit|timed ?out"
# Complete numbers: the port in a URL may contain these digits, too.
NO_AUTH, UNREACHABLE = r"\b407\b", r"\b50\d\b"


def each(name: str, setup: str, options: str, short=(), at: str = "localhost", only=None, live=True, **more):
    """A WebSocket, an event stream and an upload, without TLS and with it."""
    for script in PATHS:
        for secure in ("", "s"):
            scheme = ("ws" if script == "websocket" else "http") + secure
            key = f"{scheme}.{script}"
            if only and key not in only:
                continue
            port = "{tls}" if secure else "{plain}"
            url = f"{scheme}://{at}:{port}/{PATHS[script]}"
            # A program that ends TLS sees an event stream; any other passes bytes on.
            yield Cell(f"{name}/{key}", setup, options, script, url, short=key in short, live=live, **more)


def front(name: str, setup: str, short=()):
    """The same for programs in front of the origin, which have their own ports."""
    for script in PATHS:
        for secure in ("", "s"):
            if name == "stunnel" and not secure:
                continue
            scheme = ("ws" if script == "websocket" else "http") + secure
            port = "{at.tls}" if secure else "{at.port}"
            url = f"{scheme}://localhost:{port}/{PATHS[script]}"
            yield Cell(f"{name}/{scheme}.{script}", setup, "", script, url, short=f"{scheme}.{script}" in short)


def certificates(name: str, bad: str, bad_short: bool):
    """A front that demands a certificate of the client."""
    url = "{at.mtls}"
    good = "--cert {cert} --key {key}"
    wss, https = f"wss://localhost:{url}/", f"https://localhost:{url}/"
    yield Cell(f"{name}/mtls/good/websocket", name, good, "websocket", wss, short=True)
    yield Cell(f"{name}/mtls/good/events", name, good, "events", https + "sse")
    yield Cell(f"{name}/mtls/good/upload", name, good, "upload", https + "upload")
    yield Cell(f"{name}/mtls/none", name, "", "websocket", wss, bad, short=bad_short)
    yield Cell(f"{name}/mtls/none/upload", name, "", "upload", https + "upload", bad)
    other = "--cert {othercert} --key {otherkey}"
    yield Cell(f"{name}/mtls/other-root", name, other, "websocket", wss, bad, short=bad_short)
    yield Cell(f"{name}/mtls/other-root/events", name, other, "events", https + "sse", bad)


def authorized(name: str, scheme: str, port: str, refusal: str, short=True, only=None, live=True, forms=False, ca="",
               wrong=None):
    """A proxy that demands a user and a password: right, none, wrong. --trace must not show them."""
    setup = f"{name}+auth"
    yield from each(f"{name}+auth", setup, f"--trace {ca} --proxy {scheme}://{{auth}}@127.0.0.1:{port}",
                    short=("ws.websocket", "https.events") if short else (), only=only, live=live, forms=forms)
    for key, user in (("none", ""), ("wrong", f"{USER}:guess@"), ("nobody", "nobody:guess@")):
        options = f"--trace {ca} --proxy {scheme}://{user}127.0.0.1:{port}"
        quick = short and key != "nobody"
        want = refusal if key == "none" or wrong is None else wrong
        yield Cell(f"{setup}/{key}/wss", setup, options, "websocket", "wss://localhost:{tls}/", want, short=quick)
        yield Cell(f"{setup}/{key}/ws", setup, options, "websocket", "ws://localhost:{plain}/", want)
        yield Cell(f"{setup}/{key}/events", setup, options, "events", "https://localhost:{tls}/sse", want)
        yield Cell(f"{setup}/{key}/upload", setup, options, "upload", "http://localhost:{plain}/upload", want)


def programs():
    quick = ("wss.websocket", "http.events", "https.upload")
    port = "--proxy http://127.0.0.1:{at.port}"

    yield from each("squid", "squid", port, quick, forms=True)
    yield from authorized("squid", "http", "{at.port}", NO_AUTH, forms=True)
    yield Cell("squid/name-of-its-own", "squid", port, "websocket", "wss://origin.test:{tls}/", short=True)
    yield from each("squid+tls", "squid", "--proxy https://localhost:{at.tls}", ("wss.websocket",), forms=True)
    yield Cell("squid/unreachable", "squid", port, "websocket", "ws://127.0.0.1:1/", UNREACHABLE)
    yield Cell("squid/unresolved", "squid", port, "websocket", "ws://nowhere.invalid:80/", UNREACHABLE)

    yield from each("tinyproxy", "tinyproxy", port, quick, forms=True)
    yield from authorized("tinyproxy", "http", "{at.port}", NO_AUTH, forms=True, wrong=r"\b401\b")
    yield Cell("tinyproxy/unreachable", "tinyproxy", port, "websocket", "ws://127.0.0.1:1/", UNREACHABLE)

    yield from each("proxy.py", "proxy.py", port, quick, forms=True)
    yield from authorized("proxy.py", "http", "{at.port}", NO_AUTH, forms=True)
    yield from each("proxy.py+tls", "proxy.py+tls", "--trace --proxy https://{auth}@localhost:{at.tls}", quick)
    yield Cell("proxy.py+tls/none", "proxy.py+tls", "--proxy https://localhost:{at.tls}", "websocket",
               "wss://localhost:{tls}/", NO_AUTH, short=True)

    yield from each("mitmproxy", "mitmproxy", port + " --ca {at.ca}", quick, live=False, forms=True)
    yield from authorized("mitmproxy", "http", "{at.port}", NO_AUTH, live=False, forms=True, ca="--ca {at.ca}")
    yield from each("mitmproxy+stream", "mitmproxy+stream", port + " --ca {at.ca}")
    yield from each("mitmproxy+socks", "mitmproxy+socks", "--proxy socks5h://127.0.0.1:{at.port} --ca {at.ca}",
                    ("wss.websocket",), live=False)
    yield from each("mitmproxy+tls", "mitmproxy", "--proxy https://127.0.0.1:{at.tls} --ca {at.ca}",
                    ("wss.websocket",), live=False)
    yield Cell("mitmproxy/untrusted", "mitmproxy", port, "websocket", "wss://localhost:{tls}/", BAD_CERT, short=True)
    yield Cell("mitmproxy/pinned", "mitmproxy", port + " --ca {at.ca} --pin sha256/{pin}", "websocket",
               "wss://localhost:{tls}/", "pin", short=True)

    socks = "127.0.0.1:{at.port}"
    yield from each("microsocks", "microsocks", f"--proxy socks5h://{socks}", quick)
    yield from each("microsocks/socks5", "microsocks", f"--proxy socks5://{socks}", only=("ws.websocket",
                    "https.events"), at="127.0.0.1", short=("ws.websocket",))
    yield from authorized("microsocks", "socks5h", "{at.port}", "socks|method|proxy|authenti")
    yield Cell("microsocks/unreachable", "microsocks", f"--proxy socks5h://{socks}", "websocket",
               "ws://127.0.0.1:1/", "refused|general")

    https = "--proxy https://localhost:{at.tls}"
    yield from each("stunnel+tinyproxy", "stunnel+tinyproxy", https, quick)
    yield Cell("stunnel+tinyproxy/auth", "stunnel+tinyproxy+auth",
               "--trace --proxy https://{auth}@localhost:{at.tls}", "websocket", "wss://localhost:{tls}/", short=True)
    for key in ("bad", "wrong", "expired"):
        for scheme, origin in (("ws", "{plain}"), ("wss", "{tls}")):
            yield Cell(f"stunnel+tinyproxy/{key}/{scheme}", "stunnel+tinyproxy+auth",
                       f"--trace --proxy https://{{auth}}@localhost:{{at.{key}}}", "websocket",
                       f"{scheme}://localhost:{origin}/", BAD_CERT, short=scheme == "wss")
    yield Cell("stunnel+tinyproxy/untrusted", "stunnel+tinyproxy", https + " --ca {other}", "websocket",
               "ws://localhost:{plain}/", BAD_CERT)
    yield Cell("stunnel+tinyproxy/not-https", "stunnel+tinyproxy", "--proxy http://localhost:{at.tls}",
               "websocket", "wss://localhost:{tls}/", PROXY + "|closed|reset|http")


def fronts():
    quick = ("ws.websocket", "https.events", "http.upload", "wss.websocket")
    yield from front("nginx", "nginx", quick)
    yield from front("stunnel", "stunnel", ("wss.websocket", "https.upload"))
    yield from front("haproxy", "haproxy", quick)
    # nginx answers 400 over HTTP; the other two end TLS with an alert.
    yield from certificates("nginx", r"\b400\b", True)
    yield from certificates("stunnel", NO_CERT, True)
    yield from certificates("haproxy", NO_CERT, True)
    for name in ("nginx", "stunnel", "haproxy"):
        wss, old = "wss://localhost:{at.tls}/", "wss://localhost:{at.tls12}/"
        yield Cell(f"{name}/pin", name, "--pin sha256/{pin}", "websocket", wss, short=name == "nginx")
        yield Cell(f"{name}/pin/other", name, "--pin sha256/{badpin}", "websocket", wss, "pin", short=name == "nginx")
        yield Cell(f"{name}/tls-min", name, "--tls-min 1.3", "websocket", wss, short=name == "nginx")
        yield Cell(f"{name}/tls-min/1.2", name, "", "websocket", old)
        yield Cell(f"{name}/tls-min/too-old", name, "--tls-min 1.3", "websocket", old,
                   "version|protocol|alert|handshake", short=name == "nginx")
        yield Cell(f"{name}/resolve", name, "--resolve origin.test:443:127.0.0.1:{at.tls}", "websocket",
                   "wss://origin.test/", short=name == "nginx")
    for key in ("bad", "wrong", "expired"):
        yield Cell(f"stunnel/{key}", "stunnel", "", "websocket", f"wss://localhost:{{at.{key}}}/", BAD_CERT, short=True)
        yield Cell(f"stunnel/{key}/events", "stunnel", "", "events", f"https://localhost:{{at.{key}}}/sse", BAD_CERT)
    yield Cell("stunnel/untrusted", "stunnel", "--ca {other}", "websocket", "wss://localhost:{at.tls}/", BAD_CERT)
    # A proxy and, behind it, a front that requires a client certificate.
    for setup, proxy in (("squid", "http"), ("microsocks", "socks5h")):
        yield Cell(f"{setup}/to-nginx-mtls", setup, f"--proxy {proxy}://127.0.0.1:{{at.port}} --cert {{cert}} --key {{key}}",
                   "websocket", "wss://localhost:{nginx.mtls}/", through=False, peer="127.0.0.2", short=True)


def direct():
    yield from each("direct", None, "", ("ws.websocket", "https.events", "https.upload"))
    yield from each("direct/ipv6", None, "", at="[::1]", only=("ws.websocket", "wss.websocket"), peer="::1")
    yield Cell("unix/websocket", None, "", "websocket", "ws+unix:{sock}:/", peer="unix", short=True)
    yield Cell("unix/events", None, "", "events", "http+unix:{sock}:/sse", peer="unix", short=True)
    yield Cell("unix/upload", None, "", "upload", "http+unix:{sock}:/upload", peer="unix")
    yield Cell("unix/none", None, "", "websocket", "ws+unix:{sock}.none:/", "no such file|not found|connect|os error 2")
    yield Cell("unix/nginx/websocket", "nginx", "", "websocket", "ws+unix:{at.unix}:/", short=True)
    yield Cell("unix/nginx/upload", "nginx", "", "upload", "http+unix:{at.unix}:/upload")
    # No proxy is used for a Unix socket.
    yield Cell("unix/env", lambda pki: Connect(), "", "websocket", "ws+unix:{sock}:/", peer="unix", through=False,
               unseen=".", env={"ALL_PROXY": "http://127.0.0.1:{at.port}"}, short=True)


def environment():
    proxy, socks = "http://127.0.0.1:{at.port}", "socks5h://127.0.0.1:{at.port}"
    dead = "http://127.0.0.1:1"
    ws, wss = "ws://localhost:{plain}/", "wss://localhost:{tls}/"

    def cell(name, options, url, env, want=OK, own=Connect, script="websocket", **more):
        return Cell(f"env/{name}", lambda pki: own(), options, script, url, want, env=env, **more)

    def passed(name, options, url, env, **more):
        return cell(name, options, url, env, through=False, unseen=".", **more)

    yield cell("https", "", wss, {"HTTPS_PROXY": proxy, "HTTP_PROXY": dead}, seen="CONNECT localhost:", short=True)
    yield cell("http", "", ws, {"HTTP_PROXY": proxy, "HTTPS_PROXY": dead}, seen="CONNECT localhost:", short=True)
    yield cell("all", "", wss, {"ALL_PROXY": socks}, own=Socks, seen="name localhost", short=True)
    yield cell("all/events", "", "http://localhost:{plain}/sse", {"ALL_PROXY": socks}, own=Socks, script="events")
    yield cell("https-before-all", "", wss, {"HTTPS_PROXY": proxy, "ALL_PROXY": dead})
    yield cell("dead", "", wss, {"HTTPS_PROXY": dead}, "refused|connect")
    yield cell("option-before", f"--proxy {proxy}", wss, {"HTTPS_PROXY": dead, "ALL_PROXY": dead}, short=True)
    yield passed("no", "", wss, {"HTTPS_PROXY": proxy, "NO_PROXY": "example.com,localhost"}, short=True)
    yield passed("no/all", "", ws, {"HTTP_PROXY": proxy, "NO_PROXY": "*"})
    yield passed("no/network", "", "ws://127.0.0.1:{plain}/", {"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.0/8"})
    yield passed("no/option", "--no-proxy localhost", wss, {"HTTPS_PROXY": proxy}, short=True)
    yield passed("no/both-options", f"--proxy {proxy} --no-proxy localhost", wss, {})
    yield passed("no/suffix", "--resolve a.origin.test:{plain}:127.0.0.1 --no-proxy .origin.test",
                 "ws://a.origin.test:{plain}/", {"HTTP_PROXY": proxy})
    yield cell("no/other", "--no-proxy example.com", wss, {"HTTPS_PROXY": proxy})
    yield cell("no/part-of-a-name", "--no-proxy calhost", wss, {"HTTPS_PROXY": proxy}, short=True)
    # Former faults of urllib and curl: a name is not a network, and an address is not a suffix.
    yield cell("no/part-of-an-address", "", "ws://127.0.0.1:{plain}/", {"HTTP_PROXY": proxy, "NO_PROXY": "0.0.1"})
    yield passed("none", "", ws, {"HTTPS_PROXY": dead, "NO_PROXY": ""})
    yield cell("credentials", "--trace", wss, {"HTTPS_PROXY": "http://{auth}@127.0.0.1:{at.port}"},
               own=lambda: Connect(user=USER, password=PASSWORD), short=True)


def socks():
    """SOCKS5, RFC 1928 and 1929."""
    ws, named = "ws://127.0.0.1:{plain}/", "ws://origin.test:{plain}/"

    def cell(name, want=OK, url=ws, options="", give="", scheme="socks5h", script="websocket", seen="", unseen="",
             reached=False, short=False, curl=None, peer=None, **fault):
        proxy = f"{scheme}://{give + '@' if give else ''}127.0.0.1:{{at.port}}"
        return Cell(f"socks/{name}", lambda pki: Socks(**fault), f"--proxy {proxy} {options}", script, url, want,
                    seen=seen, unseen=unseen, reached=reached, short=short, curl=curl, peer=peer)

    # Valid answers.
    yield cell("name", url=named, seen="command 1 name origin.test ", short=True)
    yield cell("name/local", url=named, scheme="socks5", options="--resolve origin.test:{plain}:127.0.0.1",
               seen="command 1 ipv4 127.0.0.1 ", short=True)
    yield cell("ipv4", seen="command 1 ipv4 127.0.0.1 ")
    yield cell("ipv6", url="ws://[::1]:{plain}/", seen="command 1 ipv6 ::1 ", peer="::1", short=True)
    yield cell("tls", url="wss://origin.test:{tls}/", seen="command 1 name origin.test ")
    yield cell("events", url="https://origin.test:{tls}/sse", script="events")
    yield cell("upload", url="https://origin.test:{tls}/upload", script="upload")
    yield cell("drip", url="wss://origin.test:{tls}/", drip=0.01, short=True)
    yield cell("drip/name", url=named, drip=0.01, bound="a" * 255)
    for bound in ("4", "6", "a", "proxy.test", "b" * 255):
        yield cell(f"bound/{bound[:10]}", bound=bound, short=len(bound) == 1)
    yield cell("bound/empty", ANY, bound="")
    # Names. DNS allows 253 bytes, the protocol 255; a longer name must not be truncated.
    for size, want in ((253, OK), (254, ANY), (255, ANY)):
        name = long_name(size)
        yield cell(f"host-{size}", want, url=f"ws://{name}:{{plain}}/", short=size == 253,
                   seen=f"\\({size} bytes\\)" if want == OK else "")
    for size in (256, 257, 511, 1000):
        yield cell(f"host-{size}", ".", url=f"ws://{long_name(size)}:{{plain}}/", unseen="command",
                   short=size == 256)
    # User and password.
    who = {"user": USER, "password": PASSWORD}
    yield cell("user", give="{auth}", options="--trace", seen=f"user {USER} ", short=True, **who)
    yield cell("user/drip", give="{auth}", options="--trace", drip=0.01, **who)
    yield cell("user/wrong", "auth|refused|password|socks|proxy", give=f"{USER}:guess", short=True, **who)
    yield cell("user/none", "method|auth|socks|proxy", **who)
    yield cell("user/not-asked", give="{auth}", options="--trace", unseen="password")
    yield long_user(255, OK)
    yield long_user(256, ".")
    yield encoded_user()
    yield cell("user/status-255", "auth|refused|password|socks|proxy", give="{auth}", options="--trace", status=255, method=2)
    # Some servers answer with version 5 here; RFC 1929 says 1.
    yield cell("user/version-5", ANY, give="{auth}", options="--trace", auth_version=5, method=2)
    # Methods.
    yield cell("method/none-acceptable", "method|socks|proxy", method=255, unseen="went on", short=True)
    yield cell("method/gssapi", "method|socks|proxy", method=1, unseen="went on")
    yield cell("method/not-offered", "method|socks|proxy|auth|password", method=2, unseen="password", short=True)
    yield cell("method/unknown", "method|socks|proxy", method=0x42, unseen="went on")
    # Codes of the reply.
    for code, want in SOCKS_CODES:
        yield cell(f"code-{code}", want, reply=code, short=code in (5, 255))
        if code < 9:
            yield cell(f"code-{code}/name", want, reply=code, bound="proxy.test", url=named)
    yield cell("code-5/events", "refused", reply=5, url="https://origin.test:{tls}/sse", script="events")
    yield cell("code-5/upload", "refused", reply=5, url="http://origin.test:{plain}/upload", script="upload")
    # Invalid answers.
    yield cell("answer/version-4", PROXY, version=4)
    yield cell("answer/version-0", PROXY, version=0)
    yield cell("answer/reserved", ANY, reserved=1)
    yield cell("answer/type-0", PROXY, kind=0)
    yield cell("answer/type-2", PROXY, kind=2, short=True)
    yield cell("answer/type-255", PROXY, kind=255)
    yield cell("answer/tail", ".", tail=b"HTTP/1.1 200 OK\r\n\r\n", reached=True, short=True)
    for key, bytes_ in GARBAGE.items():
        yield cell(f"garbage/{key}", PROXY + "|closed|eof", greeting=bytes_, short=key == "http")
    # The proxy ends the connection after each byte: 2 of the method, 10 of the reply.
    for size in range(13):
        want = PROXY + "|closed|eof|ended|reset" if size < 12 else "."
        yield cell(f"end-after-{size}", want, cut=size, short=size in (0, 1, 7, 12))
    for size in (3, 4, 10):
        yield cell(f"user/end-after-{size}", PROXY + "|closed|eof|ended|reset", give="{auth}", cut=size, **who)
    yield cell("reset", PROXY + "|reset", reset=True, short=True)
    yield cell("silent/greeting", LATE, silent="greeting", options="--connect-timeout 1", short=True)
    yield cell("silent/reply", LATE, silent="reply", options="--connect-timeout 1")
    yield cell("drip/endless", LATE, drip=0.3, bound="c" * 255, options="--connect-timeout 1", curl=ANY)
    yield Cell("socks/dead", None, "--proxy socks5h://127.0.0.1:1", "websocket", ws, "refused", short=True)


SOCKS_CODES = (
    (1, "general|code 1"),
    (2, "not allowed|ruleset|code 2"),
    (3, "network.*unreachable|code 3"),
    (4, "host.*unreachable|code 4"),
    (5, "refused|code 5"),
    (6, "ttl|code 6"),
    (7, "command|code 7"),
    (8, "address type|code 8"),
    (9, PROXY),
    (91, PROXY),
    (255, PROXY),
)
GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": b"\0" * 64,
    "ones": b"\xff" * 64,
    "socks4": b"\0\x5a\0\0\0\0\0\0",
    "text": b"5 00",
    "long": b"\5\0" + b"\xa5" * 65536,
}


def long_name(size: int) -> str:
    """A name of that many bytes below origin.test, of labels that DNS allows."""
    rest = size - len("origin.test")
    labels = ""
    while rest:
        take = min(rest, 64)
        if rest - take == 1:
            take -= 1
        labels += "x" * (take - 1) + "."
        rest -= take
    return labels + "origin.test"


def long_user(size: int, want: str) -> Cell:
    user, password = "u" * size, "p" * min(size, 255)
    return Cell(f"socks/user/{size}-bytes", lambda pki: Socks(user=user, password=password),
                f"--proxy socks5h://{user}:{password}@127.0.0.1:{{at.port}}", "websocket", "ws://127.0.0.1:{plain}/",
                want, unseen="" if want == OK else "password", short=size == 256)


def encoded_user() -> Cell:
    return Cell("socks/user/encoded", lambda pki: Socks(user="m@on", password="w:ll ü"),
                "--proxy socks5h://m%40on:w%3All%20%C3%BC@127.0.0.1:{at.port}", "websocket",
                "ws://127.0.0.1:{plain}/", seen="user m@on password w:ll ü")


def connect():
    """HTTP CONNECT, RFC 9110 §9.3.6."""
    wss, https = "wss://origin.test:{tls}/", "https://origin.test:{tls}/"

    def cell(name, want=OK, answer=Connect.OK, url=wss, options="", give="", script="websocket", scheme="http",
             seen="", unseen="", reached=False, short=False, curl=None, peer=None, cert=None, **fault):
        def setup(pki):
            tls = (pki.cert(cert), pki.key(cert)) if cert else None
            return Connect(answer, tls=tls, **fault)

        place = "localhost" if cert else "127.0.0.1"
        proxy = f"{scheme}://{give + '@' if give else ''}{place}:{{at.port}}"
        return Cell(f"connect/{name}", setup, f"--proxy {proxy} {options}", script, url, want, seen=seen,
                    unseen=unseen, reached=reached, short=short, curl=curl, peer=peer)

    def refused(name, answer, want, **more):
        return cell(name, want, answer.encode() if isinstance(answer, str) else answer, opens=False, **more)

    # Valid answers.
    yield cell("head", seen=r"^CONNECT origin\.test:\d+ HTTP/1\.1\r\n(.*\r\n)*Host: origin\.test:\d+\r\n", short=True,
               unseen="(?i)proxy-authorization|upgrade|sec-websocket")
    yield cell("plain", url="ws://origin.test:{plain}/", seen="^CONNECT origin")
    yield cell("ipv4", url="wss://127.0.0.1:{tls}/", seen=r"CONNECT 127\.0\.0\.1:\d+ ")
    yield cell("ipv6", url="wss://[::1]:{tls}/", seen=r"CONNECT \[::1\]:\d+ ", peer="::1", short=True)
    yield cell("events", url=https + "sse", script="events")
    yield cell("upload", url=https + "upload", script="upload")
    yield cell("http-1.0", answer=b"HTTP/1.0 200 OK\r\n\r\n", short=True)
    yield cell("no-reason", answer=b"HTTP/1.1 200 \r\n\r\n")
    yield cell("no-reason-no-space", ANY, answer=b"HTTP/1.1 200\r\n\r\n")
    yield cell("201", answer=b"HTTP/1.1 201 Created\r\n\r\n")
    yield cell("299", answer=b"HTTP/1.1 299 Odd\r\n\r\n")
    yield cell("204", ANY, answer=b"HTTP/1.1 204 No Content\r\n\r\n")
    yield cell("drip", drip=0.01, short=True)
    yield cell("drip/events", url=https + "sse", script="events", drip=0.01)
    yield cell("header", options="--proxy-header 'X-Wall: a b' --proxy-header 'X-Other: c'",
               seen=r"(?s)X-Wall: a b\r\n.*X-Other: c\r\n", short=True)
    # §9.3.6: a client ignores both fields in a 2xx.
    yield cell("200-length", answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", short=True)
    yield cell("200-chunked", answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", short=True)
    yield cell("200-close", answer=b"HTTP/1.1 200 OK\r\nConnection: close\r\nProxy-Connection: close\r\n\r\n")
    yield cell("1xx", answer=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + Connect.OK,
               short=True)
    yield cell("1xx/drip", answer=b"HTTP/1.1 102 Processing\r\n\r\n" + Connect.OK, drip=0.01)
    yield cell("1xx/1000", ANY, answer=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + Connect.OK)
    yield cell("fields-100", answer=fields(100))
    # Bytes behind the head belong to the tunnel, where they are no valid start of TLS or HTTP.
    yield cell("200-body", ".", answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", short=True)
    yield cell("200-chunked-body", ".", short=True,
               answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    yield cell("200-two", ".", answer=Connect.OK * 2)
    yield cell("200-garbage/ws", ".", answer=Connect.OK + b"\x81\x05hello", url="ws://origin.test:{plain}/", reached=True)
    # A refusal is reported with its status, and the client does not wait for its body.
    ask = 'Proxy-Authenticate: Basic realm="walls"\r\n'
    yield refused("407", f"HTTP/1.1 407 Proxy Authentication Required\r\n{ask}Content-Length: 0\r\n\r\n", NO_AUTH, short=True)
    yield refused("407-body", f"HTTP/1.1 407 No\r\n{ask}Content-Length: 6\r\n\r\nno way", NO_AUTH, short=True)
    yield refused("407-chunked", f"HTTP/1.1 407 No\r\n{ask}Transfer-Encoding: chunked\r\n\r\n6\r\nno way\r\n0\r\n\r\n", NO_AUTH)
    yield refused("407-1-MiB", f"HTTP/1.1 407 No\r\n{ask}Content-Length: 1048576\r\n\r\n{'n' * 1048576}", NO_AUTH)
    yield refused("407-endless", f"HTTP/1.1 407 No\r\n{ask}\r\n", NO_AUTH, endless=b"no " * 100, short=True)
    yield refused("407-drip", f"HTTP/1.1 407 No\r\n{ask}Content-Length: 6\r\n\r\nno way", NO_AUTH, drip=0.01)
    yield refused("407-short", f"HTTP/1.1 407 No\r\n{ask}Content-Length: 600\r\n\r\nno way", NO_AUTH)
    yield refused("407-credentials", f"HTTP/1.1 407 No\r\n{ask}Content-Length: 0\r\n\r\n", NO_AUTH, give="{auth}",
                  options="--trace", short=True)
    yield refused("407-digest", 'HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm="w", nonce="1"\r\n'
                  "Content-Length: 0\r\n\r\n", NO_AUTH, give="{auth}", options="--trace")
    yield refused("407-nothing", "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", NO_AUTH)
    # A page of the proxy must not be mistaken for one of the origin, and its redirect must not be followed.
    for status in ("301 Moved", "302 Found", "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found",
                   "429 Too Many", "500 Broken", "502 Bad Gateway", "503 Busy", "504 Timeout", "599 Odd"):
        code = status[:3]
        answer = f"HTTP/1.1 {status}\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 3\r\n\r\nno\n"
        yield refused(code, answer, rf"\b{code}\b", short=code in ("302", "403"))
    for script, url in (("events", https + "sse"), ("upload", https + "upload")):
        yield refused(f"403/{script}", "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n", r"\b403\b", url=url,
                      script=script)
        page = "HTTP/1.1 502 Bad\r\nContent-Type: text/event-stream\r\n\r\ndata: from the proxy\n\n"
        yield refused(f"502-page/{script}", page, r"\b502\b", url=url, script=script)
    yield refused("101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", ".",
                  short=True)
    # Authorization.
    who = {"user": USER, "password": PASSWORD}

    def known(name, user, password, encoded, want=OK, **more):
        return Cell(f"connect/{name}", lambda pki: Connect(user=user, password=password),
                    f"--trace --proxy http://{encoded}@127.0.0.1:{{at.port}}", "websocket", wss, want, **more)

    yield known("user", who["user"], who["password"], "{auth}", short=True)
    yield known("user/encoded", "m@on", "w:ll ü", "m%40on:w%3All%20%C3%BC")
    yield known("user/no-password", "moon", "", "moon")
    yield known("user/empty-password", "moon", "", "moon:")
    yield known("user/long", "u" * 255, "p" * 1000, f"{'u' * 255}:{'p' * 1000}")
    yield known("user/wrong", "moon", "right", f"{USER}:guess", NO_AUTH)
    # Invalid answers.
    for key, bytes_ in NO_HEAD.items():
        yield refused(f"garbage/{key}", bytes_, ".", short=key in ("ssh", "nul"))
    # A client that does not accept such a head may wait for its end.
    for key, bytes_ in ODD_HEAD.items():
        yield cell(f"odd/{key}", ANY, answer=bytes_, options="--connect-timeout 2")
    yield cell("fields-1000", "field|head|128|too|limit", answer=fields(1000), short=True, curl=ANY)
    yield cell("fields-1000/drip", "field|head|128|too|limit", answer=fields(1000), drip=0.0001,
               options="--connect-timeout 10", curl=ANY)
    yield cell("line-100000", ".", answer=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", short=True, curl=ANY)
    yield cell("line-endless", ".", answer=b"HTTP/1.1 200 OK\r\nX: ", opens=False, endless=b"a" * 1000, curl=ANY)
    yield cell("line-16-MiB", ".", answer=b"HTTP/1.1 200 OK\r\nX: " + b"a" * (16 << 20) + b"\r\n\r\n", curl=ANY)
    # The proxy ends the connection after each byte of the answer.
    for size in range(len(Connect.OK) + 1):
        yield cell(f"end-after-{size}", ".", cut=size, short=size in (0, 9, len(Connect.OK) - 1, len(Connect.OK)))
    yield cell("end-after-200/events", ".", cut=len(Connect.OK), url=https + "sse", script="events")
    yield cell("end-after-20/upload", ".", cut=20, url=https + "upload", script="upload")
    yield cell("reset", ".", reset=True, short=True)
    yield cell("silent", LATE, silent="head", options="--connect-timeout 1", short=True)
    yield cell("drip/endless", LATE, answer=fields(50), drip=0.1, options="--connect-timeout 1", curl=ANY)
    yield Cell("connect/dead", None, "--proxy http://127.0.0.1:1", "websocket", wss, "refused", short=True)
    yield Cell("connect/unresolved", None, "--proxy http://nowhere.invalid:80", "websocket", wss, "resol|name|nowhere")
    # TLS to the proxy.
    yield cell("tls", scheme="https", cert="server", short=True)
    yield cell("tls/drip", scheme="https", cert="server", drip=0.01)
    yield cell("tls/events", scheme="https", cert="server", url=https + "sse", script="events")
    yield cell("tls/upload", scheme="https", cert="server", url=https + "upload", script="upload")
    yield cell("tls/plain-origin", scheme="https", cert="server", url="ws://origin.test:{plain}/")
    for cert in ("other-server", "wrong-name", "expired"):
        yield cell(f"tls/{cert}", BAD_CERT, scheme="https", cert=cert, give="{auth}", options="--trace",
                   unseen="CONNECT", short=cert == "wrong-name")
    yield cell("tls/none", ".", scheme="https", unseen="CONNECT", short=True)
    yield cell("tls/end-after-20", ".", scheme="https", cert="server", cut=20)
    yield cell("tls/407", NO_AUTH, b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", scheme="https", cert="server", opens=False)
    # A pin is for the origin, not for the proxy.
    yield cell("tls/pin", scheme="https", cert="server", options="--pin sha256/{pin}")


def fields(count: int) -> bytes:
    lines = b"".join(b"X-Field-%d: value\r\n" % k for k in range(count))
    return b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"


NO_HEAD = {
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "socks": b"\5\0",
    "zeros": b"\0" * 64,
    "nothing": b"\r\n\r\n",
    "http-2": b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x80\0\4\0\1\0\0\0\5\0\xff\xff\xff",
    "version-2": b"HTTP/2 200 OK\r\n\r\n",
    "version-0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "icy": b"ICY 200 OK\r\n\r\n",
    "four-digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "two-digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "no-digits": b"HTTP/1.1 2xx OK\r\n\r\n",
    "no-colon": b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "page": b"<!DOCTYPE html><title>No</title>\r\n\r\n",
}
ODD_HEAD = {
    "line-feeds": b"HTTP/1.1 200 OK\n\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "two-spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "space-before-colon": b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    "lower-case": b"http/1.1 200 ok\r\n\r\n",
    "latin-1": b"HTTP/1.1 200 \xfcber\r\n\r\n",
    "empty-line-before": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length-negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
}


def all_cells() -> list[Cell]:
    cells = [*direct(), *fronts(), *programs(), *environment(), *socks(), *connect()]
    names = [cell.name for cell in cells]
    double = {name for name in names if names.count(name) > 1}
    assert not double, f"names that are there twice: {double}"
    return cells
