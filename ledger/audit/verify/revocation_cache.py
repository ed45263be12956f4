"""The revocation cache in Redis against the tables that it is filled from.

The cache changes during the check, and its values only grow. So each value must lie between what the snapshot says and
what PostgreSQL says after the value was read. A cache that is empty, is being cleared or lags behind is not trusted by
any process, so it is not checked.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import PAGE, pages
from ledger.projections import tokens
from ledger.store.connections import Connection, Reader
from ledger.store.identity import read_ledger_id

Session = tuple[UUID, UUID]  # its id, and its user's
UNUSABLE = (RedisError, OSError, TimeoutError, ValueError)


async def check_revocation_cache(connection: Connection, now: Reader, redis: "Redis") -> AsyncIterator[Finding]:
    """Every value that no moment since the snapshot began explains. Raises one of `UNUSABLE` if Redis cannot be asked.

    `connection` has the snapshot, and in a whole check the tables that were projected anew; `now` has neither.
    """
    ledger_id = await read_ledger_id(connection)
    prefix = f"ledger:{ledger_id}:revoked:"
    needed = await tokens.last_revocation(connection)
    marker = await redis.hget(f"{prefix}cutoffs", "position")
    if marker is None or int(marker) < needed:
        return
    async for rows in pages(connection, "SELECT user_id, position FROM cutoffs"):
        users = {row["user_id"]: row["position"] for row in rows}
        values = await redis.hmget(f"{prefix}cutoffs", [str(user_id) for user_id in users])
        later = await _cutoffs(now, list(users))
        for (user_id, position), value in zip(users.items(), values, strict=True):
            found = None if value is None else int(value)
            for finding in judge(
                f"{prefix}cutoffs", str(user_id), position, found, max(position, later.get(user_id, 0))
            ):
                yield finding
    cursor = None
    while cursor != 0:
        cursor, keys = await redis.scan(cursor or 0, match=f"{prefix}*:*", count=PAGE)
        for finding in await _sessions(connection, now, redis, prefix, keys):
            yield finding


def judge(key: str, member: str | None, least: int, found: int | None, most: int) -> Iterator[Finding]:
    """A value that is there, and between the two."""
    if found is None or not least <= found <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        yield Finding(
            "the revocation cache says what the read tables say", expected, found, table="redis", row=key, column=member
        )


async def _sessions(
    connection: Connection, now: Reader, redis: "Redis", prefix: str, keys: Sequence[bytes | str]
) -> list[Finding]:
    """Judge the keys of sessions. One that has gone since it was listed says nothing, like any that is missing."""
    if not keys:
        return []
    names = [key.decode() if isinstance(key, bytes) else key for key in keys]
    sessions = [_session(name.removeprefix(prefix)) for name in names]
    least = await _ended(connection, sessions)
    values = await redis.mget(names)
    most = await tokens.revoked_below(now, sessions)
    return [
        finding
        for name, session, value in zip(names, sessions, values, strict=True)
        if value is not None
        for finding in judge(name, None, least.get(session, 0), int(value), max(least.get(session, 0), most[session]))
    ]


async def _ended(connection: Connection, sessions: Sequence[Session]) -> dict[Session, int]:
    rows = await connection.fetch(
        "SELECT id, user_id, revoked_below FROM sessions WHERE id = ANY($1)", [session_id for session_id, _ in sessions]
    )
    return {(row["id"], row["user_id"]): row["revoked_below"] for row in rows}


async def _cutoffs(reader: Reader, user_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    rows = await reader.fetch("SELECT user_id, position FROM cutoffs WHERE user_id = ANY($1)", user_ids)
    return {row["user_id"]: row["position"] for row in rows}


def _session(name: str) -> Session:
    user_id, session_id = name.split(":")
    return UUID(session_id), UUID(user_id)
