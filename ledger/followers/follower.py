"""Followers: what comes after the log, in a task beside everything else, and so lags behind it.

All have one shape: connect, do what there is to do, say how far that is, rest, and begin again whatever happens. Of all
processes one leads at a time; how far it is, and what it met with, is in the table `followers`, on which this is the
only SQL. Where a follower really is, is written together with what it does (a block, a marker); the table only tells.

A follower never passes over an event. One that it cannot apply stops it, until an operator resumes it. A process that
begins to lead tries once more: where it stopped nothing is lost by that, and the fix may be the new process.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, NoReturn

import structlog

from ledger.store.connections import Connection, Reader
from ledger.store.locks import has_leader, try_lead
from ledger.store.pool import UNREACHABLE
from ledger.store.sql import lag_seconds, topic_at

PAUSE_SECONDS = 1.0  # after a failure
POLL_SECONDS = 1.0  # of one that has stopped, for being resumed; and between two reports

# Their names, and where they write. The place in this list is the number of a follower's lock: add at the end.
FOLLOWERS = {"mirror": "redis", "seals": "seals"}
STATES = ("following", "failing", "stopped", "not running")

log = structlog.get_logger(__name__)


class CannotApplyError(Exception):
    """A follower must not go on. `position` is that of the event that it cannot apply, if it is one."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position


class FollowerProgress(NamedTuple):
    """How far a follower is, None if that is not known now, and why no further."""

    position: int | None
    error: str | None = None


class Follower(NamedTuple):
    """A task that processes new events of the log, in steps.

    `step(connection, leads)` processes what is new, as far as its process should, and returns the progress. `rest`
    waits between two steps. `begin` prepares each new connection, `lost` is called when a connection has failed.
    """

    name: str
    step: Callable[[Connection, bool], Awaitable[FollowerProgress]]
    rest: Callable[[], Awaitable[object]]
    begin: Callable[[Connection], Awaitable[None]] | None = None
    lost: Callable[[], None] | None = None


class FollowerStatus(NamedTuple):
    """A follower. `state` is `following`, `failing` (it tries again), `stopped` or `not running`."""

    name: str
    state: str
    position: int
    lag_seconds: float
    per_second: float | None
    error: str | None
    error_position: int | None
    error_topic: str | None


async def follow(follower: Follower, connect: Callable[[], Awaitable[Connection]]) -> NoReturn:
    """Follow for as long as the process runs."""
    while True:
        try:
            connection = await connect()
            try:
                await _follow(follower, connection)
            finally:
                with contextlib.suppress(Exception):  # it must not take the place of a cancellation
                    await connection.close(timeout=1)
        except UNREACHABLE as error:
            log.warning("a follower cannot go on now", follower=follower.name, error=_told(error))
        except Exception:  # nobody else would do it
            log.exception("a follower cannot go on now", follower=follower.name)
        if follower.lost is not None:
            follower.lost()
        await asyncio.sleep(PAUSE_SECONDS)


async def status(reader: Reader) -> list[FollowerStatus]:
    """How all followers are."""
    rows = await reader.fetch(_STATUS, list(FOLLOWERS))
    return [FollowerStatus(*row) for row in rows]


async def resume(reader: Reader, name: str) -> int | None:
    """Let a follower that has stopped try again, and say after which position; None if it has not stopped."""
    position: int | None = await reader.fetchval(
        """UPDATE followers SET stopped = false, error = NULL, error_position = NULL, error_topic = NULL
           WHERE name = $1 AND stopped RETURNING position""",
        name,
    )
    return position


async def report(reader: Reader, name: str, reached: FollowerProgress, per_second: float | None = None) -> None:
    """Note how far a follower is, and that it goes on."""
    await reader.execute(
        """UPDATE followers SET position = coalesce($2, position), per_second = coalesce($3, per_second), error = $4,
                                stopped = false, error_position = NULL, error_topic = NULL, updated_at = now()
           WHERE name = $1""",
        name,
        reached.position,
        per_second,
        reached.error,
    )


async def _follow(follower: Follower, connection: Connection) -> None:
    if follower.begin is not None:
        await follower.begin(connection)
    leads, before, told_at = False, FollowerProgress(None), 0.0
    told: FollowerProgress | None = None
    while True:
        leads = leads or await try_lead(connection, list(FOLLOWERS).index(follower.name))
        begun = time.monotonic()
        try:
            reached = await follower.step(connection, leads)
        except CannotApplyError as error:
            await _stop(connection, follower.name, error)
            told = None
            continue
        except Exception as error:
            with contextlib.suppress(Exception):  # the error that is told is the one that came first
                await report(connection, follower.name, FollowerProgress(None, _told(error)))
            raise
        ended = time.monotonic()
        if (
            leads
            and reached != told
            and (told is None or reached.error != told.error or ended - told_at >= POLL_SECONDS)
        ):
            await report(connection, follower.name, reached, _speed(before, reached, ended - begun))
            told, told_at = reached, ended
        before = reached
        await follower.rest()


async def _stop(connection: Connection, name: str, error: CannotApplyError) -> None:
    """Note why, and wait until somebody has it resumed."""
    topic = await connection.fetchval(
        f"""UPDATE followers SET stopped = true, error = $2, error_position = $3, updated_at = now(),
                                error_topic = {topic_at("$3")}
           WHERE name = $1 RETURNING error_topic""",
        name,
        _told(error),
        error.position,
    )
    log.error("a follower has stopped", follower=name, position=error.position, topic=topic, error=_told(error))
    sql = "SELECT stopped FROM followers WHERE name = $1"
    while await connection.fetchval(sql, name):  # noqa: ASYNC110 - another process has it resumed
        await asyncio.sleep(POLL_SECONDS)
    log.info("a follower goes on", follower=name)


def _speed(before: FollowerProgress, now: FollowerProgress, seconds: float) -> float | None:
    """Positions a second in the step that led from one to the other."""
    if before.position is None or now.position is None or now.position <= before.position:
        return None
    return (now.position - before.position) / max(seconds, 0.001)


def _told(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_STATUS = f"""
SELECT name,
       CASE WHEN stopped THEN 'stopped' WHEN NOT {has_leader("number - 1")} THEN 'not running'
            WHEN error IS NOT NULL THEN 'failing' ELSE 'following' END,
       position,
       {lag_seconds("position")},
       per_second, error, error_position, error_topic
FROM unnest($1::text[]) WITH ORDINALITY AS named(name, number) JOIN followers USING (name) ORDER BY number
"""
