"""The responses of the Python servers: a body of 40,000 lines, and events that wait for an acknowledgement."""

import asyncio

LINES = 40_000
COUNT = 10
PATIENCE = 15


def body() -> bytes:
    return "".join(f"line {i} über den Mond\n" for i in range(1, LINES + 1)).encode()


class Acks:
    """Sends an event when the one before it was acknowledged: if one is held back, no more follow."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, str], asyncio.Event] = {}

    def _of(self, id: str, k: str) -> asyncio.Event:
        return self.waiting.setdefault((id, k), asyncio.Event())

    def got(self, id: str, k: str) -> None:
        self._of(id, k).set()

    async def events(self, id: str, waits: bool):
        for k in range(1, COUNT + 1):
            yield f'event: tick\nid: {k}\ndata: {{"tick":{k}}}\n\n'.encode()
            if waits:
                await asyncio.wait_for(self._of(id, str(k)).wait(), PATIENCE)
