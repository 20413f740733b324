#!/usr/bin/env python3
"""`moonwire connect` and `stream` at a terminal: a pseudo-terminal and a small screen.

    run.py --moonwire PATH [--only PART]

Each test types and compares what a terminal of 80 by 24 would show. Nothing is timed: tests wait for the
expected output. Needs only Python; Ctrl-Z needs bash. Exit 1 if a test failed.
"""

import argparse
import fcntl
import http.server
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import sys
import termios
import threading
import time
import traceback
import unicodedata

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from frames import BINARY, CLOSE, TEXT, Server

# The time after which a test that waits has failed.
LONG = 30
UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
# The sequences that `connect` may send to a terminal: colours, erasing, positions.
OURS = re.compile(rb"\x1b\[(?:0|2|34)?m|\x1b\[K|\x1b\[\d+C|\x1b\[H|\x1b\[2J")


class Failed(Exception):
    pass


class Screen:
    """The screen of a terminal that receives the bytes; lines scroll up into `gone`."""

    def __init__(self) -> None:
        self.columns, self.rows = 80, 24
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            found = re.match(r"\x1b\[([?0-9;]*)([A-Za-z])", text[at:])
            if found:
                self._control(found[1], found[2])
                at += found.end()
                continue
            self._put(text[at])
            at += 1

    def _control(self, numbers: str, what: str) -> None:
        n = int(numbers) if numbers.isdigit() else 1
        line = self.lines[self.row]
        if what == "K":
            del line[self.column:]
        elif what == "C":
            self.column = min(self.columns - 1, self.column + n)
        elif what == "H":
            self.row = self.column = 0
        elif what == "J":
            self.lines = [[] for _ in range(self.row + 1)]
        # A sequence of the shell: pasted text is marked.
        elif what != "m" and numbers != "?2004":
            raise Failed(f"the screen knows no ESC [ {numbers} {what}")

    def _put(self, c: str) -> None:
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self._down()
        elif c == "\t":
            self.column = min(self.columns - 1, self.column // 8 * 8 + 8)
        elif unicodedata.combining(c):
            pass
        else:
            wide = 2 if unicodedata.east_asian_width(c) in "WF" else 1
            if self.column + wide > self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row]
            line.extend(" " * (self.column - len(line)))
            line[self.column:self.column + wide] = [c] + [""] * (wide - 1)
            self.column += wide

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    def shown(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


class Terminal:
    """A command with a pseudo-terminal of its own."""

    def __init__(self, command: list[str], env: dict | None = None, shell: bool = False) -> None:
        self.screen, self.raw, self.left = Screen(), b"", b""
        master, slave = pty.openpty()
        self.size(80, 24, master)
        self.before = termios.tcgetattr(slave)
        # The slave side stays open, so that its modes can be read after the command has ended.
        self.master, self.slave = master, slave
        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TMUX")}
        env = {**base, "TERM": "xterm-256color", **(env or {})}
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(slave) if hasattr(os, "login_tty") else self._login(slave)
            os.close(master)
            os.execve(command[0], command, env)
        self.status: int | None = None

    @staticmethod
    def _login(slave: int) -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for n in range(3):
            os.dup2(slave, n)

    def size(self, columns: int, rows: int, master: int | None = None) -> None:
        fcntl.ioctl(master or self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str | bytes) -> None:
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def _read(self, limit: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], limit)
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.raw += data
        data = self.left + data
        # A read may cut characters and sequences.
        cut = re.search(rb"(?:\x1b(?:\[[?0-9;]*)?|[\xc0-\xff][\x80-\xbf]*)\Z", data)
        whole = data
        self.left = b""
        if cut:
            try:
                if b"\x1b" in cut[0]:
                    raise UnicodeDecodeError("utf-8", b"", 0, 0, "")
                cut[0].decode()
            except UnicodeDecodeError:
                whole, self.left = data[:cut.start()], data[cut.start():]
        self.screen.feed(whole.decode(errors="replace"))
        return True

    def until(self, seen, what: str) -> None:
        end = time.monotonic() + LONG
        while not seen():
            if time.monotonic() > end:
                raise Failed(f"{what}; the screen: {self.screen.shown()}; the bytes: {self.raw[-600:]!r}")
            self._read(0.05)

    def shows(self, *want: str) -> None:
        """Waits for these last lines of the screen, with the cursor in the last one."""
        def seen() -> bool:
            shown = self.screen.shown()[: self.screen.row + 1]
            return shown[-len(want):] == list(want)
        self.until(seen, f"does not show {want}")

    def cursor(self, column: int) -> None:
        self.until(lambda: self.screen.column == column, f"the cursor is not in column {column}")

    def ended(self, want: int) -> None:
        """Waits for the end with this status; the modes of the terminal must be as before."""
        def seen() -> bool:
            if self.status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.status = os.waitstatus_to_exitcode(status)
            return self.status is not None
        self.until(seen, "does not end")
        while self._read(0.1):
            pass
        if self.status != want:
            raise Failed(f"status {self.status} instead of {want}; {self.screen.shown()}")
        after = termios.tcgetattr(self.slave)
        if after != self.before:
            raise Failed(f"the terminal is not as it was: {self.before} {after}")

    def harmless(self) -> None:
        """The output has only sequences that `connect` may send."""
        rest = OURS.sub(b"", self.raw)
        bad = re.search(rb"[^\t\r\n -~\x80-\xff]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xaa-\xae]", rest)
        if bad:
            raise Failed(f"{bad[0]!r} reaches the terminal: {rest!r}")

    def close(self) -> None:
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        os.close(self.master)
        os.close(self.slave)


def same(got, want) -> None:
    if got != want:
        raise Failed(f"{got!r} instead of {want!r}")


class Tests:
    def __init__(self, moonwire: str) -> None:
        self.moonwire = moonwire
        self.server: Server | None = None
        self.terminal: Terminal | None = None

    def connect(self, *options: str, env: dict | None = None, shown: bool = True) -> tuple[Server, Terminal]:
        self.server = Server()
        self.terminal = Terminal([self.moonwire, "connect", *options, self.server.url], env)
        if shown:
            self.terminal.shows("connected", ">")
        return self.server, self.terminal

    def close(self) -> None:
        if self.terminal:
            self.terminal.close()
        if self.server:
            self.server.end()
        self.terminal = self.server = None

    def sends(self, text: str) -> None:
        same(self.server.message(), (TEXT, text.encode()))

    # Tests ------------------------------------------------------------------------------------------

    def test_messages_come_above_what_is_typed(self) -> None:
        server, terminal = self.connect()
        terminal.type("hel")
        terminal.shows("> hel")
        server.send("news")
        server.send("of two\nlines")
        terminal.shows("< news", "< of two", "  lines", "> hel")
        terminal.cursor(5)
        terminal.type("lo\r")
        self.sends("hello")
        terminal.shows("> hello", ">")
        terminal.type("\x04")
        terminal.ended(0)
        same(server.message(), (CLOSE, b"\x03\xe8"))

    def test_keys_edit_the_line(self) -> None:
        _, terminal = self.connect()
        for keys, text in [
            ("ac" + LEFT + "b", "abc"),
            ("bcd\x01a\x05e", "abcde"),
            ("one two three\x17\x17x", "one x"),
            ("abc\x01\x0bx", "x"),
            ("abc" + LEFT + "\x15", "c"),
            ("abd\x7fc", "abc"),
            ("xabc\x1b[H\x1b[3~\x1b[Fd", "abcd"),
            ("xabc\x01\x04", "abc"),
            ("é日本🙂" + LEFT + LEFT + "x", "é日x本🙂"),
            ("a\x1b[15~\x1b[1;5Cb\x1c", "ab"),
        ]:
            terminal.type(keys)
            terminal.shows(f"> {text}")
            terminal.type("\r")
            self.sends(text)
            terminal.shows(f"> {text}", ">")
        terminal.type("\x0c")
        terminal.until(lambda: terminal.screen.shown() == [">"], "Ctrl-L clears the screen")

    def test_what_was_typed_can_be_had_again(self) -> None:
        _, terminal = self.connect()
        for text in ("one", "two"):
            terminal.type(text + "\r")
            self.sends(text)
        terminal.type("new" + UP)
        terminal.shows("> two")
        terminal.type(UP + UP)
        terminal.shows("> one")
        terminal.type(DOWN + DOWN + DOWN)
        terminal.shows("> new")
        terminal.type(UP + "!\r")
        self.sends("two!")

    def test_pasted_lines_are_messages(self) -> None:
        _, terminal = self.connect()
        terminal.type("a\rb\rc\r")
        for text in "abc":
            self.sends(text)
        terminal.shows("> a", "> b", "> c", ">")

    def test_ctrl_c(self) -> None:
        server, terminal = self.connect()
        terminal.type("typed")
        terminal.shows("> typed")
        terminal.type("\x03")
        terminal.ended(130)
        same(server.message(), (CLOSE, b"\x03\xe9"))

    def test_sigterm(self) -> None:
        server, terminal = self.connect()
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.ended(143)
        same(server.message(), (CLOSE, b"\x03\xe9"))

    def test_ctrl_c_before_the_connection_is_open(self) -> None:
        import socket
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
            self.terminal = terminal = Terminal([self.moonwire, "connect", url])
            terminal.shows(">")
            terminal.type("early\r")
            # It waits to be sent.
            terminal.shows("> early", "")
            terminal.type("\x03")
            terminal.ended(130)

    def test_no_connection_at_all(self) -> None:
        self.terminal = terminal = Terminal([self.moonwire, "connect", "ws://127.0.0.1:1/"])
        terminal.ended(3)

    def test_ctrl_d_waits_for_the_answer(self) -> None:
        server, terminal = self.connect("--linger", "0.2")
        terminal.type("ask\r\x04")
        self.sends("ask")
        server.send("answer")
        terminal.ended(0)
        shown = terminal.screen.shown()
        if "< answer" not in shown:
            raise Failed(str(shown))

    def test_another_window_size(self) -> None:
        server, terminal = self.connect()
        text = "0123456789" * 6
        terminal.type(text)
        terminal.shows(f"> {text}")
        terminal.screen.columns = 30
        mark = len(terminal.raw)
        terminal.size(30, 24)
        # The line is drawn again without a key press.
        terminal.until(lambda: len(terminal.raw) > mark, "is not drawn")
        terminal.until(lambda: terminal.screen.shown()[-1] == "> " + text[-27:], "does not fit")
        server.send("short")
        terminal.shows("< short", "> " + text[-27:])
        terminal.type("\x01")
        terminal.shows("> " + text[:27])
        terminal.size(80, 24)
        terminal.screen.columns = 80
        terminal.shows("> " + text)
        terminal.type("\r")
        self.sends(text)

    def test_a_message_cannot_control_the_terminal(self) -> None:
        server, terminal = self.connect()
        evil = "\x1b[2J\x1b]0;title\x07\x1b[31mred\x9b1m\r> fake\b\x00\x7f\u202eabc\u2066\x1bc\x0e\x84"
        server.send(evil)
        server.send(evil.encode(), BINARY)
        server.send("end")
        terminal.shows("< end", ">")
        server.close(4000, "\x1b]0;reason\x07\u202e")
        terminal.ended(1)
        terminal.harmless()

    def test_an_event_as_json_cannot_either(self) -> None:
        self.server = server = Server()
        self.terminal = terminal = Terminal([self.moonwire, "connect", "--json", server.url])
        server.send("\x1b[2J\x9b1m\u202e")
        server.close(1000, "\x1b[2J\u202e")
        terminal.ended(0)
        terminal.harmless()
        if '"kind":"close"' not in terminal.screen.shown()[-2]:
            raise Failed(str(terminal.screen.shown()))

    def test_a_trace_comes_above_what_is_typed(self) -> None:
        server, terminal = self.connect("--trace", shown=False)
        terminal.type("half")
        terminal.until(lambda: terminal.screen.shown()[-1] == "> half", "is not typed")
        server.send("news")
        terminal.until(lambda: any("<- text" in line for line in terminal.screen.shown()), "no trace")
        terminal.until(lambda: "< news" in terminal.screen.shown(), "no message")
        terminal.until(lambda: terminal.screen.shown()[-1] == "> half", "what is typed is not below")
        for line in terminal.screen.shown():
            if ">" in line[1:] and "half" in line or line.startswith(("> half0", "> half<", "> half ")):
                raise Failed(f"mixed: {line!r}")
        server.close(1000)
        terminal.ended(0)

    def test_colours(self) -> None:
        server, terminal = self.connect()
        server.send("blue")
        terminal.shows("< blue", ">")
        if b"\x1b[34m<\x1b[0m blue" not in terminal.raw:
            raise Failed(f"no colour: {terminal.raw!r}")

    def test_no_colours(self) -> None:
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.server = server = Server()
            self.terminal = terminal = Terminal([self.moonwire, "connect", server.url], env)
            server.send("plain")
            terminal.until(lambda: "< plain" in terminal.screen.shown(), "no message")
            server.close(1000)
            terminal.ended(0)
            if re.search(rb"\x1b\[[\d;]*m", terminal.raw) or (env.get("TERM") and b"\x1b" in terminal.raw):
                raise Failed(f"{env}: {terminal.raw!r}")
            self.close()

    def test_binary_messages(self) -> None:
        for options, shown, typed, sent in [
            ((), "< (3 bytes) 00ff0a", "x", (TEXT, b"x")),
            (("--hex",), "< (3 bytes) 00ff0a", "c0 de", (BINARY, b"\xc0\xde")),
            (("--base64",), "< (3 bytes) AP8K", "wN4=", (BINARY, b"\xc0\xde")),
        ]:
            server, terminal = self.connect(*options)
            server.send(b"\x00\xff\x0a", BINARY)
            terminal.shows(shown, ">")
            terminal.type(typed + "\r")
            same(server.message(), sent)
            self.close()

    def test_what_is_no_hex_does_not_end_it(self) -> None:
        server, terminal = self.connect("--hex")
        terminal.type("zz\r")
        terminal.shows("moonwire: not sent: byte 1 is not a hex digit", ">")
        terminal.type("01\r")
        same(server.message(), (BINARY, b"\x01"))

    def test_the_server_closes_while_something_is_typed(self) -> None:
        for code, reason, status, said in [
            (1000, "bye", 0, "closed: 1000 bye"),
            (4001, "", 1, "closed: 4001"),
        ]:
            server, terminal = self.connect()
            terminal.type("half a li")
            terminal.shows("> half a li")
            server.close(code, reason)
            terminal.ended(status)
            same(terminal.screen.shown()[-2:], [said, ""])
            self.close()

    def test_the_connection_is_lost_while_something_is_typed(self) -> None:
        server, terminal = self.connect()
        terminal.type("half a li")
        terminal.shows("> half a li")
        server.cut()
        terminal.ended(1)
        said = "".join(terminal.screen.shown())
        if "> half" in said or "moonwire: " not in said or "connection: lost" not in said:
            raise Failed(str(terminal.screen.shown()))

    def test_ctrl_z_and_fg(self) -> None:
        bash = shutil.which("bash")
        if not bash:
            print("!!! NOT CHECKED: no bash, whose jobs are stopped here")
            return
        self.server = server = Server()
        self.terminal = terminal = Terminal([bash, "--norc", "--noprofile", "-i"], {"PS1": "$ ", "HISTFILE": ""})
        terminal.shows("$")
        terminal.type(f"{self.moonwire} connect {server.url}\r")
        terminal.shows("connected", ">")
        terminal.type("half")
        terminal.shows("> half")
        terminal.type("\x1a")
        terminal.until(lambda: terminal.screen.shown()[-1].endswith("$"), "is not stopped")
        if not any("Stopped" in line for line in terminal.screen.shown()):
            raise Failed(str(terminal.screen.shown()))
        server.send("meanwhile")
        terminal.type("fg\r")
        terminal.shows("< meanwhile", "> half")
        terminal.type("way\r")
        self.sends("halfway")
        terminal.type("\x04")
        terminal.until(lambda: terminal.screen.shown()[-1].endswith("$"), "does not end")
        terminal.type("exit\r")

    def test_a_stream_cannot_control_the_terminal(self) -> None:
        class Http(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_) -> None:
                pass

            def do_GET(self) -> None:
                evil = "\x1b[2Jé\x9b1m日\r\nnext\n\x1b]0;t\x07\u202e"
                kind = "text/event-stream" if self.path == "/events" else "text/plain"
                text = f"id: \x1b1\nevent: \x1b2\ndata: {evil}\n\n".encode()
                if self.path != "/events":
                    text = evil.encode()
                self.send_response(404 if self.path == "/no" else 200, "\xc2\x9b")
                self.send_header("Content-Type", kind)
                self.send_header("X-Evil", "\xc2\x85\x9b")
                self.end_headers()
                # The pieces are cut within characters.
                for byte in text:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.002)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            for words in (("/text",), ("-i", "/text"), ("--events", "/events"), ("-i", "--events", "/events"),
                          ("--events", "--json", "/events"), ("--fail", "/no"), ("--fail", "--events", "/no")):
                self.terminal = terminal = Terminal([self.moonwire, "stream", *words[:-1], url + words[-1]])
                terminal.ended(22 if "/no" in words else 0)
                terminal.harmless()
                if words == ("/text",):
                    same(terminal.screen.shown()[:2], ["\\u{1b}[2Jé\\u{9b}1m日", "next"])
                self.close()
        finally:
            server.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moonwire", metavar="PATH", required=True)
    parser.add_argument("--only", metavar="PART", default="")
    args = parser.parse_args()
    tests = Tests(str(pathlib.Path(args.moonwire).resolve()))
    failed, begin = 0, time.monotonic()
    names = [name for name in dir(tests) if name.startswith("test_") and args.only in name]
    for name in names:
        try:
            getattr(tests, name)()
            print(f"ok   {name[5:]}", flush=True)
        except Failed as e:
            failed += 1
            print(f"FAIL {name[5:]}: {e}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name[5:]}: {traceback.format_exc()}", flush=True)
        finally:
            tests.close()
    print(f"terminal: {len(names) - failed} as expected, {failed} not, {time.monotonic() - begin:.0f} s")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
