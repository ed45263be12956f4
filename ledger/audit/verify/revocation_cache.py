"""Check the revocation cache in Redis against the tables from which it is filled.

The cache changes during the check, but its values only grow. So each value must lie between the one in the snapshot and
the one in PostgreSQL after the value was read. Requests do not trust a cache that is empty, is being cleared or lags
behind, so such a cache has no findings.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import PAGE, read_pages
from ledger.projections import tokens
from ledger.store.connections import Connection, Reader
from ledger.store.identity import read_identity
from ledger.values.cache_values import FORGED, CacheValues

Session = tuple[UUID, UUID]  # the id of the session, and of its user
UNUSABLE = (RedisError, OSError, TimeoutError, ValueError)


async def check_revocation_cache(connection: Connection, now: Reader, redis: "Redis") -> AsyncIterator[Finding]:
    """Yield a finding for each value that was wrong at every point in time since the snapshot.

    `connection` has the snapshot and, in a full check, the tables projected from the log; `now` has neither. Raises one
    of `UNUSABLE` if Redis does not answer.
    """
    identity = await read_identity(connection)
    cached = CacheValues(*identity)
    prefix = cached.prefix
    needed = await tokens.last_revocation(connection)
    marker = cached.decode(f"{prefix}cutoffs", "position", await redis.hget(f"{prefix}cutoffs", "position"))
    if marker == FORGED:
        yield _report_forged(f"{prefix}cutoffs", "position")
    if marker is None or marker < needed:
        return
    async for rows in read_pages(connection, "SELECT user_id, position FROM cutoffs"):
        users = {row["user_id"]: row["position"] for row in rows}
        values = await redis.hmget(f"{prefix}cutoffs", [str(user_id) for user_id in users])
        later = await _read_cutoffs(now, list(users))
        for (user_id, position), value in zip(users.items(), values, strict=True):
            found = cached.decode(f"{prefix}cutoffs", str(user_id), value)
            for finding in _judge_value(
                f"{prefix}cutoffs", str(user_id), position, found, max(position, later.get(user_id, 0))
            ):
                yield finding
    cursor = None
    while cursor != 0:
        cursor, keys = await redis.scan(cursor or 0, match=f"{prefix}*:*", count=PAGE)
        for finding in await _check_sessions(connection, now, await _read_sessions(redis, cached, prefix, keys)):
            yield finding


def _judge_value(key: str, member: str | None, least: int, found: int | None, most: int) -> Iterator[Finding]:
    """Yield a finding if a value is missing, not authentic, or outside the range, bounds included."""
    if found == FORGED:
        yield _report_forged(key, member)
    elif found is None or not least <= found <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        yield Finding(
            "the revocation cache matches the read tables", expected, found, table="redis", row=key, column=member
        )


def _report_forged(key: str, member: str | None) -> Finding:
    rule = "the ledger itself wrote each value of the revocation cache"
    return Finding(rule, "an authentic value", "a planted one", table="redis", row=key, column=member)


async def _read_sessions(
    redis: "Redis", cached: CacheValues, prefix: str, keys: Sequence[bytes | str]
) -> dict[str, tuple[Session, int]]:
    """Return the value of each session. A key deleted since the scan is left out: sessions need no key."""
    if not keys:
        return {}
    names = [key.decode() if isinstance(key, bytes) else key for key in keys]
    numbers = [cached.decode(name, "", value) for name, value in zip(names, await redis.mget(names), strict=True)]
    sessions = [_parse_session(name.removeprefix(prefix)) for name in names]
    found = zip(names, sessions, numbers, strict=True)
    return {name: (session, number) for name, session, number in found if number is not None}


async def _check_sessions(
    connection: Connection, now: Reader, numbers: Mapping[str, tuple[Session, int]]
) -> list[Finding]:
    """Return the findings for the values of sessions, which were read before the tables are read as they are now."""
    sessions = [session for session, _ in numbers.values()]
    if not sessions:
        return []
    least, most = await _read_revoked_below(connection, sessions), await tokens.revoked_below(now, sessions)
    return [
        finding
        for name, (session, number) in numbers.items()
        for finding in _judge_value(
            name, None, least.get(session, 0), number, max(least.get(session, 0), most[session])
        )
    ]


async def _read_revoked_below(connection: Connection, sessions: Sequence[Session]) -> dict[Session, int]:
    rows = await connection.fetch(
        "SELECT id, user_id, revoked_below FROM sessions WHERE id = ANY($1)", [session_id for session_id, _ in sessions]
    )
    return {(row["id"], row["user_id"]): row["revoked_below"] for row in rows}


async def _read_cutoffs(reader: Reader, user_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    rows = await reader.fetch("SELECT user_id, position FROM cutoffs WHERE user_id = ANY($1)", user_ids)
    return {row["user_id"]: row["position"] for row in rows}


def _parse_session(name: str) -> Session:
    user_id, session_id = name.split(":")
    return UUID(session_id), UUID(user_id)
