"""`make bench`: measure each figure and its yardstick in turns, so that a busy machine slows both.

`make bench ONLY=transfers,bulk` measures these parts only, and `make bench ONLY=list` prints the names of all.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from rich.console import Console
from rich.table import Table

from benchmarks import audit, bulk, dates, endpoints, lists, publish, search, webhooks
from benchmarks.figures import Row
from benchmarks.ledger import open_ledger
from benchmarks.load import missing_tools, postgres_version
from benchmarks.machine import describe
from benchmarks.parts import LIST, Part, UnknownPartError, choose, describe_part
from benchmarks.scaling import two_instances, two_workers, writer_alone
from benchmarks.throughput import long_history, many_connections, one_connection, revocation_check, stored_bytes

PARTS = (
    Part("transfers", "transfers of 64 clients against pgbench, and their CPU time", 2.5, many_connections),
    Part("workers", "two workers against one", 3, two_workers),
    Part("instances", "two instances on one database against one", 2.5, two_instances),
    Part("writer", "the committer alone, without HTTP", 0.5, writer_alone),
    Part("bytes", "what a transfer stores and logs", 1, stored_bytes),
    Part("latency", "one client against pgbench", 1, one_connection),
    Part(
        "bulk",
        "batches of 1,000 transfers against the SQL that writes the same rows, and `ledger import`",
        3,
        bulk.measure,
    ),
    Part("history", "an account with a million entries", 2.5, long_history),
    Part("dates", "balances as of an effective date, of a long and a short history", 1.5, dates.measure),
    Part("lists", "pages of lists near the beginning and far from it", 1, lists.measure),
    Part("search", "searches that few match, among a million transactions and ten thousand", 4, alone=search.measure),
    Part("revocation", "reads with and without the check for revoked tokens", 1.5, revocation_check),
    Part("publish", "transfers of a service that publishes them to NATS JetStream, against none", 3.5, publish.measure),
    Part("webhooks", "events from their recording to an endpoint, and what sending costs", 5, alone=webhooks.measure),
    Part("endpoints", "a dead endpoint of webhooks beside 200 healthy ones", 3, alone=endpoints.measure),
    Part("audit", "rebuilding, verifying and exporting a million events", 6, alone=audit.measure),
)


def main() -> None:
    """Measure, print, and exit with 1 if a promise is not kept."""
    only = "".join(sys.argv[1:])
    if only == LIST:
        sys.stdout.write("".join(f"{describe_part(part)}\n" for part in PARTS))
        return
    try:
        chosen = choose(PARTS, only)
    except UnknownPartError as error:
        sys.exit(str(error))
    missing = missing_tools()
    if missing:
        sys.exit("\n".join(missing))
    rows = asyncio.run(_measure(chosen))
    table = Table(
        "part", "what", "ledger", "yardstick", "ratio", "wanted", title="Ledger benchmark: medians of rounds in turns"
    )
    for part, row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(part, *row[:3], ratio, f"[{'green' if row.good else 'red'}]{row.wanted}[/]")
    Console(width=150).print(table)
    sys.exit(not all(row.good for _, row in rows))


async def _measure(parts: Sequence[Part]) -> list[tuple[str, Row]]:
    _write(describe(await postgres_version()))
    rows: list[tuple[str, Row]] = []
    async with AsyncExitStack() as stack:
        ledger = None
        for number, part in enumerate(parts, 1):
            if part.on_ledger is None:
                continue
            if ledger is None:
                _write("Starting PostgreSQL and the service, and opening accounts: about half a minute.")
                ledger = await stack.enter_async_context(open_ledger())
            _write(f"[{number}/{len(parts)}] {describe_part(part)}")
            rows += [(part.name, row) for row in await part.on_ledger(ledger)]
    for number, part in enumerate(parts, 1):
        if part.alone is not None:
            _write(f"[{number}/{len(parts)}] {describe_part(part)}")
            rows += [(part.name, row) for row in await part.alone()]
    return rows


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
