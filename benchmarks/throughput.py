"""Transfers over HTTP against PostgreSQL's own benchmark, and what a transfer costs and stores."""

from benchmarks.audit import balance_at_a_time
from benchmarks.figures import SECONDS, Row, at_least, at_most, in_turns
from benchmarks.history import fill_log, lengthen
from benchmarks.ledger import ACCOUNTS, Ledger
from benchmarks.load import classic, reads, transfers
from benchmarks.scaling import CONNECTIONS, cost
from benchmarks.service import resident_mebibytes, running

STORED_BYTES, LOGGED_BYTES = 1400, 2400  # a transfer
MEMORY_MEBIBYTES = 150
LONG_HISTORY, SHORT_HISTORY = 1_000_000, 10
_STORED = """SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
             WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')"""
_WRITTEN = "SELECT pg_current_wal_lsn() - '0/0', (SELECT count(*) FROM ledger.transfers)"


async def many_connections(ledger: Ledger) -> list[Row]:
    """Measure transfers of many clients, and the processor time that they take."""
    service, accounts = ledger.service, ledger.accounts
    many, hot, five, thirty_two = await in_turns(
        lambda: transfers(service, accounts, connections=CONNECTIONS, seconds=SECONDS),
        lambda: transfers(service, accounts[:2], connections=CONNECTIONS, seconds=SECONDS),
        lambda: classic(service, clients=5, seconds=SECONDS),
        lambda: classic(service, clients=32, seconds=SECONDS),
    )
    best = max(five.per_second, thirty_two.per_second)
    memory = resident_mebibytes(service.worker_pids[0])
    return [
        at_least(
            "(a) transfers/s over HTTP, 64 connections, 1,000 accounts, against pgbench (best of 5 and 32)",
            *(many.per_second, best, 1.25),
        ),
        at_least("(b) the same on two hot accounts, against (a)", hot.per_second, many.per_second, 0.9),
        at_most("(e) peak resident MiB of the worker", memory, MEMORY_MEBIBYTES, 1.0),
        *await cost(ledger, accounts, "random"),
        *await cost(ledger, accounts[:2], "hot"),
    ]


async def stored_bytes(ledger: Ledger) -> list[Row]:
    """Measure the bytes of tables and indexes, and of write-ahead log, that a transfer adds."""
    database = ledger.database
    await fill_log(database)  # it ends with a checkpoint
    await transfers(ledger.service, ledger.accounts, connections=CONNECTIONS, seconds=SECONDS)  # logs whole pages
    stored = await database.fetchval(_STORED)
    logged, count = await database.fetchrow(_WRITTEN) or (0, 0)
    await transfers(ledger.service, ledger.accounts, connections=CONNECTIONS, seconds=3 * SECONDS)
    stored_after = await database.fetchval(_STORED)
    logged_after, count_after = await database.fetchrow(_WRITTEN) or (0, 0)
    written = count_after - count
    return [
        at_most("bytes of tables and indexes a transfer", (stored_after - stored) / written, STORED_BYTES, 1.0),
        at_most("bytes of write-ahead log a transfer", float(logged_after - logged) / written, LOGGED_BYTES, 1.0),
    ]


async def one_connection(ledger: Ledger) -> list[Row]:
    """Measure the latency of a transfer for a single client."""
    one, pgbench = await in_turns(
        lambda: transfers(ledger.service, ledger.accounts, connections=1, seconds=SECONDS),
        lambda: classic(ledger.service, clients=1, seconds=SECONDS),
    )
    return [
        at_most("(c) p50 ms of a transfer, one connection, against pgbench", one.p50, pgbench.p50, 4.0),
        at_most("p99 ms of the same, for the record", one.p99, pgbench.p99, float("inf")),
    ]


async def long_history(ledger: Ledger) -> list[Row]:
    """Measure transfers and point-in-time reads of an account with a long history against one with a short one."""
    service, database = ledger.service, ledger.database
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
        await balance_at_a_time(database, old, short_one),
    ]


async def revocation_check(ledger: Ledger) -> list[Row]:
    """Measure reads with the check for revoked tokens against reads without."""
    async with running(JWT_ENABLE_REVOKED_TOKENS="false") as unchecked:
        others = await unchecked.open_accounts(ACCOUNTS)
        with_check, without = await in_turns(
            lambda: reads(ledger.service, ledger.accounts, connections=CONNECTIONS, seconds=SECONDS),
            lambda: reads(unchecked, others, connections=CONNECTIONS, seconds=SECONDS),
        )
    return [
        at_least(
            "(f) GET /v1/accounts/{id} per second, 64 connections, against JWT_ENABLE_REVOKED_TOKENS=false",
            *(with_check.per_second, without.per_second, 0.9),
        )
    ]
