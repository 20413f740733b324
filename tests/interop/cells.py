"""The table: the offers to each server, the answers that its implementation gives, and the coded bodies."""

import dataclasses

CLIENTS = ("inline", "poll-thread", "blocking")


@dataclasses.dataclass(frozen=True)
class Offer:
    """An offer: windows as powers of two, and which side may refer to earlier messages."""

    window: int = 15
    server: int = 15
    takeover: bool = True
    server_takeover: bool = True

    def arguments(self) -> list[str]:
        words = ["Threshold=0"]
        words += [f"Window={self.window}"] if self.window < 15 else []
        words += [f"ServerWindow={self.server}"] if self.server < 15 else []
        words += [] if self.takeover else ["Takeover=false"]
        return words + ([] if self.server_takeover else ["ServerTakeover=false"])


@dataclasses.dataclass(frozen=True)
class Cell:
    name: str
    server: str
    setting: str
    client: str
    want: str  # the agreed parameters, "none", or "refused: " and a part of the error
    offer: Offer | None = None  # None: `Compress = true`
    work: str = ""
    path: str = ""  # the coding of a body
    options: tuple[str, ...] = ()
    short: bool = False


def agreed(client: int, client_takeover: bool, server: int, server_takeover: bool) -> str:
    def word(yes):
        return "takeover" if yes else "alone"

    return f"{client} {word(client_takeover)} {server} {word(server_takeover)}"


def as_asked(o: Offer, window: int = 15, server: int = 15) -> str:
    """At most what was offered, and at most what the server supports."""
    return agreed(min(o.window, window), o.takeover, min(o.server, server), o.server_takeover)


# What each server answers to an offer, by its own documentation or source -------------------------------


def nine_at_least(o: Offer, window: int = 15, server: int = 15) -> str:
    """Without its own header, zlib supports no window of 8: such an offer is declined."""
    return "none" if o.server < 9 else as_asked(o, window, server)


def websockets_alone(o: Offer) -> str:
    return "none" if o.server < 9 else agreed(o.window, False, o.server, False)


def tornado(o: Offer) -> str:
    """It repeats the offered windows, but never `…_no_context_takeover`; moonwire treats that as not
    accepted. A window of 8 raises an exception of zlib in it."""
    if not o.server_takeover:
        return "refused: accepted without server_no_context_takeover, which was asked for"
    return "refused: the server answered 500 " if o.server < 9 else as_asked(o)


def bun(o: Offer) -> str:
    """One compressor for all connections, and one decompressor, with windows of 15."""
    return "none" if o.server < 15 else agreed(o.window, False, 15, False)


def nats(o: Offer) -> str:
    """Never takeover, and no window in the answer: the server's own is always 15."""
    if o.server < 15:
        return "refused: accepted without server_max_window_bits, which was asked for"
    return agreed(o.window, False, 15, False)


# Bun's settings: the window for compressing with a given amount of memory, and the window for inflating.
BUN_SIZES = {
    "dedicated": (15, 15), "3KB": (9, 11), "4KB": (9, 12), "8KB": (10, 13), "16KB": (11, 14),
    "32KB": (12, 15), "64KB": (13, 15), "128KB": (14, 15), "256KB": (15, 15),
}

NATURES = {
    ("ws", "default"): as_asked,
    ("ws", "alone"): lambda o: agreed(o.window, False, o.server, False),
    ("websockets", "default"): lambda o: nine_at_least(o, 12, 12),
    ("websockets", "open"): nine_at_least,
    ("websockets", "alone"): websockets_alone,
    ("aiohttp", "default"): nine_at_least,
    ("tornado", "default"): tornado,
    ("uvicorn", "websockets"): nine_at_least,
    ("uvicorn", "websockets-sansio"): lambda o: nine_at_least(o, 12, 12),
    ("uvicorn", "wsproto"): nine_at_least,
    ("bun", "default"): bun,
    ("deno", "default"): lambda o: "none",
    ("nats", "default"): nats,
}

OFFERS = {
    "takeover": Offer(),
    "client-alone": Offer(takeover=False),
    "server-alone": Offer(server_takeover=False),
    "both-alone": Offer(takeover=False, server_takeover=False),
    **{f"windows-{bits}": Offer(window=bits, server=bits) for bits in range(9, 15)},
    **{f"client-window-{bits}": Offer(window=bits) for bits in range(9, 15)},
    **{f"server-window-{bits}": Offer(server=bits) for bits in range(8, 15)},
    "alone-windows-9": Offer(9, 9, False, False),
}
SHORT_OFFERS = ("takeover", "both-alone", "windows-9", "client-window-12", "server-window-10")
SHORT_SERVERS = ("ws", "websockets", "aiohttp")


def messages():
    for (server, setting), nature in NATURES.items():
        clients = ("inline", "poll-thread") if server == "nats" else CLIENTS
        work = "nats" if server == "nats" else "all"
        for client in clients:
            def cell(name, offer, short=False):
                want = nature(offer or Offer())
                path = f"{server}/{setting}/{client}/{name}"
                return Cell(path, server, setting, client, want, offer, work, short=short)

            yield cell("as-it-is", None)
            for index, (name, offer) in enumerate(OFFERS.items()):
                # One client for each cell, in turn.
                turn = name in SHORT_OFFERS and CLIENTS[index % 3] == client
                short = server in SHORT_SERVERS and setting == "default" and turn
                yield cell(name, offer, short)


def asked():
    """What the server requests without an offer."""
    for client in CLIENTS:
        for server in ("ws", "websockets"):
            for bits in range(9, 16):
                want = agreed(bits, True, bits, True)
                short = server == "ws" and bits == 9 and client == "inline"
                name = f"{server}/asks-{bits}/{client}"
                yield Cell(name, server, f"asks-{bits}", client, want, Offer(), "all", short=short)
            # It sends each message in three frames.
            short = client == "blocking"
            name, want = f"{server}/fragments/{client}", as_asked(Offer())
            yield Cell(name, server, "fragments", client, want, Offer(), "all", short=short)
        for setting, (server, window) in BUN_SIZES.items():
            want = agreed(window, True, server, True)
            yield Cell(f"bun/{setting}/{client}", "bun", setting, client, want, Offer(), "all")


# The targets of HTTP calls.
CALLED = (
    ("aiohttp", "default", "/body?how=gzip"), ("ws", "http", "/body?how=gzip"), ("bun", "http", "/body?how=gzip"),
    ("deno", "default", "/body"), ("tornado", "default", "/body"), ("uvicorn", "wsproto", "/body"),
    ("nginx", "default", "/body"),
)

# Coded bodies ---------------------------------------------------------------------------------------


def bodies():
    def body(server, setting, path, coding, short=False):
        for client in CLIENTS:
            name = f"{server}/{setting}/body-{path.partition('how=')[2] or 'itself'}/{client}"
            short_now = short and client != "poll-thread"
            yield Cell(name, server, setting, client, coding, work="body", path=path, short=short_now)

    def events(server, setting, how, coding, held=False, short=False, asks=True):
        for client in CLIENTS if asks else CLIENTS[:2]:
            name = f"{server}/{setting}/events-{how or 'itself'}{'' if asks else '-unasked'}/{client}"
            path = f"/events?how={how}"
            options = ("held",) if held else ()
            yield Cell(name, server, setting, client, coding, None, "events", path,
                       (*options, *(() if asks else ("unasked",))), short=short and client == "inline")

    for server in ("aiohttp", "tornado"):
        for client in CLIENTS[:2]:
            yield Cell(f"{server}/default/upload/{client}", server, "default", client, "", None, "upload", "/upload",
                       ("unasked",), short=server == "aiohttp" and client == "inline")

    for server, setting, path in CALLED:
        for client in CLIENTS[:2]:
            short = server == "aiohttp" and client == "inline"
            yield Cell(f"{server}/{setting}/calls/{client}", server, setting, client, "", None, "calls", path,
                       ("unasked",), short=short)

    for how in ("gzip", "deflate"):
        yield from body("aiohttp", "default", f"/body?how={how}", how, short=True)
        yield from body("ws", "http", f"/body?how={how}", how)
        yield from body("bun", "http", f"/body?how={how}", how)
    yield from body("ws", "http", "/body?how=raw", "deflate")
    yield from body("deno", "default", "/body", "gzip")
    yield from body("tornado", "default", "/body", "gzip")
    yield from body("uvicorn", "wsproto", "/body", "gzip")
    yield from body("nginx", "default", "/body", "gzip")

    yield from events("aiohttp", "default", "flushed", "gzip", short=True)
    # It also sends coded bodies that were not requested.
    yield from events("aiohttp", "default", "flushed", "gzip", asks=False)
    # It flushes nothing before the end, so the events are late.
    yield from events("aiohttp", "default", "gzip", "gzip", held=True)
    for how in ("gzip", "deflate", "raw"):
        yield from events("ws", "http", how, "gzip" if how == "gzip" else "deflate")
    yield from events("tornado", "default", "", "gzip")
    yield from events("uvicorn", "wsproto", "", "gzip")
    yield from events("nginx", "default", "", "gzip")


def all_cells() -> list[Cell]:
    return [*messages(), *asked(), *bodies()]
