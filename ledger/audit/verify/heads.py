"""The fast check: heads against the last versions of their streams, and read tables against heads."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, assert_never
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.audit.verify.findings import Finding, Value, compare_columns, report_missing, report_unexpected
from ledger.audit.verify.log import FoldedStream, check_credential, check_factor, check_webhook_secrets
from ledger.audit.verify.reading import read_pages
from ledger.events import State, decode_state
from ledger.events.account_labels import AccountCode
from ledger.events.accounts import Account
from ledger.events.assets import Asset
from ledger.events.clients import Client
from ledger.events.monitors import Monitor
from ledger.events.operations import FollowerStops, Rebuilds, Verifications
from ledger.events.periods import Periods
from ledger.events.reconciliations import Reconciliation
from ledger.events.seals import SealChain
from ledger.events.second_factors import SecondFactor
from ledger.events.tokens import Cleanups, Cutoffs, Session
from ledger.events.transactions import Reference, Transaction
from ledger.events.users import Name, User
from ledger.events.webhooks import Webhook
from ledger.projections import monitors, webhooks
from ledger.projections.accounts import ACCOUNTS
from ledger.projections.assets import ASSETS
from ledger.projections.clients import CLIENTS, row_of
from ledger.projections.table import Table
from ledger.projections.tokens import SESSIONS
from ledger.projections.users import USERS
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.credentials import read_credentials
from ledger.store.second_factors import read_stored_factors
from ledger.store.tables import STREAM_HEADS
from ledger.store.webhook_secrets import read_stored_secrets

_TABLES: Mapping[type[State], Table] = {
    User: USERS,
    Account: ACCOUNTS,
    Client: CLIENTS,
    Monitor: monitors.MONITORS,
    Webhook: webhooks.WEBHOOKS,
    Asset: ASSETS,
    Session: SESSIONS,
}
Advance = Callable[[int], None]


class _Head(NamedTuple):
    stream_id: UUID
    version: int
    state: State


async def check_heads(connection: Connection, advance: Advance) -> AsyncIterator[Finding]:
    """Yield the findings for every head, for the rows that follow from it, and for rows without a head."""
    async for rows in read_pages(connection, integrity.HEADS_AND_LAST_VERSIONS):
        for row in rows:
            for finding in _judge_head(row):
                yield finding
        for finding in await _check_rows(connection, [head for row in rows for head in _decode_head(row)]):
            yield finding
        advance(len(rows))
    for table in _TABLES.values():
        async for rows in read_pages(connection, integrity.ids_without_head(table.name)):
            for row in rows:
                yield report_unexpected(table.name, str(row["id"]))


def expected_row(version: int, state: State) -> dict[str, Value] | None:  # noqa: PLR0911 - one arm per state
    """Return the columns of a read table that follow from a head, or None if the stream has no row."""
    match state:
        case User(deleted=True):
            return None
        case User():
            return _columns_of(USERS, state, {"roles": ",".join(state.roles)})
        case Client():
            return None if state.revoked else dict(row_of(state.name, state.grants))
        case Monitor():
            return None if state.deleted else monitors.row_of(state)
        case Webhook():
            return None if state.deleted else webhooks.row_of(state)
        case Account():
            status = "closed" if state.closed else "open"
            return _columns_of(ACCOUNTS, state, {"user_id": state.owner_id, "status": status, "version": version})
        case Asset():
            return _columns_of(ASSETS, state, {})
        case Session():  # `expires_at` differs: in the head it is the session's, in the row the last token's
            return {"user_id": state.user_id, "ended": state.ended}
        case (
            Transaction()
            | Reference()
            | Name()
            | AccountCode()
            | Periods()
            | Reconciliation()
            | Cutoffs()
            | Cleanups()
            | SealChain()
            | SecondFactor()
            | Rebuilds()
            | Verifications()
            | FollowerStops()
        ):
            return None
        case _:
            assert_never(state)


def _columns_of(table: Table, state: State, others: Mapping[str, Value]) -> dict[str, Value]:
    """Return the columns named like a member of the state, and the given ones."""
    members = msgspec.structs.asdict(state)
    return {name: members[name] for name in table.names if name in members} | dict(others)


async def _check_rows(connection: Connection, heads: Sequence[_Head]) -> list[Finding]:
    """Return the findings for the rows, credentials and second factors of these heads."""
    ids = [head.stream_id for head in heads]
    credentials, factors = await read_credentials(connection, ids), await read_stored_factors(connection, ids)
    secrets = await read_stored_secrets(connection, [one.stream_id for one in heads if isinstance(one.state, Webhook)])
    folded = [FoldedStream(head.stream_id, head.version, 0, head.state) for head in heads]
    return [
        *[finding for table in _TABLES.values() for finding in await _check_table(connection, table, heads)],
        *[
            finding
            for one in folded
            for finding in (
                *check_credential(one, credentials.get(one.stream_id)),
                *check_factor(one, factors.get(one.stream_id)),
                *check_webhook_secrets(one, secrets.get(one.stream_id, {})),
            )
        ],
    ]


async def _check_table(connection: Connection, table: Table, heads: Sequence[_Head]) -> list[Finding]:
    of_table = [head for head in heads if _TABLES.get(type(head.state)) is table]
    rows = await connection.fetch(
        f"SELECT * FROM {table.name} WHERE id = ANY($1)", [head.stream_id for head in of_table]
    )
    found = {row["id"]: dict(row) for row in rows}
    return [finding for head in of_table for finding in _judge_row(table.name, head, found.get(head.stream_id))]


def _judge_row(table: str, head: _Head, found: dict[str, Value] | None) -> Iterator[Finding]:
    expected, row = expected_row(head.version, head.state), str(head.stream_id)
    if found is None:
        if expected is not None and not (isinstance(head.state, Session) and head.state.ended):  # a clean-up deletes it
            yield report_missing(table, row)
    elif expected is None:
        yield report_unexpected(table, row)
    else:
        yield from compare_columns(table, row, expected, found | {"ended": found.get("ended_at") is not None})


def _decode_head(row: Record) -> list[_Head]:
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
    if not _decode_head(row):
        rule = "every head decodes under its topic"
        yield Finding(rule, f"a valid {row['topic']}", row["state"][:80], column="state", **place)
