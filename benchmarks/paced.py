"""A steady load: a fixed number of transfers a second, and an endpoint that notes when each event arrives.

Both speak as much HTTP as they need and no more, so that they leave the processor to what is measured.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from benchmarks.ledger import Ledger

CONNECTIONS = 16
_END = b"\r\n\r\n"


async def pay(ledger: Ledger, *, per_second: float, seconds: float) -> int:
    """Send transfers at this rate, whatever the service does, and return how many it has accepted."""
    parts = urlsplit(ledger.service.url)
    count = int(per_second * seconds)
    turns = itertools.count()
    choose, began = random.Random(1), time.perf_counter()

    async def work() -> int:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        accepted = 0
        while (turn := next(turns)) < count:
            await asyncio.sleep(max(0.0, began + turn / per_second - time.perf_counter()))
            source, destination = choose.sample(ledger.accounts, 2)
            body = f'{{"source_account_id":"{source}","destination_account_id":"{destination}","amount_cents":1}}'
            writer.write(
                f"POST /v1/transactions/transfer HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {ledger.service.token}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            head = await reader.readuntil(_END)
            await reader.readexactly(_length(head))
            accepted += head.startswith(b"HTTP/1.1 200")
        writer.close()
        return accepted

    return sum(await asyncio.gather(*(work() for _ in range(CONNECTIONS))))


class Arrivals:
    """When events arrived, in seconds after they were recorded, and their positions."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.positions: list[int] = []

    def note(self, body: bytes) -> None:
        """Note an event."""
        event = msgspec.json.decode(body, type=_Event)
        self.delays.append(time.time() - event.time.timestamp())
        self.positions.append(int(event.position))

    def percentile(self, share: float) -> float:
        """Return the milliseconds within which this share of the events has arrived."""
        ordered = sorted(self.delays)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class _Event(msgspec.Struct):
    time: datetime
    position: str


@contextlib.asynccontextmanager
async def endpoint(arrivals: Arrivals, port: int = 0) -> AsyncIterator[str]:
    """Accept whatever is posted to this port, or to a free one, and yield the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                body = await reader.readexactly(_length(await reader.readuntil(_END)))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                arrivals.note(body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def _length(head: bytes) -> int:
    found = head.lower().partition(b"content-length:")[2]
    return int(found.partition(b"\r\n")[0]) if found else 0
