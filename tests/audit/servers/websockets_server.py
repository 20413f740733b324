"""Python websockets: echoes. python websockets_server.py PORT"""

import asyncio
import sys

import websockets.asyncio.server


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    async with websockets.asyncio.server.serve(echo, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
