"""Proxies for SOCKS5 and HTTP CONNECT, each with one fault that no real program shows on demand.

Each has one listener on loopback. `seen` records the requests of clients. They connect to the origin from
127.0.0.3.
"""

import base64
import ipaddress
import socket
import ssl
import struct
import threading
import time

from origin import Stream

SOURCE = "127.0.0.3"
# A name that only a proxy can resolve.
HOSTS = {"origin.test": "127.0.0.1"}


class Cut(Exception):
    """The wanted number of bytes was sent."""


class Proxy:
    def __init__(self, *, drip: float = 0, cut: int | None = None, reset: bool = False, silent: str = "",
                 tls: tuple[str, str] | None = None) -> None:
        self.drip, self.cut, self.reset, self.silent = drip, cut, reset, silent
        self.seen: list[str] = []
        self.source = SOURCE
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.close()
        for conn in self.sockets:
            try:
                conn.close()
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(conn)
            threading.Thread(target=self._connection, args=(conn,), daemon=True).start()

    def _connection(self, conn: socket.socket) -> None:
        try:
            conn.settimeout(60)
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.reset:
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
            self.seen.append("connection")
            state = [0]
            upstream = self.handshake(Stream(conn), lambda data: self._say(conn, state, data))
            if upstream:
                relay(conn, upstream)
        except (OSError, EOFError, ValueError):
            pass
        except Cut:
            self._linger(conn)
        finally:
            conn.close()

    def _say(self, conn, state: list[int], data: bytes) -> None:
        if self.cut is not None:
            data = data[: self.cut - state[0]]
        state[0] += len(data)
        if self.drip:
            for k in range(len(data)):
                conn.sendall(data[k : k + 1])
                time.sleep(self.drip)
        else:
            conn.sendall(data)
        if self.cut is not None and state[0] >= self.cut:
            raise Cut

    def _linger(self, conn) -> None:
        """Ends the connection without a reset: reads what the client still sends."""
        try:
            if not self.context:
                conn.shutdown(socket.SHUT_WR)
            conn.settimeout(1)
            while conn.recv(65536):
                pass
        except OSError:
            pass

    def _wait(self) -> None:
        time.sleep(30)
        raise EOFError

    def handshake(self, stream: Stream, say):
        raise NotImplementedError

    def connect(self, host: str, port: int) -> socket.socket:
        host = HOSTS.get(host, host)
        if host.endswith(".origin.test"):
            host = "127.0.0.1"
        if ":" in host:
            return socket.create_connection((host, port), 10)
        if host == "localhost":
            host = "127.0.0.1"
        return socket.create_connection((host, port), 10, source_address=(SOURCE, 0))


def relay(one, other) -> None:
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            for conn in (a, b):
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(60)
    other.close()


class Socks(Proxy):
    """RFC 1928 and 1929.

    user, password  demanded when set            method    answered instead of the right one
    greeting        answered instead of that     status    of the user name and password
    reply           code of the answer           version   its first byte
    bound           "4", "6" or a name           kind      type of address, instead of the right one
    tail            bytes behind the answer      silent    "greeting" or "reply": waits there
    """

    def __init__(self, *, user="", password="", method=None, greeting=None, status=0, auth_version=1, reply=0,
                 version=5, reserved=0, bound="4", kind=None, tail=b"", **rest) -> None:
        self.user, self.password, self.method, self.greeting = user, password, method, greeting
        self.status, self.auth_version, self.reply, self.version = status, auth_version, reply, version
        self.reserved, self.bound, self.kind, self.tail = reserved, bound, kind, tail
        super().__init__(**rest)

    def handshake(self, stream: Stream, say):
        version, count = stream.exactly(2)
        methods = stream.exactly(count)
        self.seen.append(f"version {version} methods {methods.hex()}")
        if self.silent == "greeting":
            self._wait()
        if self.greeting is not None:
            say(self.greeting)
            raise Cut
        if version != 5:
            raise EOFError
        wanted = 2 if self.user else 0
        method = wanted if wanted in methods else 255
        if self.method is not None:
            method = self.method
        say(bytes([5, method]))
        if method == 2:
            stream.exactly(1)
            user = stream.exactly(stream.exactly(1)[0]).decode(errors="replace")
            password = stream.exactly(stream.exactly(1)[0]).decode(errors="replace")
            self.seen.append(f"user {user} password {password}")
            right = not self.user or (user, password) == (self.user, self.password)
            status = self.status or (0 if right else 1)
            say(bytes([self.auth_version, status]))
            if status:
                raise Cut
        elif method != 0:
            # A client must send nothing more; whatever it sends is recorded.
            if stream.exactly(1):
                self.seen.append("went on")
            raise Cut
        _, command, _, kind = stream.exactly(4)
        if kind == 3:
            host = stream.exactly(stream.exactly(1)[0]).decode(errors="replace")
        else:
            host = str(ipaddress.ip_address(stream.exactly({1: 4, 4: 16}[kind])))
        port = int.from_bytes(stream.exactly(2), "big")
        what = {1: "ipv4", 3: "name", 4: "ipv6"}[kind]
        self.seen.append(f"command {command} {what} {host} ({len(host)} bytes) port {port}")
        if self.silent == "reply":
            self._wait()
        upstream = None if self.reply else self.connect(host, port)
        if self.bound == "4":
            address = b"\1" + ipaddress.ip_address("127.0.0.1").packed
        elif self.bound == "6":
            address = b"\4" + ipaddress.ip_address("::1").packed
        else:
            name = self.bound.encode()
            address = b"\3" + bytes([len(name)]) + name
        if self.kind is not None:
            address = bytes([self.kind]) + address[1:]
        say(bytes([self.version, self.reply, self.reserved]) + address + b"\x1f\x90" + self.tail)
        if self.reply:
            raise Cut
        return upstream


class Connect(Proxy):
    """RFC 9110 §9.3.6: answers a CONNECT with `answer`, and is a tunnel then if `opens`.

    user, password  Basic authorization, 407 without     silent    "head": never answers
    """

    OK = b"HTTP/1.1 200 Connection established\r\n\r\n"

    def __init__(self, answer: bytes = OK, *, opens: bool = True, user="", password="", endless=b"", **rest) -> None:
        self.answer, self.opens, self.user, self.password, self.endless = answer, opens, user, password, endless
        super().__init__(**rest)

    def handshake(self, stream: Stream, say):
        stream.more()
        if stream.have[:1] == b"\x16":  # a ClientHello
            say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            raise Cut
        while True:
            head = stream.head()
            if not head:
                raise EOFError
            self.seen.append(head.decode("latin-1"))
            if self.silent == "head":
                self._wait()
            if not self.user:
                break
            word = base64.b64encode(f"{self.user}:{self.password}".encode())
            if b"\r\nproxy-authorization: basic " + word.lower() + b"\r\n" in head.lower() and word in head:
                break
            body = b"<p>who are you?</p>\n"
            say(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="walls"\r\n'
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        method, target = head.decode("latin-1").split(" ")[:2]
        if method != "CONNECT":
            say(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            raise Cut
        host, _, port = target.rpartition(":")
        upstream = self.connect(host.strip("[]"), int(port)) if self.opens else None
        say(self.answer)
        while self.endless:
            say(self.endless)
            time.sleep(0.01)
        if not self.opens:
            raise Cut
        return upstream
