"""Followers: background tasks that process the log after the fact, and so lag behind it.

Each follower connects, takes a step, reports its progress, rests, and starts again after any error. One process at a
time leads it. Its progress and last error are in the table `followers`, which only this module's SQL uses. The table is
informative: the authoritative position is written together with a follower's output, such as a block.

A follower never skips an event. An event that it cannot apply stops it until an operator resumes it. A process that
becomes the leader tries once more: that loses nothing, and the new process may have the fix. A stop lasts until the
follower has got past its reason: a leader that meets the same reason again does not begin another one.

When a stop begins and when it ends are events. Followers cannot append, so they leave them in the outbox.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, NoReturn
from uuid import UUID

import structlog

from ledger.errors import LedgerError
from ledger.events.operations import MAX_ERROR_LENGTH, FollowerResumed, FollowerStopped
from ledger.store import outbox
from ledger.store.connections import UNREACHABLE, Connection, Reader
from ledger.store.locks import has_leader, try_lead
from ledger.store.outbox import Entry
from ledger.store.sql import LOG_END, lag_seconds, topic_at
from ledger.values.derived import derived_id
from ledger.values.ids import new_id

PAUSE_SECONDS = 1.0  # after a failure
POLL_SECONDS = 1.0  # between checks whether a stopped follower was resumed, and between two reports

# Each name with the target it writes to. A follower's place here is the number of its lock: add new ones at the end.
FOLLOWERS = {
    "mirror": "redis",
    "seals": "seals",
    "crossings": "events",
    "nats": "jetstream",
    "kafka": "kafka",
    "deliveries": "endpoints",
}
BROKERS = ("nats", "kafka")  # the followers that a ledger has only if its settings name these brokers
STATES = ("following", "failing", "stopped", "not running")

log = structlog.get_logger(__name__)


class CannotApplyError(Exception):
    """A follower must stop. `position` is that of the event that it cannot apply, if an event is the reason."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position


class FollowerProgress(NamedTuple):
    """A follower's position, None if it is unknown, and the error that holds it up."""

    position: int | None
    error: str | None = None


class Follower(NamedTuple):
    """A task that processes new events of the log, in steps.

    `step(connection, leads)` processes what is new, as far as its process should, and returns the progress. `rest`
    waits between two steps. `begin` prepares each new connection, `lost` is called when a connection has failed. A web
    worker beside a writer process may not lead: that is the writer's work.
    """

    name: str
    step: Callable[[Connection, bool], Awaitable[FollowerProgress]]
    rest: Callable[[], Awaitable[object]]
    begin: Callable[[Connection], Awaitable[None]] | None = None
    lost: Callable[[], None] | None = None
    may_lead: bool = True


class FollowerStatus(NamedTuple):
    """A follower's status. `state` is `following`, `failing` (it retries), `stopped` or `not running`."""

    name: str
    state: str
    position: int
    lag_seconds: float
    per_second: float | None
    error: str | None
    error_position: int | None
    error_topic: str | None


async def follow(follower: Follower, connect: Callable[[], Awaitable[Connection]]) -> NoReturn:
    """Run a follower until cancelled, reconnecting after every error."""
    while True:
        try:
            connection = await connect()
            try:
                await _take_steps(follower, connection)
            finally:
                with contextlib.suppress(Exception):  # an error here must not replace a cancellation
                    await connection.close(timeout=1)
        except (*UNREACHABLE, LedgerError) as error:
            log.warning("a follower cannot go on now", follower=follower.name, error=_format_error(error))
        except Exception:  # this task must not end: no other restarts it
            log.exception("a follower cannot go on now", follower=follower.name)
        if follower.lost is not None:
            follower.lost()
        await asyncio.sleep(PAUSE_SECONDS)


async def status(reader: Reader) -> list[FollowerStatus]:
    """Return the status of every follower."""
    rows = await reader.fetch(_STATUS, list(FOLLOWERS))
    return [FollowerStatus(*row) for row in rows]


async def read_positions(reader: Reader) -> list[tuple[str, int, int]]:
    """Return the name and the position of each follower, with the end of the log."""
    rows = await reader.fetch(f'SELECT name, "position", {LOG_END} FROM followers ORDER BY name')
    return [(row[0], row[1], row[2]) for row in rows]


async def resume(
    connection: Connection, name: str, *, by: Literal["operator", "process"] = "operator", request_id: str | None = None
) -> int | None:
    """Resume a stopped follower and return the position it continues after; None if it is not stopped.

    `request_id` names the command that an operator ran.
    """
    async with connection.transaction():
        row = await connection.fetchrow(
            "SELECT position, stop_id FROM followers WHERE name = $1 AND stopped FOR UPDATE", name
        )
        if row is None:
            return None
        position: int = row["position"]
        await connection.execute(
            """UPDATE followers SET stopped = false, stop_id = NULL, error = NULL, error_position = NULL,
                                    error_topic = NULL
               WHERE name = $1""",
            name,
        )
        if row["stop_id"] is not None:  # an earlier version began the stop, which is not in the log
            event = FollowerResumed(
                stop_id=row["stop_id"], follower=name, resumed_at=datetime.now(UTC), position=position, by=by
            )
            entry_id = derived_id("resumption", str(row["stop_id"]))
            await outbox.add(connection, [Entry(entry_id, event, request_id=request_id)])
    return position


async def register(connection: Connection, name: str) -> None:
    """Let the status have a follower that not every ledger has."""
    await connection.execute(
        "INSERT INTO followers (name, position) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING", name
    )


async def forget(reader: Reader, name: str) -> bool:
    """Remove a follower from the status. Return False if it is not there, or a process leads it."""
    number = list(FOLLOWERS).index(name)
    sql = f"DELETE FROM followers WHERE name = $1 AND NOT {has_leader(str(number))} RETURNING true"
    return bool(await reader.fetchval(sql, name))


async def report(
    connection: Connection, name: str, progress: FollowerProgress, per_second: float | None = None
) -> None:
    """Record a follower's progress. Without an error, it is not stopped: what had stopped it is behind it."""
    stopped = await connection.fetchval(
        """UPDATE followers SET position = coalesce($2, position), per_second = coalesce($3, per_second),
                                error = CASE WHEN stopped THEN error ELSE $4 END, updated_at = now()
           WHERE name = $1 RETURNING stopped""",
        name,
        progress.position,
        per_second,
        progress.error,
    )
    if stopped and progress.error is None:
        await resume(connection, name, by="process")


async def _take_steps(follower: Follower, connection: Connection) -> None:
    if follower.begin is not None:
        await follower.begin(connection)
    leads, previous, reported_at = False, FollowerProgress(None), 0.0
    reported: FollowerProgress | None = None
    while True:
        leads = leads or (follower.may_lead and await try_lead(connection, list(FOLLOWERS).index(follower.name)))
        began_at = time.monotonic()
        try:
            progress = await follower.step(connection, leads)
        except CannotApplyError as error:
            await _stop(connection, follower.name, error)
            reported = None
            continue
        except Exception as error:
            with contextlib.suppress(Exception):  # the first error is the one to log
                await report(connection, follower.name, FollowerProgress(None, _format_error(error)))
            raise
        ended_at = time.monotonic()
        is_due = reported is None or progress.error != reported.error or ended_at - reported_at >= POLL_SECONDS
        if leads and progress != reported and is_due:
            await report(connection, follower.name, progress, _measure_speed(previous, progress, ended_at - began_at))
            reported, reported_at = progress, ended_at
        previous = progress
        await follower.rest()


async def _stop(connection: Connection, name: str, error: CannotApplyError) -> None:
    """Record why a follower stops, and wait until an operator resumes it."""
    text = _format_error(error)
    topic = await _record_stop(connection, name, text, error.position)
    log.error("a follower has stopped", follower=name, position=error.position, topic=topic, error=text)
    sql = "SELECT stopped FROM followers WHERE name = $1"
    while await connection.fetchval(sql, name):  # noqa: ASYNC110 - another process resumes it
        await asyncio.sleep(POLL_SECONDS)
    log.info("a follower goes on", follower=name)


async def _record_stop(connection: Connection, name: str, text: str, position: int | None) -> str | None:
    """Record a stop, unless it lasts already, and return the topic of the event that is the reason."""
    async with connection.transaction():
        before = await connection.fetchrow(
            "SELECT position, stop_id, error, error_position FROM followers WHERE name = $1 FOR UPDATE", name
        )
        assert before is not None  # noqa: S101 - the migrations insert a row for each follower
        lasting: UUID | None = before["stop_id"]
        lasts = (before["error"], before["error_position"]) == (text, position)
        stop_id = lasting if lasts and lasting is not None else new_id()
        topic: str | None = await connection.fetchval(
            f"""UPDATE followers SET stopped = true, stop_id = $2, error = $3, error_position = $4, updated_at = now(),
                                    error_topic = {topic_at("$4")}
               WHERE name = $1 RETURNING error_topic""",
            *(name, stop_id, text, position),
        )
        if stop_id != lasting:
            event = FollowerStopped(
                stop_id=stop_id,
                follower=name,
                stopped_at=datetime.now(UTC),
                position=before["position"],
                error=text[:MAX_ERROR_LENGTH],
                error_position=position,
                error_topic=topic,
            )
            await outbox.add(connection, [Entry(stop_id, event)])
    return topic


def _measure_speed(before: FollowerProgress, now: FollowerProgress, seconds: float) -> float | None:
    """Return the positions per second of the step from one progress to the other; None if unknown."""
    if before.position is None or now.position is None or now.position <= before.position:
        return None
    return (now.position - before.position) / max(seconds, 0.001)


def _format_error(error: BaseException) -> str:
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
