"""`make bench`: measure each figure and its yardstick in turns, so that a busy machine slows both."""

import asyncio
import sys

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks import audit, bulk, lists
from benchmarks.figures import SECONDS, Row, at_least, at_most, in_turns
from benchmarks.history import fill_log, lengthen
from benchmarks.load import CLASSIC_TABLES, classic, missing_tools, reads, transfers
from benchmarks.service import Service, resident_mebibytes, running

WARM_UP_SECONDS = 4
ACCOUNTS = 1000
LONG_HISTORY, SHORT_HISTORY = 1_000_000, 10


def main() -> None:
    """Measure, print, and exit with 1 if a promise is not kept."""
    missing = missing_tools()
    if missing:
        sys.exit("\n".join(missing))
    rows = asyncio.run(_measure())
    table = Table(
        "what", "ledger", "yardstick", "ratio", "wanted", title="Ledger benchmark: medians of rounds in turns"
    )
    for row in rows:
        table.add_row(*row[:3], f"{row.ratio:.2f}", f"[{'green' if row.good else 'red'}]{row.wanted}[/]")
    Console(width=140).print(table)
    sys.exit(not all(row.good for row in rows))


async def _measure() -> list[Row]:
    async with running() as service:
        accounts = await service.open_accounts(ACCOUNTS)
        database = await asyncpg.connect(service.database_url, server_settings={"search_path": "public"})
        for statement in CLASSIC_TABLES:
            await database.execute(statement)
        await fill_log(database)
        await transfers(service, accounts, connections=64, seconds=WARM_UP_SECONDS)
        rows = [
            *await _throughput(service, accounts),
            *await _one_connection(service, accounts),
            await bulk.measure(service, accounts),
            *await _long_history(service, database),
            *await lists.measure(service, accounts),
        ]
        await database.close()
        rows.append(await _revocation_check(service, accounts))
    return [*rows, *await audit.measure()]


async def _throughput(service: Service, accounts: list[str]) -> list[Row]:
    many, hot, five, thirty_two = await in_turns(
        lambda: transfers(service, accounts, connections=64, seconds=SECONDS),
        lambda: transfers(service, accounts[:2], connections=64, seconds=SECONDS),
        lambda: classic(service, clients=5, seconds=SECONDS),
        lambda: classic(service, clients=32, seconds=SECONDS),
    )
    best = max(five.per_second, thirty_two.per_second)
    memory = resident_mebibytes(service.worker_pid)
    return [
        at_least(
            "(a) transfers/s over HTTP, 64 connections, 1,000 accounts, against pgbench (best of 5 and 32)",
            *(many.per_second, best, 1.0),
        ),
        at_least("(b) the same on two hot accounts, against (a)", hot.per_second, many.per_second, 0.9),
        Row("(e) peak resident MiB of the worker", f"{memory:.0f}", "150", memory / 150, "at most 1.00", memory <= 150),
    ]


async def _one_connection(service: Service, accounts: list[str]) -> list[Row]:
    ledger, pgbench = await in_turns(
        lambda: transfers(service, accounts, connections=1, seconds=SECONDS),
        lambda: classic(service, clients=1, seconds=SECONDS),
    )
    return [
        at_most("(c) p50 ms of a transfer, one connection, against pgbench", ledger.p50, pgbench.p50, 4.0),
        at_most("(c) p99 ms of the same, for the record", ledger.p99, pgbench.p99, float("inf")),
    ]


async def _long_history(service: Service, database: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    old, new, other, short_one = await service.open_accounts(4)
    await database.execute("SET search_path TO ledger")
    await lengthen(database, short_one, SHORT_HISTORY)
    await lengthen(database, old, LONG_HISTORY)
    long, short = await in_turns(
        lambda: transfers(service, [old, other], sources=[old], connections=1, seconds=SECONDS),
        lambda: transfers(service, [new, other], sources=[new], connections=1, seconds=SECONDS),
    )
    return [
        at_most(
            "(d) p50 ms of a transfer from an account with 1,000,000 entries, against a new one",
            *(long.p50, short.p50, 1.1),
        ),
        await audit.balance_at_a_time(database, old, short_one),
    ]


async def _revocation_check(checked: Service, accounts: list[str]) -> Row:
    async with running(JWT_ENABLE_REVOKED_TOKENS="false") as unchecked:
        others = await unchecked.open_accounts(ACCOUNTS)
        with_check, without = await in_turns(
            lambda: reads(checked, accounts, connections=64, seconds=SECONDS),
            lambda: reads(unchecked, others, connections=64, seconds=SECONDS),
        )
    return at_least(
        "(f) GET /v1/accounts/{id} per second, 64 connections, against JWT_ENABLE_REVOKED_TOKENS=false",
        *(with_check.per_second, without.per_second, 0.9),
    )


if __name__ == "__main__":
    main()
