"""Execute a commit group on a connection: look up what is known, decide the rest, and write it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from ledger import errors
from ledger.audit.results import read_results
from ledger.errors import DatabaseError, Refusal, Refused
from ledger.store import log as event_log
from ledger.store.commands import LoggedCommand, find_commands
from ledger.store.connections import Connection
from ledger.store.heads import Head
from ledger.write.connection import WriteConnection
from ledger.write.group import Outcome, OutcomeOrError, PreparedGroup
from ledger.write.overdue import prepare_with_endings
from ledger.write.pending import Pending

# Retrying cannot help: there is no space, or the server takes no writes.
HOPELESS = (asyncpg.InsufficientResourcesError, asyncpg.ReadOnlySQLTransactionError)
ASTRAY = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.InternalServerError,
)  # from Citus: the ledger is on another node now
LOCKED = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)  # asyncpg derives one from an `UNREACHABLE`


class ExpiredError(Exception):
    """A command of the group has failed at its deadline, before the group was sent."""


async def execute(link: WriteConnection, group: Sequence[Pending], heads: dict[UUID, Head]) -> list[OutcomeOrError]:
    """Return the outcome of each command: a replay if it is in the command log, otherwise that of executing it.

    `heads` are the cached heads, which are brought up to date. If one of them is stale, the write detects it, changes
    nothing and raises `StreamChangedError`.
    """
    connection = await link.get()
    known = await _find_known(connection, group)
    fresh = [pending for pending in group if pending.origin.command_id not in known]
    outcomes = await _decide_and_write(link, connection, fresh, heads) if fresh else []
    return _merge(group, known, fresh, outcomes)


async def execute_locked(
    link: WriteConnection, group: Sequence[Pending], heads: Mapping[UUID, Head]
) -> tuple[list[OutcomeOrError], bool]:
    """Execute a group with the append lock from before the reading, so that no other writer can interfere.

    Return also whether another writer has changed one of the streams since their `heads` were cached.
    """
    connection = await link.get()
    known = await _find_known(connection, group)
    fresh = [pending for pending in group if pending.origin.command_id not in known]
    if not fresh:
        return _merge(group, known, (), ()), False
    found: dict[UUID, Head] = {}
    try:
        await event_log.begin_locked(connection)
        outcomes = await write(link, await prepare_with_endings(connection, fresh, found))
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
    await _wait_if_warned(link, connection)
    stale = any(head.version != heads.get(stream, head).version for stream, head in found.items())
    return _merge(group, known, fresh, outcomes[-len(fresh) :]), stale


async def write(link: WriteConnection, prepared: PreparedGroup[Pending]) -> list[OutcomeOrError]:
    """Write a prepared group, unless it writes nothing, and return the outcome of each command.

    Raises `ExpiredError` if a command has failed at its deadline: from here on, its outcome would be unknown instead.
    """
    connection = await link.get()
    if any(pending.resolved for pending in prepared.commands):
        raise ExpiredError
    if not prepared.statements:
        return prepared.build_outcomes(None)
    for pending in prepared.commands:
        pending.sent = True
        # Set before the write: if the connection is lost during it, the decision is lost too.
        pending.revoked |= pending.origin.command_id in prepared.revoking
    try:
        reservation = await event_log.write(connection, prepared.read, len(prepared.command_ids), prepared.statements)
    except ASTRAY:
        link.drop()
        raise
    await _wait_if_warned(link, connection)
    return prepared.build_outcomes(reservation)


async def _decide_and_write(
    link: WriteConnection, connection: Connection, fresh: Sequence[Pending], heads: dict[UUID, Head]
) -> list[OutcomeOrError]:
    prepared = await prepare_with_endings(connection, fresh, heads)
    outcomes = await write(link, prepared)
    heads |= prepared.heads
    return outcomes[-len(fresh) :]


class _Known(NamedTuple):
    """A command of the command log with its result, or None if the events that it follows from are missing."""

    row: LoggedCommand
    result: Any


async def _find_known(connection: Connection, group: Sequence[Pending]) -> dict[UUID, _Known]:
    """Return the commands of a group that are in the command log, once they are durable."""
    asked = [pending for pending in group if pending.may_be_known]
    rows = await find_commands(connection, [pending.origin.command_id for pending in asked]) if asked else {}
    if not rows:
        return {}
    for pending in asked:
        pending.sent |= pending.origin.command_id in rows
    results = await read_results(connection, rows.values())
    await event_log.wait_until_durable(connection)
    return {command_id: _Known(row, results.get(command_id)) for command_id, row in rows.items()}


async def _wait_if_warned(link: WriteConnection, connection: Connection) -> None:
    """Wait for the standbys that PostgreSQL may have stopped waiting for, as it says in a warning."""
    if link.warned and not connection.is_in_transaction():
        link.warned = False
        await event_log.wait_until_durable(connection)


def _merge(
    group: Sequence[Pending],
    known: Mapping[UUID, _Known],
    fresh: Sequence[Pending],
    outcomes: Sequence[OutcomeOrError],
) -> list[OutcomeOrError]:
    new = dict(zip(fresh, outcomes, strict=True))
    return [new[pending] if pending in new else replay(pending, *known[pending.origin.command_id]) for pending in group]


def replay(pending: Pending, row: LoggedCommand, result: Any) -> OutcomeOrError:
    """Return the outcome of a command in the command log; None as its result means that its events are missing."""
    if row.request_hash != pending.origin.request_hash:
        return Refused(errors.idempotency_key_reused())
    if row.outcome == "refused":
        return Refused(*msgspec.convert(result, tuple[Refusal, ...]), replayed=True)
    if result is None:
        return DatabaseError("the events of a command in the command log are missing")
    assert row.recorded_at is not None  # noqa: S101 - it was read from the log
    # Clients cannot retry a command without a key: this is its first outcome, delayed by a lost connection.
    replayed = pending.origin.request_hash is not None
    return Outcome(result, row.recorded_at, replayed=replayed)
