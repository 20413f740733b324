"""A WebSocket server of one connection that follows the commands of a test; it uses only sockets."""

import base64
import hashlib
import queue
import socket
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Server:
    """`got` has the received frames, as pairs of opcode and payload, and None at the end."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.got: queue.Queue = queue.Queue()
        self.open = threading.Event()
        self.conn: socket.socket | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            conn, _ = self.listener.accept()
            stream = conn.makefile("rb")
            fields = {}
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                fields[name.strip().lower()] = value.strip()
            key = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID).digest())
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n")
            self.conn = conn
            self.open.set()
            while True:
                first, second = self._exactly(stream, 2)
                size = second & 127
                if size == 126:
                    size = struct.unpack(">H", self._exactly(stream, 2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", self._exactly(stream, 8))[0]
                mask = self._exactly(stream, 4)
                data = bytes(b ^ mask[i & 3] for i, b in enumerate(self._exactly(stream, size)))
                opcode = first & 15
                if opcode == PING:
                    self.send(data, PONG)
                    continue
                self.got.put((opcode, data))
                if opcode == CLOSE:
                    self.send(data[:2], CLOSE)
                    conn.close()
                    stream.close()
                    break
        except (OSError, EOFError, ValueError):
            pass
        self.got.put(None)

    @staticmethod
    def _exactly(stream, size: int) -> bytes:
        data = stream.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def send(self, data: bytes | str, opcode: int = TEXT) -> None:
        data = data.encode() if isinstance(data, str) else data
        head = bytes([0x80 | opcode])
        if len(data) < 126:
            head += bytes([len(data)])
        else:
            head += b"\x7e" + struct.pack(">H", len(data))
        self.open.wait(30)
        self.conn.sendall(head + data)

    def close(self, code: int, reason: str = "") -> None:
        self.send(struct.pack(">H", code) + reason.encode(), CLOSE)

    def cut(self) -> None:
        self.open.wait(30)
        self.conn.shutdown(socket.SHUT_RDWR)

    def message(self) -> tuple[int, bytes] | None:
        return self.got.get(timeout=30)

    def end(self) -> None:
        self.listener.close()
        if self.conn:
            self.conn.close()
