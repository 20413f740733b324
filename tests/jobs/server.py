"""Servers of the jobs: WebSocket on the package websockets of PyPI, and HTTP on Python's own.

Prints one line of JSON with their ports: plain, http.
"""

import asyncio
import http.server
import json
import threading

import websockets.asyncio.server as server


async def talk(ws) -> None:
    _, path, *name = ws.request.path.split("/")
    async for message in ws:
        if path == "header":
            message = ws.request.headers.get(name[0], "nothing")
        elif path == "protocol":
            message = ws.subprotocol or "none"
        await ws.send(message)


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def chunks(self, kind: str, chunks: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self) -> None:
        who = self.headers.get("X-Job", "nobody").encode()
        self.chunks("text/event-stream", [b"id: 1\ndata: for ", who, b"\n\nevent: end\nid: 2\ndata: done\n\n"])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Type") != "application/json":
            self.send_error(415)
            return
        words = json.loads(body)["prompt"].split()
        self.chunks("text/plain", [f"{word}\n".encode() for word in words])


def chosen(_, offered):
    return "chat.v2" if "chat.v2" in offered else None


async def main() -> None:
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    async with server.serve(talk, "127.0.0.1", 0, select_subprotocol=chosen) as ws:
        plain = ws.sockets[0].getsockname()[1]
        print(json.dumps({"plain": plain, "http": web.server_address[1]}), flush=True)
        await asyncio.Future()


asyncio.run(main())
