"""Tornado: WebSockets with compression, and bodies by `compress_response`.

    tornado_server.py {"default": PORT}
"""

import asyncio
import json
import sys

import tornado.web
import tornado.websocket

from bodies import Acks, body

ACKS = Acks()


class Echo(tornado.websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}

    def on_message(self, message) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Body(tornado.web.RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(body())


class Events(tornado.web.RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        async for event in ACKS.events(self.get_argument("id"), self.get_argument("waits", None) is not None):
            self.write(event)
            await self.flush()


class Upload(tornado.web.RequestHandler):
    def post(self) -> None:
        coding = self.request.headers.get("X-Consumed-Content-Encoding", "none")
        self.write(f"{coding} {self.request.body == body()}")


class Ack(tornado.web.RequestHandler):
    def get(self) -> None:
        ACKS.got(self.get_argument("id"), self.get_argument("k"))
        self.write("ok")


async def main() -> None:
    app = tornado.web.Application(
        [("/", Echo), ("/body", Body), ("/events", Events), ("/ack", Ack), ("/upload", Upload)],
        compress_response=True, websocket_max_message_size=16 << 20,
    )
    app.listen(json.loads(sys.argv[1])["default"], "127.0.0.1", decompress_request=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
