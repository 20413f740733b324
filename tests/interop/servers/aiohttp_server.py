"""aiohttp: WebSockets with compression, and bodies by its `enable_compression`; /plain/… is not coded, for nginx.

    aiohttp_server.py {"default": PORT}
"""

import asyncio
import json
import sys
import zlib

from aiohttp import WSMsgType, web

from bodies import Acks, body

ACKS = Acks()
CODINGS = {"gzip": web.ContentCoding.gzip, "deflate": web.ContentCoding.deflate}


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=True, max_msg_size=16 << 20)
    await ws.prepare(request)
    async for message in ws:
        if message.type == WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def answer(request: web.Request) -> web.Response:
    response = web.Response(body=body(), content_type="text/plain", charset="utf-8")
    if how := CODINGS.get(request.query.get("how", "")):
        response.enable_compression(how)
    return response


async def events(request: web.Request) -> web.StreamResponse:
    how, waits = request.query.get("how", ""), "waits" in request.query
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    coder = None
    if how == "flushed":
        # Compressed here, since `enable_compression` flushes nothing before the end.
        coder = zlib.compressobj(wbits=31)
        response.headers["Content-Encoding"] = "gzip"
    elif how in CODINGS:
        response.enable_compression(CODINGS[how])
    await response.prepare(request)
    async for event in ACKS.events(request.query["id"], waits):
        await response.write(coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH) if coder else event)
    if coder:
        await response.write(coder.flush())
    await response.write_eof()
    return response


async def upload(request: web.Request) -> web.Response:
    coding = request.headers.get("Content-Encoding", "none")
    return web.Response(text=f"{coding} {await request.read() == body()}")


async def ack(request: web.Request) -> web.Response:
    ACKS.got(request.query["id"], request.query["k"])
    return web.Response(text="ok")


async def main() -> None:
    app = web.Application(client_max_size=16 << 20)
    app.router.add_get("/", echo)
    for prefix in ("", "/plain"):
        app.router.add_get(prefix + "/body", answer)
        app.router.add_get(prefix + "/events", events)
        app.router.add_get(prefix + "/ack", ack)
    app.router.add_post("/upload", upload)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", json.loads(sys.argv[1])["default"]).start()
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
