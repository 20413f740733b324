"""Python's websockets against the hostile server: websockets_client.py URL [--protocol P] [--message N].

Prints one line for each event of the library; see README.md.
"""

import argparse
import asyncio
import platform

import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--protocol")
    parser.add_argument("--message", type=int, default=1 << 20)
    args = parser.parse_args()
    if args.url == "version":
        print(f"{websockets.version.version} (Python {platform.python_version()})")
        return
    offered = [args.protocol] if args.protocol else None
    try:
        ws = await connect(
            args.url, subprotocols=offered, max_size=args.message, compression=None, proxy=None
        )
    except Exception as e:
        print(f"error {type(e).__name__}: {e}".encode("ascii", "replace").decode().splitlines()[0])
        return
    print("opened", ws.subprotocol or "")
    try:
        while True:
            message = await ws.recv()
            kind, data = ("text", message.encode()) if isinstance(message, str) else ("binary", message)
            print(kind, len(data), data[:40].hex())
    except ConnectionClosedOK as e:
        print("close", e.rcvd.code)
    except ConnectionClosed as e:
        # websockets reports a close with a code other than 1000 and 1001 in this way, too.
        ended = e.rcvd is not None and (e.sent is None or e.rcvd_then_sent)
        print(f"close {e.rcvd.code}" if ended else f"error {e}")


asyncio.run(main())
