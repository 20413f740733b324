"""Uvicorn, whose WebSockets are those of websockets or of wsproto, with Starlette and its GZipMiddleware.

    uvicorn_server.py {"websockets": PORT, "websockets-sansio": PORT, "wsproto": PORT}
"""

import asyncio
import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from bodies import Acks, body

ACKS = Acks()


async def echo(ws) -> None:
    await ws.accept()
    while (message := await ws.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await ws.send_text(message["text"])
        else:
            await ws.send_bytes(message["bytes"])


async def answer(_request) -> PlainTextResponse:
    return PlainTextResponse(body())


async def events(request) -> StreamingResponse:
    query = request.query_params
    return StreamingResponse(ACKS.events(query["id"], "waits" in query), media_type="text/event-stream")


async def ack(request) -> PlainTextResponse:
    ACKS.got(request.query_params["id"], request.query_params["k"])
    return PlainTextResponse("ok")


ROUTES = [WebSocketRoute("/", echo), Route("/body", answer), Route("/events", events), Route("/ack", ack)]
# Event streams are excluded by default.
APP = Starlette(routes=ROUTES, middleware=[Middleware(GZipMiddleware, exclude_content_types=())])


async def main() -> None:
    servers = [
        uvicorn.Server(uvicorn.Config(APP, host="127.0.0.1", port=port, ws=ws, log_level="warning", lifespan="off"))
        for ws, port in json.loads(sys.argv[1]).items()
    ]
    await asyncio.gather(*(server.serve() for server in servers))


asyncio.run(main())
