"""The Python package websockets: `python3 websockets_client.py CASE URL COUNT SIZE [OPEN]`."""

import asyncio
import json
import os
import resource
import ssl
import sys
import time

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


def status(name):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def start():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter_ns(), usage.ru_utime, usage.ru_stime


def stop(begin, messages, size):
    wall = time.perf_counter_ns() - begin[0]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    user = int((usage.ru_utime - begin[1]) * 1e9)
    system = int((usage.ru_stime - begin[2]) * 1e9)
    return {
        "messages": messages,
        "bytes": size,
        "wall_ns": wall,
        "cpu_ns": user + system,
        "user_ns": user,
        "sys_ns": system,
    }


def warm_up(count):
    return min(max(count // 10, 1), 20000)


def extensions(level):
    """The default offer of the library, except for windows of 15 bits (its own have 12)."""
    settings = {"memLevel": 5}
    if level:
        settings["level"] = level
    return [
        ClientPerMessageDeflateFactory(
            server_max_window_bits=15, client_max_window_bits=15, compress_settings=settings
        )
    ]


def opened(url, level=None):
    """With compression if there is a level; 0 is the default."""
    context = None
    if url.startswith("wss"):
        context = ssl.create_default_context(cafile=os.environ["BENCH_CA"])
    # No keep-alive pings, no compression, and no bound that the other clients do not have.
    return connect(
        url,
        ssl=context,
        compression=None,
        extensions=None if level is None else extensions(level),
        ping_interval=None,
        max_size=None,
        proxy=None,
    )


async def receive(url, count, size, _open, level=None):
    report = None
    async with opened(url, level) as ws:
        for n in (warm_up(count), count):
            await ws.send(f"prepare {n} {size}")
            answer = await ws.recv()
            assert answer.startswith("ready"), answer
            begin = start()
            await ws.send("go")
            length = 0
            for _ in range(n):
                length += len(await ws.recv())
            report = stop(begin, n, length)
            # The server reports their length on the wire, if they are compressed.
            if answer != "ready":
                report["wire_bytes"] = int(answer.removeprefix("ready "))
    return report


async def rt(url, count, size, open_):
    others = [await opened(url) for _ in range(open_ - 1)]
    text = "r" * size
    async with opened(url) as ws:
        for n in (warm_up(count), count):
            times = []
            begin = start()
            for _ in range(n):
                at = time.perf_counter_ns()
                await ws.send(text)
                await ws.recv()
                times.append(time.perf_counter_ns() - at)
            report = stop(begin, n, n * size)
    for other in others:
        await other.close()
    times.sort()
    report["p50_ns"] = times[int(len(times) * 0.5)]
    report["p99_ns"] = times[int(len(times) * 0.99)]
    return report


async def burst(url, count, size, _open):
    report = None
    text = "s" * size
    async with opened(url) as ws:
        for n in (warm_up(count), count):
            begin = start()
            for _ in range(n):
                await ws.send(text)
            report = stop(begin, n, n * size)
            await ws.send("?")
            answer = await ws.recv()
            assert answer == f"{n} {n * size}", answer
    return report


async def deflate_receive(url, count, size, level):
    return await receive(url, count, size, 1, level)


async def deflate_send(url, count, size, level):
    """Sends texts of the server back to it, compressed. The repeated data is far longer than the
    window, so that the compressor finds none of it there."""
    report = None
    async with opened(url, level) as ws:
        kept = min(max(4 * 1024 * 1024 // size, 1), count)
        await ws.send(f"sample {kept} {size}")
        texts = [await ws.recv() for _ in range(kept)]
        for n in (warm_up(count), count):
            begin = start()
            for i in range(n):
                await ws.send(texts[i % kept])
            report = stop(begin, n, n * size)
            # The server reports how much has arrived, and its length on the wire.
            await ws.send("?")
            *got, wire = (await ws.recv()).split(" ")
            assert got == [str(n), str(n * size)], got
            report["wire_bytes"] = int(wire)
    return report


async def deflate_idle(url, count, size, level):
    return await idle(url, count, size, 1, level)


async def idle(url, count, size, _open, level=None):
    """With compression each connection sends back what it has received."""
    conns = []
    before = 0
    begin = start()
    for i in range(count + 1):
        ws = await opened(url, level)
        if size:
            text = await ws.recv()
            if level is not None:
                await ws.send(text)
        conns.append(ws)
        if i == 0:
            before = status("VmRSS")
    if size and level is not None:
        await asyncio.sleep(2)
    after = status("VmRSS")
    report = stop(begin, count, count * size)
    report["rss_before_kib"] = before
    report["rss_after_kib"] = after
    return report


CASES = {
    "receive": receive,
    "rt": rt,
    "send": burst,
    "burst": burst,
    "idle": idle,
    "deflate-receive": deflate_receive,
    "deflate-send": deflate_send,
    "deflate-idle": deflate_idle,
}


async def main():
    case, url, count, size, *rest = sys.argv[1:]
    report = await CASES[case](url, int(count), int(size), int(rest[0]) if rest else 1)
    report["rss_peak_kib"] = status("VmHWM")
    print(json.dumps(report), flush=True)
    os._exit(0)


asyncio.run(main())
