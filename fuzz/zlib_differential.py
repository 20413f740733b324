#!/usr/bin/env python3
"""Compares moonwire's compression with zlib, by Python's module: python3 fuzz/zlib_differential.py --driver FILE

    RUSTFLAGS='--cfg fuzzing' cargo build --release --example zlib_driver --manifest-path fuzz/Cargo.toml
    python3 fuzz/zlib_differential.py --driver fuzz/target/release/examples/zlib_driver --seconds 600

Data that zlib has deflated (with any window, level, strategy and flush) must inflate to the same bytes in a
connection and in a body, whole and in pieces; what moonwire deflates must inflate to the same bytes in zlib,
with the agreed window. Data that is changed, cut or has bytes behind it must be refused if zlib refuses it, and
otherwise give the same bytes. A seed determines the trials; at the first difference the script ends with an error
and prints how to reproduce it.
"""

import argparse
import gzip
import random
import subprocess
import sys
import time
import zlib
from collections import Counter

TAIL = b"\0\0\xff\xff"
# An empty final block: behind a complete message it ends the stream exactly there.
FINAL = b"\1\0\0\xff\xff"
FLUSHES = [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK, zlib.Z_PARTIAL_FLUSH, zlib.Z_NO_FLUSH]
WORDS = b"id name tags alpha beta price 12345 0.25 true false null list value state".split()


class Finding(Exception):
    pass


def check(fine, *what):
    if not fine:
        raise Finding(" ".join(str(w)[:400] for w in what))


def message(rng, most):
    """Bytes of some kind, `most` at most."""
    n = min(most, rng.choice([0, 1, rng.randrange(20), rng.randrange(300), rng.randrange(5000), most]))
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(n)
    if kind == 1:
        return bytes([rng.randrange(256)]) * n
    if kind == 2:
        part = rng.randbytes(rng.randrange(1, 600))
        return (part * (n // len(part) + 1))[:n]
    if kind == 3:
        return bytes(rng.choices(b"abcd \n", k=n))
    text = bytearray()
    while len(text) < n:
        text += b'{"%b":"%b","n":%d},' % (rng.choice(WORDS), rng.choice(WORDS), rng.randrange(10**6))
    if kind == 4:
        # References far back.
        text[: n // 3] = text[2 * n // 3 : 2 * n // 3 + n // 3]
    return bytes(text[:n])


def cut(rng, data):
    """`data` in pieces."""
    if 0 < len(data) < 2000 and rng.randrange(4) == 0:
        return [data[i : i + 1] for i in range(len(data))]
    at = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([0, 1, 2, 7])))
    return [data[a:b] for a, b in zip([0] + at, at + [len(data)])]


def frame(rng, payload):
    """A message, compressed, in one frame or several."""
    parts = cut(rng, payload) if rng.randrange(3) == 0 else [payload]
    out = bytearray()
    for i, part in enumerate(parts):
        first = (0x42 if i == 0 else 0) | (0x80 if i + 1 == len(parts) else 0)
        n = len(part)
        out.append(first)
        if n < 126:
            out.append(n)
        elif n < 65536:
            out += b"\x7e" + n.to_bytes(2, "big")
        else:
            out += b"\x7f" + n.to_bytes(8, "big")
        out += part
    return bytes(out)


def changed(rng, data):
    """Cut off, with more behind it, or with bytes of its own."""
    kind = rng.randrange(4)
    if kind == 0 and data:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        return data + rng.choice([b"\0", b"\1", b"\3\0", rng.randbytes(rng.randrange(1, 9)), TAIL, data])
    out = bytearray(data or b"\0")
    for _ in range(rng.choice([1, 1, 2, 5])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *words):
        line = " ".join(w if isinstance(w, str) else w.hex() or "-" for w in words)
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        check(answer.endswith(b"\n"), "the driver has died of", line)
        return answer.decode().rstrip("\n").split(" ")


def unhex(word):
    return b"" if word == "-" else bytes.fromhex(word)


class Writer:
    """zlib as a server that compresses."""

    def __init__(self, rng, takeover):
        self.rng, self.takeover = rng, takeover
        self.form = (
            rng.randrange(10), zlib.DEFLATED, -rng.randrange(9, 16), rng.randrange(1, 10), rng.randrange(5)
        )
        self.state = None

    def payload(self, data):
        rng = self.rng
        if self.state is None or not self.takeover:
            self.state = zlib.compressobj(*self.form)
        out = bytearray()
        for piece in cut(rng, data)[:50] if rng.randrange(2) else []:
            out += self.state.compress(piece)
            data = data[len(piece) :]
            flush = rng.choice(FLUSHES)
            if flush != zlib.Z_NO_FLUSH:
                out += self.state.flush(flush)
        out += self.state.compress(data)
        if rng.randrange(8) == 0:
            # RFC 7692 §7.2.3.4. After a final block the window is empty.
            out += self.state.flush(zlib.Z_FINISH) + b"\0"
            self.state = None
            return bytes(out)
        out += self.state.flush(rng.choice(FLUSHES[:2]))
        # After a flush that ended with an empty block, another flush writes nothing.
        return bytes(out.removesuffix(TAIL)) if out.endswith(TAIL) else bytes(out + b"\0")


class Reader:
    """Inflates messages with zlib; after a final block the window is empty."""

    def __init__(self, takeover):
        self.takeover, self.state = takeover, zlib.decompressobj(-15)

    def message(self, payload):
        """The message; whether it is complete (`None`: broken); and whether zlib refuses it."""
        if not self.takeover:
            self.state = zlib.decompressobj(-15)
        out = bytearray()
        try:
            while payload:
                out += self.state.decompress(payload)
                payload = b""
                if self.state.eof:
                    payload, self.state = self.state.unused_data, zlib.decompressobj(-15)
            end = self.state.copy()
            more = self.state.decompress(TAIL)
            if self.state.eof:
                # The empty block at the end is marked as final.
                is_whole = not more and not self.state.unused_data
                self.state = zlib.decompressobj(-15)
                return bytes(out), is_whole, False
            if more:
                return bytes(out), False, False
            more = end.decompress(TAIL + FINAL)
            return bytes(out), end.eof and not more and not end.unused_data, True
        except zlib.error:
            return bytes(out), False, False


class Trials:
    def __init__(self, driver, most):
        self.driver, self.most, self.counts, self.number = driver, most, Counter(), 0

    def new(self, *words):
        self.number += 1
        self.driver.ask("new", str(self.number), *(str(w) for w in words))
        return str(self.number)

    def come(self, rng):
        """Messages that several connections receive at a time, their pieces in any order."""
        lines = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            takeover = rng.randrange(2)
            lines.append((self.new(takeover, 15, 3, 1 << 26), Writer(rng, takeover)))
        for _ in range(rng.randrange(1, 12)):
            under_way = []
            for line, writer in lines:
                data = message(rng, self.most)
                whole = frame(rng, writer.payload(data))
                pieces = [whole] if rng.randrange(2) else cut(rng, whole)
                under_way.append([line, pieces, [], data])
            while any(pieces for _, pieces, _, _ in under_way):
                line, pieces, reported, _ = rng.choice([u for u in under_way if u[1]])
                n = rng.randrange(1, len(pieces) + 1)
                reported += self.driver.ask("feed", line, *pieces[:n])[1:]
                del pieces[:n]
            for line, _, reported, data in under_way:
                check(reported == ["b:" + (data.hex() or "-")], "came in as", reported, "not", data.hex())
                self.counts["came"] += 1

    def go(self, rng):
        """Messages that are sent."""
        takeover, window, level = rng.randrange(2), rng.randrange(9, 16), rng.randrange(1, 10)
        line = self.new(takeover, window, level, 1 << 26)
        reader = zlib.decompressobj(-window)
        for _ in range(rng.randrange(1, 16)):
            data = message(rng, self.most)
            sent = unhex(self.driver.ask("send", line, data)[0])
            first, n = sent[0], sent[1] & 127
            at = {126: 4, 127: 10}.get(n, 2)
            n = int.from_bytes(sent[2:at], "big") if at > 2 else n
            check(sent[1] & 128 and sent[at : at + 4] == bytes(4) and len(sent) == at + 4 + n, "frame", sent)
            payload = sent[at + 4 :]
            if first == 0x82:
                check(payload == data, "plain and another")
                # zlib would have needed far fewer bytes. Level 1 of zlib-rs uses fixed codes.
                least = len(zlib.compress(data, level, -window)) if data else 0
                is_plain = least > len(data) * 0.9 - 20 or level == 1
                check(is_plain, "plain, though zlib needs", least, "of", len(data))
                self.counts["went plain"] += 1
                continue
            check(first == 0xC2 and len(payload) < len(data), "first byte", first)
            if not takeover:
                reader = zlib.decompressobj(-window)
            # In small pieces, since zlib applies its window only between calls.
            most = rng.choice([64, 500, 4000]) if len(data) < 50000 else rng.choice([4000, 0])
            got, rest = bytearray(), payload + TAIL
            while rest:
                got += reader.decompress(rest, most)
                rest = reader.unconsumed_tail
            check(got == data, "went out as", payload.hex(), "which is not", data.hex())
            self.counts["went"] += 1

    def limit(self, rng):
        """One byte more than the limit is too much."""
        data = message(rng, self.most) + b"x"
        takeover = rng.randrange(2)
        payload = frame(rng, Writer(rng, takeover).payload(data))
        for most in [len(data), len(data) - 1]:
            line = self.new(takeover, 15, 3, most)
            reported = self.driver.ask("feed", line, *cut(rng, payload))[1:]
            if most == len(data):
                # Incompressible data may become too long on the wire.
                is_long = len(payload) > most + most // 8 + 1024
                check(reported == ["b:" + data.hex()] or is_long, "at the limit:", reported)
            else:
                check(reported == ["end:MessageTooBig"], "beyond the limit:", reported)
        self.counts["limits"] += 1

    def broken(self, rng):
        """Messages, one of which is changed."""
        takeover = rng.randrange(2)
        lines = [self.new(takeover, 15, 3, 1 << 26) for _ in range(2)]
        writer, reader = Writer(rng, takeover), Reader(takeover)
        for _ in range(rng.randrange(1, 8)):
            payload = writer.payload(message(rng, 5000))
            if rng.randrange(2):
                payload = changed(rng, payload)
            want, is_whole, is_fine = reader.message(payload)
            whole = frame(rng, payload)
            reported = [self.driver.ask("feed", lines[0], whole)[1:]]
            reported.append(self.driver.ask("feed", lines[1], *cut(rng, whole))[1:])
            check(reported[0] == reported[1], "cut otherwise:", reported, payload.hex())
            if reported[0] == ["b:" + (want.hex() or "-")] and (is_whole or is_fine):
                self.counts["changed, whole" if is_whole else "changed, cut in a head"] += 1
                if is_whole:
                    continue
                return
            check(reported[0] == ["end:Deflate"] and not is_whole, reported[0], is_whole, payload.hex(), want.hex())
            self.counts["changed, refused"] += 1
            return

    def body(self, rng):
        """Bodies of responses, changed or not."""
        coding, out, data = rng.choice(["gzip", "x-gzip", "deflate"]), bytearray(), bytearray()
        is_gzip = coding != "deflate"
        for _ in range(rng.choice([1, 1, 1, 2, 5]) if is_gzip else 1):
            part = message(rng, self.most)
            data += part
            bits = rng.randrange(9, 16)
            head, wbits = (member(rng), -bits) if is_gzip else (b"", bits * rng.choice([1, -1]))
            state = zlib.compressobj(
                rng.randrange(10), zlib.DEFLATED, wbits, rng.randrange(1, 10), rng.randrange(5)
            )
            out += head
            for piece in cut(rng, part):
                out += state.compress(piece)
                flush = rng.choice(FLUSHES)
                if flush != zlib.Z_NO_FLUSH:
                    out += state.flush(flush)
            out += state.flush()
            if is_gzip:
                out += zlib.crc32(part).to_bytes(4, "little") + len(part).to_bytes(4, "little")
        out, is_changed = bytes(out), rng.randrange(2)
        if is_changed:
            out = changed(rng, out)
        want, is_fine, is_bomb = self.decoded(is_gzip, out)
        answer, end = self.driver.ask("body", coding, *cut(rng, out))
        got = unhex(answer)
        check(is_changed or (is_fine and want == data), "zlib does not read what it wrote")
        if end.startswith("Ratio") and is_bomb:
            self.counts["bodies beyond the ratio"] += 1
            return
        check((end == "whole") == is_fine, end, "zlib:", is_fine, coding, out.hex())
        check(got == want if is_fine else want.startswith(got) or got.startswith(want), "data", out.hex())
        self.counts["bodies, " + ("changed, refused" if not is_fine else "read")] += 1

    @staticmethod
    def decoded(is_gzip, rest):
        out, have = bytearray(), len(rest)
        first = True
        try:
            while rest or first:
                if not rest:
                    return b"", True, False
                if is_gzip and not first and rest[0] != 0x1F:
                    return bytes(out), False, False
                is_zlib = len(rest) > 1 and rest[0] & 15 == 8 and rest[0] < 0x80
                is_zlib = is_zlib and (rest[0] << 8 | rest[1]) % 31 == 0
                state = zlib.decompressobj(31 if is_gzip else 15 if is_zlib else -15)
                piece = rest
                while piece and not state.eof:
                    out += state.decompress(piece, 1 << 16)
                    piece = state.unconsumed_tail
                if not state.eof:
                    # Output that zlib still holds.
                    out += state.flush()
                if not state.eof or (state.unused_data and not is_gzip):
                    return bytes(out), False, False
                rest, first = state.unused_data, False
            return bytes(out), True, len(out) > have * 200
        except zlib.error:
            return bytes(out), False, False

    def upload(self, rng):
        data = message(rng, self.most)
        coded = unhex(self.driver.ask("gzip", data)[0])
        check((gzip.decompress(coded) if data else coded) == data, "gzip of", data.hex())
        self.counts["uploads"] += 1


def member(rng):
    """The head of a member of gzip with any of its parts."""
    flags = rng.choice([0, rng.randrange(32)])
    head = b"\x1f\x8b\x08" + bytes([flags]) + rng.randbytes(6)
    if flags & 4:
        extra = rng.randbytes(rng.choice([0, 1, 300]))
        head += len(extra).to_bytes(2, "little") + extra
    for bit in [8, 16]:
        if flags & bit:
            head += bytes(rng.choices(range(1, 256), k=rng.choice([0, 3, 400]))) + b"\0"
    return head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") if flags & 2 else head


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    args.add_argument("--driver", required=True, help="the example zlib_driver")
    args.add_argument("--seconds", type=float, default=10)
    args.add_argument("--seed", type=int, default=1, help="of the first trial; each next has one more")
    args.add_argument("--trials", type=int, default=sys.maxsize, help="at most so many")
    args = args.parse_args()
    start, counts, seed = time.monotonic(), Counter(), args.seed
    driver = Driver(args.driver)
    while time.monotonic() < start + args.seconds and seed - args.seed < args.trials:
        if seed % 500 == 0:
            # Earlier connections are dropped.
            driver.process.stdin.close()
            driver.process.wait()
            driver = Driver(args.driver)
        rng = random.Random(seed)
        # Mostly small; some beyond all windows, a few huge.
        trials = Trials(driver, rng.choice([300, 5000, 40000, 40000, 200000]))
        if rng.randrange(60) == 0:
            trials.most = 3_000_000
        trials.number = seed * 100
        kind = rng.choice([trials.come, trials.go, trials.broken, trials.body, trials.limit, trials.upload])
        try:
            kind(rng)
        except Finding as finding:
            print(f"a finding: {kind.__name__}: {finding}\nagain: --seed {seed} --trials 1")
            return 1
        counts += trials.counts
        seed += 1
    driver.process.stdin.close()
    all_of_them = sum(counts.values())
    print(f"zlib {zlib.ZLIB_RUNTIME_VERSION}, seeds {args.seed} to {seed - 1}, {all_of_them} messages and bodies:")
    print(", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
