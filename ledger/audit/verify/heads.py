"""The quick check: heads against the last versions of their streams, and read tables against heads. No history."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.audit.verify.findings import Finding, Value, differences, missing, unfounded
from ledger.audit.verify.log import Folded, credential_of
from ledger.audit.verify.reading import pages
from ledger.audit.verify.streams import stored_credentials
from ledger.events import State, decode_state
from ledger.events.accounts import Account
from ledger.events.tokens import Session
from ledger.events.users import User
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.tables import STREAM_HEADS

_TABLES: Mapping[type[State], str] = {User: "users", Account: "accounts", Session: "sessions"}
Advance = Callable[[int], None]


class _Head(NamedTuple):
    stream_id: UUID
    version: int
    state: State


async def check_heads(connection: Connection, advance: Advance) -> AsyncIterator[Finding]:
    """Every head and what follows from it, and every row that follows from none."""
    async for rows in pages(connection, integrity.HEADS_AND_LAST_VERSIONS):
        for row in rows:
            for finding in _judge_head(row):
                yield finding
        for finding in await _what_follows(connection, [head for row in rows for head in _readable(row)]):
            yield finding
        advance(len(rows))
    for table in _TABLES.values():
        async for rows in pages(connection, integrity.ids_without_head(table)):
            for row in rows:
                yield unfounded(table, str(row["id"]))


def expected_row(version: int, state: State) -> dict[str, Value] | None:
    """What a read table should say of a stream, as far as that follows from its head; None if it has no row."""
    match state:
        case User(deleted=True):
            return None
        case User():
            roles = ",".join(state.roles)
            return {"username": state.username, "email": state.email, "active": state.active, "roles": roles}
        case Account():
            return {
                "user_id": state.owner_id,
                "currency": state.currency,
                "balance_cents": state.balance_cents,
                "held_cents": state.held_cents,
                "overdraft_limit_cents": state.overdraft_limit_cents,
                "frozen": state.frozen,
                "status": "closed" if state.closed else "open",
                "version": version,
            }
        case Session():
            return {"user_id": state.user_id, "ended": state.ended}
        case _:
            return None


async def _what_follows(connection: Connection, heads: Sequence[_Head]) -> list[Finding]:
    """What is wrong with the rows and credentials of these heads."""
    credentials = await stored_credentials(connection, [head.stream_id for head in heads])
    return [
        *[finding for table in _TABLES.values() for finding in await _against(connection, table, heads)],
        *[
            finding
            for head in heads
            for finding in credential_of(
                Folded(head.stream_id, head.version, 0, head.state), credentials.get(head.stream_id)
            )
        ],
    ]


async def _against(connection: Connection, table: str, heads: Sequence[_Head]) -> list[Finding]:
    kept = [head for head in heads if _TABLES.get(type(head.state)) == table]
    rows = await connection.fetch(f"SELECT * FROM {table} WHERE id = ANY($1)", [head.stream_id for head in kept])
    found = {row["id"]: dict(row) for row in rows}
    return [finding for head in kept for finding in _judge_row(table, head, found.get(head.stream_id))]


def _judge_row(table: str, head: _Head, found: dict[str, Value] | None) -> Iterator[Finding]:
    expected, row = expected_row(head.version, head.state), str(head.stream_id)
    if found is None:
        if expected is not None:
            yield missing(table, row)
    elif expected is None:
        yield unfounded(table, row)
    else:
        yield from differences(table, row, expected, found | {"ended": found.get("ended_at") is not None})


def _readable(row: Record) -> list[_Head]:
    try:
        return [_Head(row["originator_id"], row["version"], decode_state(row["topic"], row["state"]))]
    except (ValueError, msgspec.MsgspecError):
        return []


def _judge_head(row: Record) -> Iterator[Finding]:
    place: dict[str, Any] = {
        "stream_id": row["originator_id"],
        "table": STREAM_HEADS,
        "row": str(row["originator_id"]),
    }
    if row["version"] != row["last_version"]:
        rule = "the head has the version of the last event"
        yield Finding(rule, row["last_version"], row["version"], column="version", **place)
    if not _readable(row):
        rule = "every head decodes under its topic"
        yield Finding(rule, f"a {row['topic']}", row["state"][:80], column="state", **place)
