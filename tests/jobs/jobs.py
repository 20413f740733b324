"""The jobs: the command line of each tool, and the expected output.

In a command line, {moonwire}, {wscat} and {websocat} are the tools and the other names are those of
this run: ports, files. `shown` has their names in docs/COMMAND.md.
"""

import dataclasses
import json

# Every byte four times over; the same in server.js.
PICTURE = bytes(i & 255 for i in range(1024))


def lines(*words: str) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


def kinds(*want: str):
    """JSON objects of these kinds, one on each line."""
    def check(out: bytes) -> bool:
        reported = [json.loads(line) for line in out.decode().splitlines()]
        return [event["kind"] for event in reported] == list(want)
    return check


@dataclasses.dataclass
class Job:
    name: str
    # The expected standard output, or a function that checks it.
    want: object
    moonwire: str
    wscat: str = ""
    websocat: str = ""
    # For jobs that neither of them can do.
    curl: str = ""
    # The servers that support it.
    servers: tuple[str, ...] = ("ws",)
    # A program that the server of this job needs.
    needs: str = ""
    # Other output of the other tools, which is not an error.
    other: object = None


ALL = ("ws", "websockets", "echo")
BOTH = ("ws", "websockets")

JOBS = [
    Job("send a line, print the answer", lines("hello"),
        "{moonwire} connect -x hello --wait 1 {url}/echo",
        "{wscat} -c {url}/echo -x hello -w 1",
        "echo hello | {websocat} -1 {url}/echo", servers=ALL),
    Job("lines through a pipe", lines("a", "b", "c"),
        r"printf 'a\nb\nc\n' | {moonwire} connect {url}/echo",
        "",
        r"printf 'a\nb\nc\n' | {websocat} {url}/echo", servers=ALL),
    Job("a header", lines("blue"),
        "{moonwire} connect -H 'X-Job: blue' -x ? --wait 1 {url}/header/x-job",
        "{wscat} -c {url}/header/x-job -H 'X-Job: blue' -x ? -w 1",
        "echo ? | {websocat} -1 -H='X-Job: blue' {url}/header/x-job", servers=BOTH),
    Job("a subprotocol", lines("chat.v2"),
        "{moonwire} connect -s chat.v2 -x ? --wait 1 {url}/protocol",
        "{wscat} -c {url}/protocol -s chat.v2 -x ? -w 1",
        "echo ? | {websocat} -1 --protocol chat.v2 {url}/protocol", servers=BOTH),
    Job("Basic authorization", lines("Basic bW9vbjp3aXJl"),
        "{moonwire} connect --auth moon:wire -x ? --wait 1 {url}/header/authorization",
        "{wscat} -c {url}/header/authorization --auth moon:wire -x ? -w 1",
        "echo ? | {websocat} -1 --basic-auth moon:wire {url}/header/authorization", servers=BOTH),
    Job("an Origin", lines("https://a.example"),
        "{moonwire} connect -o https://a.example -x ? --wait 1 {url}/header/origin",
        "{wscat} -c {url}/header/origin -o https://a.example -x ? -w 1",
        "echo ? | {websocat} -1 --origin https://a.example {url}/header/origin", servers=BOTH),
    Job("a binary message, given in hex", lines("00ff0a"),
        "{moonwire} connect --hex -x 00ff0a --wait 1 {url}/echo",
        "",
        "printf 00ff0a | xxd -r -p | {websocat} -b {url}/echo | xxd -p", servers=ALL, needs="xxd"),
    Job("save a binary message", PICTURE,
        "{moonwire} connect --raw -n 1 {url}/picture > {file}; cat {file}",
        "",
        "{websocat} -bnU --max-messages-rev 1 {url}/picture > {file}; cat {file}"),
    Job("several messages, end with the Nth answer", lines("a", "b"),
        "{moonwire} connect -x a -x b --wait 2 {url}/echo",
        "",
        r"printf 'a\nb\n' | {websocat} -n --max-messages-rev 2 {url}/echo", servers=ALL),
    Job("a certificate authority of one's own", lines("hello"),
        "{moonwire} connect --ca {ca} -x hello --wait 1 {tls}/echo",
        "{wscat} -c {tls}/echo --ca {ca} -x hello -w 1",
        "echo hello | SSL_CERT_FILE={ca} {websocat} -1 {tls}/echo"),
    Job("a client certificate", lines("hello"),
        "{moonwire} connect --ca {ca} --cert {cert} --key {key} -x hello --wait 1 {mtls}/echo",
        "{wscat} -c {mtls}/echo --ca {ca} --cert {cert} --key {key} -x hello -w 1",
        "echo hello | SSL_CERT_FILE={ca} {websocat} -1 --client-pkcs12-der {p12} "
        "--client-pkcs12-passwd moon {mtls}/echo"),
    Job("through an HTTP proxy", lines("hello"),
        "{moonwire} connect --proxy http://{http_proxy} -x hello --wait 1 {url}/echo",
        "{wscat} -c {url}/echo --proxy http://{http_proxy} -x hello -w 1",
        "", needs="http_proxy"),
    Job("through a SOCKS proxy", lines("hello"),
        "{moonwire} connect --proxy socks5://{socks} -x hello --wait 1 {url}/echo",
        "",
        "echo hello | {websocat} -1 --socks5 {socks} {url}/echo", needs="socks"),
    Job("over a Unix socket", lines("hello"),
        "{moonwire} connect -x hello --wait 1 ws+unix:{sock}:/echo",
        "{wscat} -c ws+unix:{sock}:/echo -x hello -w 1",
        "echo hello | {websocat} -1 --ws-c-uri=ws://localhost/echo - ws-c:unix:{sock}"),
    Job("a ping every so many seconds", lines("pinged"),
        "{moonwire} connect --ping-interval 0.3 -n 1 {url}/pinged",
        "",
        "{websocat} -nU --ping-interval 1 --max-messages-rev 1 {url}/pinged"),
    Job("connect again when the connection is lost", lines("first", "second"),
        "{moonwire} connect --reconnect -n 2 {url}/flaky/{unique}",
        "",
        "{websocat} -tnU --max-messages-rev 2 - autoreconnect:{url}/flaky/{unique}"),
    Job("compressed messages", lines("permessage-deflate"),
        "{moonwire} connect --compress -x ? --wait 1 {url}/extensions",
        "{wscat} -c {url}/extensions -x ? -w 1",
        ""),
    Job("end after N messages", lines("1", "2", "3"),
        "{moonwire} connect -n 3 {url}/ticks",
        "",
        "{websocat} -nU --max-messages-rev 3 {url}/ticks"),
    Job("each event as JSON", kinds("open", "text", "binary", "close"),
        "{moonwire} connect --json {url}/hello",
        "", ""),
    Job("messages that end with a zero byte", b"a\nb\0c\0",
        r"printf 'a\nb\0c\0' | {moonwire} connect -0 {url}/echo",
        "",
        r"printf 'a\nb\0c\0' | {websocat} -0 {url}/echo", servers=ALL,
        # websocat 1.14 writes an extra zero byte behind a message that contains a line end.
        other=b"a\nb\0\0c\0"),
    Job("an event stream (SSE), with curl's options", lines("id: 1", "data: for you", "", "id: 2", "event: end", "data: done", ""),
        "{moonwire} stream --events -H 'X-Job: you' {http}/events",
        curl="curl -sN -H 'X-Job: you' {http}/events", servers=("http",),
        other=lines("id: 1", "data: for you", "", "event: end", "id: 2", "data: done", "")),
    Job("POST, and the answer as it comes", lines("one", "two"),
        """{moonwire} stream -H 'Content-Type: application/json' -d '{{"prompt":"one two"}}' {http}/ask""",
        curl="""curl -sN -H 'Content-Type: application/json' -d '{{"prompt":"one two"}}' {http}/ask""",
        servers=("http",)),
]

# The names of a run, as docs/COMMAND.md shows them.
SHOWN = {
    "moonwire": "moonwire", "wscat": "wscat", "websocat": "websocat",
    "url": "$URL", "tls": "$WSS", "mtls": "$WSS", "http": "$HTTP", "sock": "/run/app.sock",
    "ca": "ca.pem", "cert": "me.pem", "key": "me.key", "p12": "me.p12", "file": "picture",
    "http_proxy": "proxy:3128", "socks": "proxy:1080", "unique": "x",
}
# Arguments that only the servers of the test need.
PATHS = ("/echo", "/header/x-job", "/protocol", "/header/authorization", "/header/origin", "/picture", "/pinged",
         "/flaky/x", "/extensions", "/ticks", "/hello", "/events", "/ask", "; cat picture")
# The standard input, for a tool that ends with it.
NOTES = "`wscat -x` needs a standard input that stays open."


def shown(command: str) -> str:
    text = command.format(**SHOWN)
    for path in PATHS:
        text = text.replace(path, "")
    text = text.replace("ws+unix:/run/app.sock:", "ws+unix:/run/app.sock")
    return text.replace("|", r"\|")


def table() -> list[str]:
    """Rows for docs/COMMAND.md."""
    rows = ["| | moonwire | wscat | websocat |", "|---|---|---|---|"]
    for job in JOBS:
        def cell(text: str) -> str:
            return f"`{shown(text)}`" if text else "–"
        websocat = cell(job.websocat) + (f" (`{shown(job.curl)}`)" if job.curl else "")
        rows.append(f"| {job.name} | {cell(job.moonwire)} | {cell(job.wscat)} | {websocat} |")
    return rows
