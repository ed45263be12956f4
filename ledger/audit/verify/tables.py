"""The read tables against the log: what they should hold is projected anew, into tables that end with the check.

The projections run as they do when the ledger writes, in pages of the log; their tables are found by name, and for
this connection those names are first those of temporary tables. So memory is bounded, and disk is needed as for the
read tables themselves. An event that a projection cannot take is a finding, never passed over (lesson 12).
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import msgspec

from ledger.audit.verify.findings import Finding, differences, missing, unfounded
from ledger.audit.verify.log import runs
from ledger.audit.verify.reading import Scope, pages
from ledger.events import Recorded
from ledger.events.tokens import AllTokensRevoked, RevokedTokensForgotten
from ledger.events.users import UserTokensRevoked
from ledger.projections import INLINE, apply_all
from ledger.projections.tokens import EVERYBODY
from ledger.store.connections import Connection
from ledger.store.statements import Statement, run_together
from ledger.store.tables import STORED_EVENTS

# What names a row, and the stream that it comes from.
KEYS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "users": (("id",), "id"),
    "accounts": (("id",), "id"),
    "entries": (("account_id", "version"), "account_id"),
    "transfers": (("id",), "id"),
    "sessions": (("id",), "id"),
    "cutoffs": (("user_id",), "user_id"),
    "tokens": (("jti",), "session_id"),
}
# What these do to rows shows in other streams than their own.
FAR_REACHING = [kind.__name__ for kind in (UserTokensRevoked, AllTokensRevoked, RevokedTokensForgotten)]
_INDEXES = (  # unique only where a projection needs it: a log that is wrong must not end the check
    "CREATE INDEX ON pg_temp.users (id)",
    "CREATE INDEX ON pg_temp.accounts (id)",
    "CREATE INDEX ON pg_temp.sessions (id)",
    "CREATE UNIQUE INDEX ON pg_temp.cutoffs (user_id)",
    "CREATE INDEX ON pg_temp.tokens (jti)",
    "CREATE INDEX ON pg_temp.tokens (session_id)",
    "CREATE INDEX ON pg_temp.tokens (user_id) WHERE revoked_position IS NULL",
)
_IN_THE_LOG_ALREADY = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())


async def make_room(connection: Connection, scope: Scope) -> None:
    """Make the temporary tables, empty. They hide those of the ledger, which `scope.schema` still names."""
    for table in KEYS:
        like = f"LIKE {scope.schema}.{table} INCLUDING DEFAULTS"
        await connection.execute(f"CREATE TEMPORARY TABLE {table} ({like}) ON COMMIT DROP")
    for index in _INDEXES:
        await connection.execute(index)
    await connection.execute("SET LOCAL enable_seqscan = off")  # plans are made while the tables are empty


async def project(connection: Connection, events: Sequence[Recorded]) -> list[Finding]:
    """Let the projections take the next events of the log; those that one cannot take, each as a finding."""
    findings: list[Finding] = []
    for run in runs(events, RevokedTokensForgotten):
        if await _applied(connection, run) is not None:
            for row in run:
                error = await _applied(connection, [row])
                findings += [] if error is None else [_unprojected(row, error)]
    return findings


async def compare(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Every row that is not what the log adds up to."""
    await connection.execute("SET LOCAL enable_seqscan = on")
    for table in KEYS:
        await connection.execute(f"ANALYZE pg_temp.{table}")
        async for rows in pages(connection, _unequal_rows(table, scope), scope.since):
            for row in rows:
                for finding in _judged(table, row["key"], row["expected"], row["found"]):
                    yield finding


async def _applied(connection: Connection, events: Sequence[Recorded]) -> Exception | None:
    """Why the projections cannot take these events, which then have had no effect."""
    try:
        statements = apply_all(INLINE, events)
        if statements:
            async with connection.transaction():
                await run_together(connection, _IN_THE_LOG_ALREADY, statements)
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:  # the log may hold anything, and what it is becomes a finding
        if connection.is_closed():
            raise
        return error
    return None


def _unprojected(row: Recorded, error: Exception) -> Finding:
    return Finding(
        "the projections can take every event",
        type(row.event).__name__,
        f"{type(error).__name__}: {error}",
        stream_id=row.stream_id,
        version=row.version,
        position=row.position,
        table=STORED_EVENTS,
    )


def _unequal_rows(table: str, scope: Scope) -> str:
    keys, stream = KEYS[table]
    names = ", ".join(keys)
    condition = scope.touched(stream)
    if table == "entries":
        condition += " AND position > $1"
    if table == "cutoffs":
        condition += f" OR user_id = '{EVERYBODY}'"
    return f"""SELECT concat_ws(' ', {names}) AS key, to_jsonb(expected) AS expected, to_jsonb(found) AS found
               FROM (SELECT * FROM {scope.schema}.{table} WHERE {condition}) AS found
               FULL JOIN (SELECT * FROM pg_temp.{table} WHERE {condition}) AS expected USING ({names})
               WHERE to_jsonb(expected) IS DISTINCT FROM to_jsonb(found)"""


def _judged(table: str, key: str, expected: str | None, found: str | None) -> Iterator[Finding]:
    if found is None:
        yield missing(table, key)
    elif expected is None:
        yield unfounded(table, key)
    else:
        yield from differences(table, key, msgspec.json.decode(expected), msgspec.json.decode(found))
