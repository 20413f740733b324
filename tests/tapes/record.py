#!/usr/bin/env python3
"""Records the tapes of this folder: starts each server, runs a script against it, and stores the tape.

    python3 tests/tapes/record.py [--moonwire PATH] [--node-modules DIR] [NAME...]

It needs node with the packages `ws` and `bun`, Python with `websockets` and `uvicorn`, and nats-server;
README.md names their sources. Two recordings differ in keys, times and dates.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

WS = """
const { WebSocketServer } = require("ws");
const [port, how] = [Number(process.argv[2]), process.argv[3]];
const perMessageDeflate = how === "deflate" ? { threshold: 0 } : false;
const server = new WebSocketServer({ host: "127.0.0.1", port, perMessageDeflate });
server.on("headers", (headers) => {
    if (how === "secrets") headers.push("Set-Cookie: session=c29tZXRoaW5n", "X-Echo: hunter22");
});
server.on("connection", (ws) => {
    ws.on("error", () => {});
    ws.on("message", (data, binary) => {
        if (how === "cut") {
            // A frame of which only the start leaves.
            ws.send("before");
            ws._socket.write(Buffer.from("8164", "hex"));
            ws._socket.write("so much of a hundred bytes", () => ws._socket.destroy());
        } else if (how === "violation") {
            ws.send("before");
            // A message that is no text (RFC 6455 8.1), and one behind it.
            ws._socket.write(Buffer.from("8106c3a4c3e4c3a4810162", "hex"));
        } else if (how === "crossing") {
            ws.close(4001, "the server has heard enough");
        } else {
            ws.send(data, { binary });
        }
    });
});
"""

BUN = """
const port = Number(process.argv[2]);
Bun.serve({
    hostname: "127.0.0.1",
    port,
    fetch(request, server) {
        return server.upgrade(request) ? undefined : new Response("no WebSocket", { status: 400 });
    },
    websocket: {
        message(ws, message) {
            if (message === "ping me") ws.ping("are you there");
            ws.send(message);
        },
    },
});
"""

WEBSOCKETS = """
import asyncio, sys
from websockets.asyncio.server import serve

async def handler(ws):
    async def parts():
        for part in ("one, ", "zw\\u00f6lf, ", "\\U0001f319"):
            yield part
            await ws.ping(f"behind {part}")
    async for message in ws:
        if message == "in parts":
            await ws.send(parts())
            await ws.send(bytes(70000))
        else:
            await ws.close(1000, "as you say")

async def main():
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""

UVICORN = """
import asyncio, json, sys
import uvicorn

TOKENS = ["The", " moon", " looks", " larger", " near", " the", " horizon", " \\u2026"]

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat"})
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            if event.get("text") == "bye":
                await send({"type": "websocket.close", "code": 4000, "reason": "bye"})
                return
            await send({"type": "websocket.send", "text": "you said " + (event.get("text") or "")})
    elif scope["type"] == "http":
        await receive()
        kind = (b"content-type", b"text/event-stream; charset=utf-8")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        for number, token in enumerate(TOKENS):
            data = json.dumps({"id": "chatcmpl-1", "choices": [{"delta": {"content": token}}]})
            body = f"id: {number}\\nevent: delta\\ndata: {data}\\n\\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(0.02)
        body = b"data: [DONE]\\n\\n"
        await send({"type": "http.response.body", "body": body, "more_body": False})

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
"""

NATS = """
listen: "127.0.0.1:%(other)d"
websocket { listen: "127.0.0.1:%(port)d", no_tls: true }
"""

ECHO = """
local ws = WebSocket.connect(...)
local left = 4
ws.OnMessage:Connect(function(message)
    left -= 1
    if left == 0 then
        ws:Close(1000, "that was all")
    end
end)
ws.OnPong:Connect(function() ws:Send("after the pong") end)
ws:Send("hello")
ws:Send("käse, 🌙")
ws:Send(string.rep("\\0\\255", 150), true)
ws:Ping("are you there")
ws.OnClose:Wait()
task.wait(0.1)
"""

BUN_SCRIPT = """
local ws = WebSocket.connect(...)
ws.OnMessage:Connect(function(message)
    if message == "last" then ws:Close(1000, "enough") end
end)
ws:Send("ping me")
task.wait(0.05)
ws:Send(string.rep("long ", 200))
ws:Send("last")
ws.OnClose:Wait()
task.wait(0.1)
"""

CHAT = """
local ws = WebSocket.connect(..., { Protocols = { "graphql-ws", "chat" } })
ws:Send("über uns")
ws.OnMessage:Wait()
ws:Send("bye")
ws.OnClose:Wait()
task.wait(0.1)
"""

NATS_SCRIPT = """
local ws = WebSocket.connect(...)
local got = ""
ws.OnMessage:Connect(function(message)
    got ..= message
    if string.find(got, "MSG moon 1 5") then ws:Close(1000) end
end)
ws.OnMessage:Wait()
ws:Send('CONNECT {"verbose":false,"pedantic":false,"lang":"luau"}\\r\\nPING\\r\\n', true)
ws:Send("SUB moon 1\\r\\nPUB moon 5\\r\\nhello\\r\\n", true)
ws.OnClose:Wait()
task.wait(0.1)
"""

STREAM = """
local HttpService = game:GetService("HttpService")
local url = string.gsub(..., "^ws", "http")
local client = HttpService:CreateWebStreamClient(Enum.WebStreamClientType.%s, {
    Url = url, Method = "POST", Headers = { ["Content-Type"] = "application/json" },
    Body = HttpService:JSONEncode({ prompt = "Why does the moon look larger?", stream = true }),
})
client.MessageReceived:Connect(function() end)
client.Closed:Wait()
"""

ONE = """
local ws = WebSocket.connect(...)
ws:Send("go")
ws.OnClose:Wait()
task.wait(0.1)
"""

CROSSING = """
local ws = WebSocket.connect(...)
ws:Send("go")
ws:Close(4000, "the client has said enough")
ws.OnClose:Wait()
task.wait(0.1)
"""

FRAGMENTS = """
local ws = WebSocket.connect(...)
local left = 2
ws.OnMessage:Connect(function()
    left -= 1
    if left == 0 then ws:Send("that is all") end
end)
ws:Send("in parts")
ws.OnClose:Wait()
task.wait(0.1)
"""

DEFLATE = """
local ws = WebSocket.connect(..., { Compress = { Threshold = 0 } })
local left = 5
ws.OnMessage:Connect(function()
    left -= 1
    if left == 0 then ws:Close(1000) end
end)
for i = 1, 5 do ws:Send(string.rep(`\\{"price": {i}}, `, i * 30)) end
ws.OnClose:Wait()
task.wait(0.1)
"""

SECRETS = """
local ws = WebSocket.connect(... .. "?token=hunter22", {
    Headers = { Authorization = "Bearer hunter22", ["X-Plain"] = "seen" },
})
ws:Send("a secret: hunter22, zwölf 🌙")
ws:Send("\\1\\2\\3", true)
ws.OnMessage:Wait()
ws.OnMessage:Wait()
ws:Close(1000, "hunter22")
ws.OnClose:Wait()
task.wait(0.1)
"""

# Name: what the tape shows; the server and its argument; the script; whether payloads are recorded.
TAPES = {
    "ws-echo": ("ws (npm): messages of all kinds, a ping, a close", "ws", "echo", ECHO, True),
    "bun-ping": ("Bun: a ping of the server, a long message", "bun", "", BUN_SCRIPT, True),
    "uvicorn-chat": ("uvicorn: a subprotocol, the server closes", "uvicorn", "", CHAT, True),
    "nats-publish": ("nats-server: its own protocol in binary frames", "nats", "", NATS_SCRIPT, True),
    "llm-events": (
        "uvicorn: tokens of a language model as server-sent events, in chunks",
        "uvicorn", "", STREAM % "RawStream", True,
    ),
    "ws-cut": ("ws (npm): the connection breaks within a frame", "ws", "cut", ONE, True),
    "ws-violation": ("ws (npm): a text that is not UTF-8", "ws", "violation", ONE, True),
    "ws-deflate": ("ws (npm): compressed messages, RFC 7692", "ws", "deflate", DEFLATE, True),
    "websockets-fragments": (
        "websockets (Python): a message in fragments with pings between them, a large one",
        "websockets", "", FRAGMENTS, True,
    ),
    "ws-crossing": ("ws (npm): close frames that cross", "ws", "crossing", CROSSING, True),
    "ws-secrets": (
        "ws (npm): without payloads, and without what is secret in heads",
        "ws", "secrets", SECRETS, False,
    ),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(kind, how, port, args, folder):
    def file(name, text):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    modules = os.path.abspath(args.node_modules)
    environment = {**os.environ, "NODE_PATH": modules}
    if kind == "ws":
        command = ["node", file("ws.cjs", WS), str(port), how]
    elif kind == "bun":
        command = [args.bun or os.path.join(modules, ".bin", "bun"), file("bun.mjs", BUN), str(port)]
    elif kind == "nats":
        config = NATS % {"port": port, "other": free_port()}
        command = ["nats-server", "-c", file("nats.conf", config)]
    else:
        text = WEBSOCKETS if kind == "websockets" else UVICORN
        command = [sys.executable, file(f"server_{kind}.py", text), str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, env=environment, stdout=quiet, stderr=None if args.v else quiet)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return server
        except OSError:
            time.sleep(0.05)
    server.kill()
    sys.exit(f"{kind} does not listen")


def record(name, args):
    text, kind, how, script, payloads = TAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = start(kind, how, port, args, folder)
        try:
            path, tape = os.path.join(folder, "script.luau"), os.path.join(folder, "tape")
            with open(path, "w", encoding="utf-8") as out:
                out.write(script)
            command = [args.moonwire, "run", "--timeout", "20", "--tape", tape]
            command += ["--tape-payloads"] if payloads else []
            subprocess.run([*command, path, f"ws://127.0.0.1:{port}/"], check=True)
            with open(tape, encoding="utf-8") as made:
                lines = made.read()
        finally:
            server.kill()
            server.wait()
    with open(os.path.join(HERE, f"{name}.tape"), "w", encoding="utf-8") as out:
        out.write(f"# {text}\n{lines}")
    subprocess.run([args.moonwire, "replay", "--bytewise", os.path.join(HERE, f"{name}.tape")], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--moonwire", default=os.path.join(ROOT, "target", "debug", "moonwire"))
    parser.add_argument("--node-modules", default=os.path.join(ROOT, "node_modules"))
    parser.add_argument("--bun", help="the program, where the package has installed none")
    parser.add_argument("-v", action="store_true", help="show what servers say on standard error")
    parser.add_argument("names", nargs="*", default=list(TAPES))
    args = parser.parse_args()
    for name in args.names:
        print(f"{name}: {TAPES[name][0]}")
        record(name, args)


main()
