"""Bytes, write-ahead log and time of PostgreSQL for a plain transfer: `python -m benchmarks.bytes`.

A committer writes the transfers without HTTP, in groups of about thirty, keyed and unkeyed in turns. Nothing else is
written, and a checkpoint comes first, so the write-ahead log includes the full images of all pages that are touched.
"""

import argparse
import asyncio
import os
import random
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks.service import Service, running
from ledger.commands.transfers import TransferMoney
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.derived import derived_id
from ledger.values.ids import new_id, parse_id
from ledger.write.committer import Committer
from ledger.write.group import Origin

TRANSFERS = 20_000
ACCOUNTS = 1_000
AT_ONCE = 64  # two groups of half of them alternate
MAX_BYTES, MAX_WAL_BYTES = 1400, 2400
_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """The cost of one transfer: bytes by relation, bytes of write-ahead log, and microseconds of the backend's CPU."""

    relations: Mapping[str, float]
    wal_bytes: float
    backend_microseconds: float

    @property
    def total_bytes(self) -> float:
        """The bytes of all tables and indexes."""
        return sum(self.relations.values())


def main() -> None:
    """Measure, print, and exit with 1 if a transfer costs more than is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transfers", type=int, default=TRANSFERS, help="of each kind")
    count = parser.parse_args().transfers
    costs = asyncio.run(measure(count))
    _print(costs, count)
    raise SystemExit(any(cost.total_bytes > MAX_BYTES or cost.wal_bytes > MAX_WAL_BYTES for cost in costs.values()))


async def measure(count: int) -> dict[str, Cost]:
    """Return the costs of unkeyed and of keyed transfers, each in a ledger of its own."""
    return {kind: await _measure_kind(count, keyed=kind == "keyed") for kind in ("unkeyed", "keyed")}


async def _measure_kind(count: int, *, keyed: bool) -> Cost:
    async with running(LEDGER_SEAL_SECONDS="3600") as service:
        accounts = [parse_id(account) for account in await service.open_accounts(ACCOUNTS)]
        database = await asyncpg.connect(service.database_url, server_settings={"search_path": "ledger"})
        committer = _create_committer(_settings(service))
        committer.start()
        await _transfer(committer, parse_id(service.owner_id), accounts, 500, keyed=keyed)
        await database.execute("VACUUM ANALYZE")
        await database.execute("CHECKPOINT")
        before = await _look(database)
        await _transfer(committer, parse_id(service.owner_id), accounts, count, keyed=keyed)
        after = await _look(database)
        await committer.close()
        await database.close()
    return Cost(
        {name: (size - before.sizes.get(name, 0)) / count for name, size in after.sizes.items()},
        (after.wal_bytes - before.wal_bytes) / count,
        (after.backend_seconds - before.backend_seconds) / count * 1e6,
    )


def _settings(service: Service) -> Settings:
    secret = secrets.token_urlsafe(32)
    return Settings.load(database_url=service.database_url, redis_url=service.redis_url, jwt_secret=secret)


def _create_committer(settings: Settings) -> Committer:
    async def announce() -> None:
        pass

    return Committer(
        lambda: connect(
            settings,
            statement_seconds=None,
            enable_seqscan="off",  # as in the service
            plan_cache_mode="force_generic_plan",
        ),
        queue_limit=settings.ledger_queue_limit,
        group_limit=settings.ledger_batch_limit,
        patience_seconds=60,
        announce=announce,
    )


async def _transfer(committer: Committer, owner_id: UUID, accounts: Sequence[UUID], count: int, *, keyed: bool) -> None:
    """Execute random transfers, always the same number of them at once, with origins such as requests have."""
    chance, session_id, jti = random.Random(count), new_id(), new_id()
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            source, destination = chance.sample(accounts, 2)
            transaction_id = new_id()
            command = TransferMoney(
                transaction_id=transaction_id,
                source_account_id=source,
                destination_account_id=destination,
                amount_cents=chance.randint(1, 10_000),
            )
            command_id = derived_id("idempotency", f"{owner_id}:{transaction_id}") if keyed else new_id()
            request_hash = secrets.token_bytes(32) if keyed else None
            request_id = secrets.token_hex(16)
            await committer.submit(command, Origin(command_id, owner_id, session_id, jti, request_id, request_hash))

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


class _Look(NamedTuple):
    sizes: Mapping[str, int]
    wal_bytes: int
    backend_seconds: float


async def _look(database: "asyncpg.Connection[Any]") -> _Look:
    wal = await database.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    sizes = await database.fetch(
        """SELECT relname, pg_relation_size(oid) AS size FROM pg_class
           WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'i')"""
    )
    backends = await database.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    return _Look(dict(sizes), int(wal), sum(_cpu_seconds(row["pid"]) for row in backends))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # not on this machine, or gone
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _print(costs: Mapping[str, Cost], count: int) -> None:
    table = Table("bytes a transfer", *costs, title=f"{count:,} plain transfers of each kind, {ACCOUNTS:,} accounts")
    for name in sorted(set().union(*(cost.relations for cost in costs.values()))):
        if any(cost.relations.get(name, 0) >= 1 for cost in costs.values()):
            table.add_row(name, *(f"{cost.relations.get(name, 0):.0f}" for cost in costs.values()))
    table.add_section()
    table.add_row(
        f"tables and indexes (at most {MAX_BYTES:,})", *(f"{cost.total_bytes:,.0f}" for cost in costs.values())
    )
    table.add_row(
        f"write-ahead log (at most {MAX_WAL_BYTES:,})", *(f"{cost.wal_bytes:,.0f}" for cost in costs.values())
    )
    table.add_row(
        "µs of CPU of PostgreSQL's backends", *(f"{cost.backend_microseconds:.0f}" for cost in costs.values())
    )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
