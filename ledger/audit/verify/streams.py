"""The shell around the log: it is read twice, in the order of positions and stream by stream, each in one snapshot."""

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from ledger.audit.verify import tables
from ledger.audit.verify.findings import Finding
from ledger.audit.verify.log import (
    Folded,
    Stored,
    StoredHead,
    StreamFold,
    credential_of,
    decoded,
    head_of,
    time_goes_on,
)
from ledger.audit.verify.reading import Scope, pages
from ledger.events import Recorded
from ledger.store import integrity
from ledger.store.connections import Connection

Advance = Callable[[int], None]


async def check_log(connection: Connection, scope: Scope, advance: Advance) -> AsyncIterator[Finding]:
    """Read the log in order, event by event, and let the projections take it."""
    before = await integrity.time_of(connection, scope.since)
    sql = f"""{integrity.EVENTS}
              WHERE {scope.touched("originator_id")} OR topic = ANY($2) ORDER BY notification_id"""
    async for rows in pages(connection, sql, scope.since, tables.FAR_REACHING):
        events: list[Recorded] = []
        for row in rows:
            stored = Stored(*row)
            event = decoded(stored)
            if isinstance(event, Recorded):
                events.append(event)
            if stored.position > scope.since:
                if isinstance(event, Finding):
                    yield event
                for finding in time_goes_on(before, stored):
                    yield finding
                before = stored.recorded_at
        for finding in await tables.project(connection, events):
            yield finding
        advance(len(rows))


async def check_streams(connection: Connection, scope: Scope, advance: Advance) -> AsyncIterator[Finding]:
    """Read the log stream by stream: versions, what they add up to, and what is kept of that beside the log."""
    sql = f"""{integrity.EVENTS}
              WHERE {scope.touched("originator_id")} ORDER BY originator_id, originator_version"""
    fold: StreamFold | None = None
    async for rows in pages(connection, sql, scope.since):
        done: list[Folded] = []
        for row in rows:
            stored = Stored(*row)
            if fold is None or fold.folded.stream_id != stored.stream_id:
                done += [fold.folded] if fold else []
                fold = StreamFold(stored.stream_id)
            for finding in fold.take(stored):
                if stored.position > scope.since:
                    yield finding
        for finding in await _beside_the_log(connection, done):
            yield finding
        advance(len(rows))
    for finding in await _beside_the_log(connection, [fold.folded] if fold else []):
        yield finding


async def check_strangers(connection: Connection) -> AsyncIterator[Finding]:
    """Heads of streams, and credentials of users, that there are not."""
    async for rows in pages(connection, integrity.ROWS_WITHOUT_STREAM):
        for table, stream_id in rows:
            yield Finding(
                "what is kept beside the log belongs to a stream",
                None,
                "a row",
                stream_id=stream_id,
                table=table,
                row=str(stream_id),
            )


async def stored_credentials(connection: Connection, user_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The ids of the credentials of these users."""
    rows = await connection.fetch("SELECT user_id, id FROM credentials WHERE user_id = ANY($1)", user_ids)
    return {row["user_id"]: row["id"] for row in rows}


async def _beside_the_log(connection: Connection, streams: Sequence[Folded]) -> list[Finding]:
    """What is wrong with the heads and credentials of these streams."""
    stream_ids = [folded.stream_id for folded in streams]
    rows = await integrity.read_stored_heads(connection, stream_ids)
    heads = {row["originator_id"]: StoredHead(row["version"], row["topic"], row["state"]) for row in rows}
    credentials = await stored_credentials(connection, stream_ids)
    return [
        finding
        for folded in streams
        for finding in (
            *head_of(folded, heads.get(folded.stream_id)),
            *credential_of(folded, credentials.get(folded.stream_id)),
        )
    ]
