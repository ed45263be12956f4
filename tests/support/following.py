"""A follower for tests, which counts events and cannot apply those of one topic."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from ledger.followers import follower
from ledger.followers.follower import CannotApplyError, Follower, FollowerProgress, FollowerStatus, follow
from ledger.values.ids import new_id
from tests.support.sealed import INSERT

Connection = Any  # asyncpg's, which is generic for type checkers only
REST_SECONDS = 0.01


class Counting:
    """A follower that counts events, and cannot apply those of one topic."""

    def __init__(self, poison: str = "none") -> None:
        self.poison = poison
        self.seen: list[int] = []
        self.steps = 0

    async def step(self, connection: Connection, leads: bool) -> FollowerProgress:
        self.steps += 1
        if leads:
            after = self.seen[-1] if self.seen else 0
            sql = "SELECT notification_id, topic FROM stored_events WHERE notification_id > $1 ORDER BY 1"
            for position, topic in await connection.fetch(sql, after):
                if topic == self.poison:
                    raise CannotApplyError("it counts for nothing", position)
                self.seen.append(position)
        return FollowerProgress(self.seen[-1] if self.seen else None)

    async def rest(self) -> None:
        """Look for work often. The previous leader may hold the lock a little longer than its connection lasts."""
        await asyncio.sleep(REST_SECONDS)


@asynccontextmanager
async def following(
    counting: Counting, connect_: Callable[[], Awaitable[Connection]], name: str = "seals"
) -> AsyncIterator[None]:
    task = asyncio.create_task(follow(Follower(name, counting.step, counting.rest), connect_))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def append(connection: Connection, topic: str = "NameClaimed") -> int:
    sql = INSERT.replace("'NameClaimed'", f"'{topic}'") + " RETURNING notification_id"
    position: int = await connection.fetchval(sql, new_id())
    return position


async def shown(connection: Connection, name: str = "seals") -> FollowerStatus:
    return next(one for one in await follower.status(connection) if one.name == name)
