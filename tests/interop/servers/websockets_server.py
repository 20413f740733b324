"""The library websockets, with one port for each setting.

    websockets_server.py {"SETTING": PORT, …}     settings: default, open, asks-9 to asks-15, alone, fragments
"""

import asyncio
import json
import sys

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate


def settings(name: str) -> dict:
    if name == "default":
        return {"compression": "deflate"}
    if name == "alone":
        factory = Deflate(server_no_context_takeover=True, client_no_context_takeover=True)
    elif name.startswith("asks-"):
        bits = int(name[5:])
        factory = Deflate(server_max_window_bits=bits, client_max_window_bits=bits)
    else:
        factory = Deflate()
    return {"compression": None, "extensions": [factory]}


async def echo(ws) -> None:
    async for message in ws:
        await ws.send(message)


async def in_fragments(ws) -> None:
    async for message in ws:
        third = len(message) // 3
        await ws.send([message[:third], message[third : 2 * third], message[2 * third :]])


async def main() -> None:
    for name, port in json.loads(sys.argv[1]).items():
        handler = in_fragments if name == "fragments" else echo
        await serve(handler, "127.0.0.1", port, max_size=16 << 20, **settings(name))
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
