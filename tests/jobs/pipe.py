#!/usr/bin/env python3
"""What a pipe through `moonwire connect` costs.

    pipe.py --moonwire PATH [--websocat PATH] [--mib N]

Lines go through the client to `moonwire echo` and back: what comes out has to be what went in, and
memory has to stay flat. A reader that stops reading has to stop the sender, and a server that answers
no pings must not make it wait for ever. Bytes and memory are checked; CPU is said, and beside
websocat's if that is here. Exit 1 when something is not as it has to be.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "terminal"), str(HERE.parent / "walls")]

import frames
import run

from programs import with_parent

# The memory that a client may use: its code, the used parts of the threads' stacks, and buffers.
MEMORY = 24 << 20
# The same while no bytes move, and therefore only a bounded number of bytes waits.
STILL = 16 << 20
# The bytes that may be under way while the output is not read: buffers of both sockets, both pipes and the server,
# and `Limits::high_water`. It does not depend on how much there is to send.
STUCK = 64 << 20


class Echo:
    def __init__(self, moonwire: str) -> None:
        self.process = subprocess.Popen([moonwire, "echo"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=with_parent)
        said = self.process.stdout.readline()
        self.url = next(word for word in said.split() if word.startswith("ws:"))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def block(size: int) -> bytes:
    """Lines of 20 to 180 bytes."""
    lines, at = [], 0
    while at < size:
        line = (f"{at:09} " + "abcdefghij" * (1 + at % 17))[: 20 + at % 161]
        lines.append(line)
        at += len(line) + 1
    return ("\n".join(lines) + "\n").encode()


def peak(pid: int) -> int:
    """Bytes, so far."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


def feed(process: subprocess.Popen, data: bytes, times: int, sent: list[int]) -> None:
    """Writes until it is stopped; `sent` has how much the pipe took."""
    view = memoryview(data)
    try:
        for _ in range(times):
            at = 0
            while at < len(view):
                n = os.write(process.stdin.fileno(), view[at:at + (1 << 16)])
                at += n
                sent[0] += n
        process.stdin.close()
    except (BrokenPipeError, ValueError, OSError):
        pass


def begin(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, preexec_fn=with_parent)


def through(command: list[str], data: bytes, times: int) -> tuple[bool, int, float]:
    """Whether the same came back, the peak of memory, and seconds of CPU."""
    process, sent = begin(command), [0]
    writer = threading.Thread(target=feed, args=(process, data, times, sent), daemon=True)
    writer.start()
    digest, size, memory, looked = hashlib.sha256(), 0, 0, 0
    while piece := os.read(process.stdout.fileno(), 1 << 18):
        digest.update(piece)
        size += len(piece)
        if size - looked > 1 << 20:
            memory, looked = max(memory, peak(process.pid)), size
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    want = hashlib.sha256()
    for _ in range(times):
        want.update(data)
    same = digest.digest() == want.digest() and process.returncode == 0
    return same, memory, usage.ru_utime + usage.ru_stime


def stuck(command: list[str], data: bytes) -> tuple[int, int, int]:
    """What is sent, the peak of memory and the status of SIGTERM, when nobody reads what comes."""
    process, sent = begin(command), [0]
    threading.Thread(target=feed, args=(process, data, 1 << 20, sent), daemon=True).start()
    before, same = -1, 0
    # Until no bytes have moved for a second and a half.
    while same < 15 and sent[0] <= STUCK:
        time.sleep(0.1)
        same = same + 1 if sent[0] == before and before > 0 else 0
        before = sent[0]
    memory = peak(process.pid)
    process.terminate()
    try:
        status = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    return sent[0], memory, status


def pongless(moonwire: str, failures: list[str]) -> None:
    """A server that never answers a ping, and one that talks besides."""
    for talks in (False, True):
        server = Mute(talks)
        options = ["--linger", "0.1"] if not talks else ["--wait", "0.5s"]
        process = subprocess.Popen([moonwire, "connect", "-x", "x", *options, server.url], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=with_parent)
        begin = time.monotonic()
        try:
            _, said = process.communicate(timeout=120)
            what = "talks" if talks else "is silent"
            print(f"a server without pongs that {what}: status {process.returncode} after "
                  f"{time.monotonic() - begin:.1f} s {said.decode(errors='replace').strip()}", flush=True)
            if process.returncode != 0:
                failures.append("a server without pongs that closes is no failure")
        except subprocess.TimeoutExpired:
            process.kill()
            failures.append("a server without pongs makes it wait for ever")
        server.end()


class Deaf(frames.Server):
    """Opens the connection and reads nothing."""

    @staticmethod
    def _exactly(stream, size: int) -> bytes:
        threading.Event().wait()
        return b""


class Mute(frames.Server):
    def __init__(self, talks: bool) -> None:
        self.over = threading.Event()
        super().__init__()
        if talks:
            threading.Thread(target=self._talk, daemon=True).start()

    def send(self, data, opcode: int = frames.TEXT) -> None:
        if opcode == frames.CLOSE:
            self.over.set()
        if opcode != frames.PONG:
            super().send(data, opcode)

    def _talk(self) -> None:
        try:
            while not self.over.wait(0.05):
                self.send("more")
        except OSError:
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moonwire", required=True)
    parser.add_argument("--websocat", metavar="PATH", help="by default the one of run.py, or of PATH")
    parser.add_argument("--mib", type=int, default=100)
    args = parser.parse_args()
    moonwire = str(pathlib.Path(args.moonwire).resolve())
    ours = run.home() / "websocat/bin/websocat"
    websocat = args.websocat or (str(ours) if ours.exists() else shutil.which("websocat"))
    failures: list[str] = []
    mute = threading.Thread(target=pongless, args=(moonwire, failures))
    mute.start()
    echo, data = Echo(moonwire), block(1 << 20)
    connect = [moonwire, "connect", echo.url]
    try:
        same, memory, cpu = through(connect, data, args.mib)
        print(f"moonwire: {args.mib} MiB of lines there and back: CPU {cpu:.2f} s, memory {memory / 2**20:.1f} MiB",
              flush=True)
        if not same:
            failures.append("what came back is not what was sent")
        if memory > MEMORY:
            failures.append(f"{memory} bytes of memory")
        if websocat:
            # Its messages include the line end, and it closes at the end of input while answers are under way.
            whole, other, its = through([websocat, "-t", "-n", "--max-messages-rev", str(data.count(b"\n") * args.mib),
                                     "-", echo.url], data, args.mib)
            what = "" if whole else " (not what was sent came back)"
            print(f"websocat: CPU {its:.2f} s, memory {other / 2**20:.1f} MiB{what}; moonwire's CPU is "
                  f"{cpu / its:.2f} of it", flush=True)
        else:
            print("!!! no websocat here: CPU is compared with nothing")
        deaf = Deaf()
        for who, url in (("nobody", echo.url), ("the server does not", deaf.url)):
            who = f"{who} read" + "s" * (who == "nobody")
            sent, memory, status = stuck([moonwire, "connect", url], data)
            print(f"{who}: {sent / 2**20:.1f} MiB were taken, memory {memory / 2**20:.1f} MiB, SIGTERM {status}",
                  flush=True)
            if sent > STUCK:
                failures.append(f"{who}, and that does not stop the sender: {sent} bytes")
            if memory > STILL:
                failures.append(f"{memory} bytes of memory while {who}")
            if status != 143:
                failures.append(f"SIGTERM, while {who}: {status}")
        deaf.end()
    finally:
        echo.end()
        mute.join()
    for failure in failures:
        print(f"FAIL {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
