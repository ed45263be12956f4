"""Read the log twice in one snapshot, by position and stream by stream, and check what follows from it."""

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from ledger.audit.verify import tables
from ledger.audit.verify.findings import Finding
from ledger.audit.verify.log import (
    FoldedStream,
    RawEvent,
    RawHead,
    StreamFold,
    check_credential,
    check_head,
    check_time,
    decode,
)
from ledger.audit.verify.reading import Scope, read_pages
from ledger.events import Recorded
from ledger.store import integrity
from ledger.store.connections import Connection

Advance = Callable[[int], None]


async def check_log(connection: Connection, scope: Scope, advance: Advance) -> AsyncIterator[Finding]:
    """Read the log by position, yield the findings about its events, and project them."""
    previous_time = await integrity.time_of(connection, scope.since)
    sql = f"""{integrity.EVENTS}
              WHERE {scope.where_changed("originator_id")} OR topic = ANY($2) ORDER BY notification_id"""
    async for rows in read_pages(connection, sql, scope.since, tables.FAR_REACHING):
        events: list[Recorded] = []
        for row in rows:
            raw = RawEvent(*row)
            event = decode(raw)
            if isinstance(event, Recorded):
                events.append(event)
            if raw.position > scope.since:
                if isinstance(event, Finding):
                    yield event
                for finding in check_time(previous_time, raw):
                    yield finding
                previous_time = raw.recorded_at
        for finding in await tables.project(connection, events):
            yield finding
        advance(len(rows))


async def check_streams(connection: Connection, scope: Scope, advance: Advance) -> AsyncIterator[Finding]:
    """Read the log stream by stream, and yield the findings about versions, states, heads and credentials."""
    sql = f"""{integrity.EVENTS}
              WHERE {scope.where_changed("originator_id")} ORDER BY originator_id, originator_version"""
    fold: StreamFold | None = None
    async for rows in read_pages(connection, sql, scope.since):
        finished: list[FoldedStream] = []
        for row in rows:
            raw = RawEvent(*row)
            if fold is None or fold.folded.stream_id != raw.stream_id:
                finished += [fold.folded] if fold else []
                fold = StreamFold(raw.stream_id)
            for finding in fold.take(raw):
                if raw.position > scope.since:
                    yield finding
        for finding in await _check_heads_and_credentials(connection, finished):
            yield finding
        advance(len(rows))
    for finding in await _check_heads_and_credentials(connection, [fold.folded] if fold else []):
        yield finding


async def check_orphans(connection: Connection) -> AsyncIterator[Finding]:
    """Yield a finding for each head or credential whose stream has no events."""
    async for rows in read_pages(connection, integrity.ROWS_WITHOUT_STREAM):
        for table, stream_id in rows:
            yield Finding(
                "every head and credential belongs to a stream",
                None,
                "a row",
                stream_id=stream_id,
                table=table,
                row=str(stream_id),
            )


async def read_credentials(connection: Connection, user_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the ids of users' credentials by user id."""
    rows = await connection.fetch("SELECT user_id, id FROM credentials WHERE user_id = ANY($1)", user_ids)
    return {row["user_id"]: row["id"] for row in rows}


async def _check_heads_and_credentials(connection: Connection, streams: Sequence[FoldedStream]) -> list[Finding]:
    """Return the findings about the heads and credentials of streams."""
    stream_ids = [folded.stream_id for folded in streams]
    rows = await integrity.read_stored_heads(connection, stream_ids)
    heads = {row["originator_id"]: RawHead(row["version"], row["topic"], row["state"]) for row in rows}
    credentials = await read_credentials(connection, stream_ids)
    return [
        finding
        for folded in streams
        for finding in (
            *check_head(folded, heads.get(folded.stream_id)),
            *check_credential(folded, credentials.get(folded.stream_id)),
        )
    ]
