"""The status of the whole ledger, for the first page of a console: read once for all callers of a worker."""

from typing import Any

from aiohttp import web

from ledger.audit.present_sums import read_extent, read_present_sums
from ledger.concurrency.cached import Cached
from ledger.followers import follower
from ledger.followers.follower import FollowerStatus
from ledger.projections.hold_ages import read_hold_ages
from ledger.runtime import Runtime
from ledger.seals.store import SealProgress, read_clock, read_progress
from ledger.settings import Settings
from ledger.store.activity import Activity
from ledger.values.timestamps import rfc3339
from web.http.json import answer, format_times
from web.http.replica import MIN_POSITION
from web.http.response import Reply

STATUS: web.AppKey[Cached[dict[str, Any]]] = web.AppKey("STATUS", Cached)

KEPT_SECONDS = 1.0
STOPPED = "stopped"


async def get_ledger_status(request: web.Request) -> Reply:
    """GET /ledger/status: the state of the worker's last reading, which is a second old, or older if it took long."""
    status, least = request.app[STATUS], MIN_POSITION.read(request) or 0
    found = await status.get()
    return answer(found if found["position"] >= least else await status.refresh())


def keep_status(runtime: Runtime) -> Cached[dict[str, Any]]:
    """Return the status of the ledger, which is read at most once a second."""
    activity = Activity()
    return Cached(lambda: _read(runtime, activity), seconds=KEPT_SECONDS)


async def _read(runtime: Runtime, activity: Activity) -> dict[str, Any]:
    """Read everything in one snapshot of the database."""
    async with (
        runtime.pool.acquire(seconds=runtime.settings.ledger_database_patience_seconds) as lent,
        lent.connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        source = lent.connection
        extent = await read_extent(source)
        since, per_minute = await activity.read(source)
        followers = await follower.status(source)
        return {
            "read_at": await read_clock(source),
            **extent,
            **await read_present_sums(source),
            "activity": {"since": rfc3339(since), "per_minute": per_minute},
            "seals": format_times(_format_seals(runtime.settings, await read_progress(source), followers)),
            "followers": [_format_follower(one, extent["position"]) for one in followers],
            "holds": (await read_hold_ages(source)).body(),
        }


def _format_seals(settings: Settings, progress: SealProgress, followers: list[FollowerStatus]) -> dict[str, Any]:
    return {
        "enabled": settings.ledger_seal_key_file is not None,
        "anchored": settings.ledger_seal_anchor is not None,
        **progress._asdict(),
        "stopped": any(one.name == "seals" and one.state == STOPPED for one in followers),
    }


def _format_follower(one: FollowerStatus, end: int) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "position": one.position,
        "lag_events": max(end - one.position, 0),
        "lag_seconds": max(one.lag_seconds, 0.0),
        "error": one.error,
    }
