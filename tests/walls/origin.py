"""The server behind the walls: a WebSocket that echoes, an event stream, an upload, on loopback.

It records the bytes of each connection, so that a check can see through which program a request came and
that it has no credentials of a proxy.
"""

import base64
import dataclasses
import hashlib
import os
import socket
import ssl
import struct
import threading
import time

HEAD_MAX = 256 * 1024


@dataclasses.dataclass
class Request:
    peer: str  # the source address: 127.0.0.1, or that of a proxy; or "unix"
    tls: bool
    head: bytes
    query: str = ""


class Origin:
    """One set of routes on a plain port, a TLS port (both IPv4 and IPv6) and a Unix socket."""

    def __init__(self, cert: str, key: str, unix: str) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.lock = threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.plain = self._both(False)
        self.tls = self._both(True)
        self.unix = unix
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(unix)
        os.chmod(unix, 0o777)
        listener.listen(64)
        self._serve(listener, False)

    def _both(self, tls: bool) -> int:
        """The same port on 127.0.0.1 and, if there is IPv6, on ::1."""
        for _ in range(50):
            four = socket.create_server(("127.0.0.1", 0), backlog=128)
            port = four.getsockname()[1]
            try:
                six = socket.create_server(("::1", port), family=socket.AF_INET6, backlog=128)
            except OSError:
                if has_ipv6():
                    four.close()
                    continue
                six = None
            for listener in (four, six):
                if listener:
                    self._serve(listener, tls)
            return port
        raise OSError("no port is free on both 127.0.0.1 and ::1")

    def _serve(self, listener: socket.socket, tls: bool) -> None:
        threading.Thread(target=self._accept, args=(listener, tls), daemon=True).start()

    def _accept(self, listener: socket.socket, tls: bool) -> None:
        while True:
            conn, peer = listener.accept()
            with self.lock:
                self.connections += 1
            name = peer[0] if isinstance(peer, tuple) else "unix"
            threading.Thread(target=self._connection, args=(conn, name, tls), daemon=True).start()

    def _connection(self, conn: socket.socket, peer: str, tls: bool) -> None:
        try:
            conn.settimeout(60)
            if conn.family != socket.AF_UNIX:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                conn = self.context.wrap_socket(conn, server_side=True)
            stream = Stream(conn)
            while self._request(stream, peer, tls):
                pass
            # Bytes that the client still sends must not cause a reset, with which the answer could be lost.
            if tls:
                conn.settimeout(1)
                conn = conn.unwrap()
            conn.shutdown(socket.SHUT_WR)
            conn.settimeout(2)
            while conn.recv(65536):
                pass
        except (OSError, EOFError, ValueError):
            pass
        finally:
            conn.close()

    def _request(self, stream: "Stream", peer: str, tls: bool) -> bool:
        head = stream.head()
        if not head:
            return False
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ", 2)
        path, _, query = target.partition("?")
        with self.lock:
            self.requests.append(Request(peer, tls, head, query))
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        old = version == "HTTP/1.0"
        keep = not old and fields.get("connection", "").lower() != "close"
        if fields.get("upgrade", "").lower() == "websocket":
            echo(stream, fields)
            return False
        if method == "POST" and path == "/upload":
            return upload(stream, fields) and keep
        if path == "/sse":
            numbers = dict(pair.split("=") for pair in query.split("&") if pair)
            return events(stream, int(numbers.get("n", 10)), int(numbers.get("ms", 50)), old) and keep
        body = b"origin\n" if path == "/" else b"no such route\n"
        answer(stream, "200 OK" if path == "/" else "404 Not Found", body)
        return keep


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


class Stream:
    """A socket with a buffer for what is read by lines or by length."""

    def __init__(self, conn: socket.socket) -> None:
        self.conn = conn
        self.have = b""

    def more(self) -> None:
        data = self.conn.recv(65536)
        if not data:
            raise EOFError
        self.have += data

    def head(self) -> bytes:
        """The next head, or nothing at the end of the stream."""
        while b"\r\n\r\n" not in self.have:
            if len(self.have) > HEAD_MAX:
                raise ValueError("head too long")
            try:
                self.more()
            except EOFError:
                return b""
        head, _, self.have = self.have.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def line(self) -> bytes:
        while b"\r\n" not in self.have:
            self.more()
        line, _, self.have = self.have.partition(b"\r\n")
        return line

    def exactly(self, size: int) -> bytes:
        parts, got = [self.have], len(self.have)
        while got < size:
            data = self.conn.recv(min(1 << 18, size - got))
            if not data:
                raise EOFError
            parts.append(data)
            got += len(data)
        data = b"".join(parts)
        self.have = data[size:]
        return data[:size]

    def pieces(self, size: int):
        while size:
            if self.have:
                data, self.have = self.have[:size], self.have[size:]
            elif not (data := self.conn.recv(min(1 << 18, size))):
                raise EOFError
            size -= len(data)
            yield data


def answer(stream: Stream, status: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    stream.conn.sendall(head.encode() + body)


def upload(stream: Stream, fields: dict) -> bool:
    if fields.get("expect", "").lower() == "100-continue":
        stream.conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, total = hashlib.sha256(), 0
    if fields.get("transfer-encoding", "").lower() == "chunked":
        while size := int(stream.line().split(b";")[0], 16):
            for data in stream.pieces(size):
                digest.update(data)
            total += size
            stream.line()
        while stream.line():
            pass
    else:
        total = int(fields["content-length"])
        for data in stream.pieces(total):
            digest.update(data)
    answer(stream, "200 OK", f"{total} {digest.hexdigest()}\n".encode())
    return True


def events(stream: Stream, count: int, ms: int, old: bool) -> bool:
    """In chunks, or for HTTP/1.0 up to the end of the connection."""
    coding = "Connection: close\r\n" if old else "Transfer-Encoding: chunked\r\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n{coding}\r\n"
    stream.conn.sendall(head.encode())
    for k in range(1, count + 1):
        if k > 1:
            time.sleep(ms / 1000)
        block = f'event: tick\nid: {k}\ndata: {{"tick":{k}}}\n\n'.encode()
        stream.conn.sendall(block if old else b"%x\r\n%s\r\n" % (len(block), block))
    if not old:
        stream.conn.sendall(b"0\r\n\r\n")
    return not old


def accept_key(key: str) -> str:
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


def masked(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    key = mask * (size // 4) + mask[: size % 4]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def read_frame(stream: Stream) -> tuple[int, bytes]:
    """First byte and payload, of either side."""
    first, second = stream.exactly(2)
    size = second & 127
    if size == 126:
        size = struct.unpack(">H", stream.exactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", stream.exactly(8))[0]
    mask = stream.exactly(4) if second & 128 else None
    data = stream.exactly(size)
    return first, masked(data, mask) if mask else data


def frame(first: int, data: bytes, mask: bytes | None = None) -> bytes:
    size, bit = len(data), 128 if mask else 0
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 65536:
        head = bytes([first, bit | 126]) + struct.pack(">H", size)
    else:
        head = bytes([first, bit | 127]) + struct.pack(">Q", size)
    return head + (mask + masked(data, mask) if mask else data)


def echo(stream: Stream, fields: dict) -> None:
    key = accept_key(fields.get("sec-websocket-key", ""))
    stream.conn.sendall(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {key}\r\n\r\n".encode()
    )
    while True:
        first, data = read_frame(stream)
        opcode = first & 15
        if opcode == 8:
            stream.conn.sendall(frame(0x88, data[:2]))
            return
        if opcode == 9:
            first = first & 0xF0 | 10
        if opcode != 10:
            stream.conn.sendall(frame(first, data))
