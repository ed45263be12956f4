"""Monitoring for operators: liveness, readiness and metrics."""

import asyncio

from aiohttp import web

from ledger import errors
from ledger.concurrency.dataloader import DataLoader
from ledger.errors import Refused
from ledger.followers.follower import FollowerStatus
from ledger.projections import holds, schedules
from ledger.publish.webhooks.states import read_states
from ledger.runtime import Runtime
from ledger.service.health import Health
from ledger.service.operations.ended import read_ended
from ledger.settings import Settings
from ledger.store.connections import UNREACHABLE, Pool
from web.http.json import answer
from web.http.request import RUNTIME
from web.http.response import Reply
from web.metrics import CONTENT_TYPE, Counts, Metrics

METRICS = web.AppKey("METRICS", Metrics)
DRAINING = web.AppKey("DRAINING", asyncio.Event)
HEALTH: web.AppKey[DataLoader[None, Health]] = web.AppKey("HEALTH", DataLoader)

OK, STOPPED = "ok", "stopped"


async def get_liveness(request: web.Request) -> Reply:  # noqa: ARG001 - the shape all handlers share
    """GET /livez: the worker's event loop runs. A supervisor may kill a worker that does not answer for long."""
    return answer({"status": "alive"})


async def get_readiness(request: web.Request) -> Reply:
    """GET /readyz. 503 `not_ready` while a worker should get no requests; `detail` has the result of each check.

    Without Redis a worker stays ready: it reads revocations from PostgreSQL and counts logins by itself. It also stays
    ready if sealing has stopped, until the seals lag.
    """
    checks = await _run_checks(request.app)
    if any(found not in {OK, STOPPED} for name, found in checks.items() if name != "redis"):
        raise Refused(errors.not_ready(checks))
    return answer({"status": "ready", "checks": checks})


async def get_metrics(request: web.Request) -> Reply:
    """GET /metrics: the metrics of all workers, in Prometheus' text format."""
    metrics, runtime = request.app[METRICS], request.app[RUNTIME]
    metrics.sample(runtime)
    found = await _read_health(request.app)
    counts = None if found is None else await _read_counts(runtime.pool)
    body = await asyncio.to_thread(metrics.render, found, counts)
    return Reply(body=body, headers={"Content-Type": CONTENT_TYPE})


async def _read_counts(pool: Pool) -> Counts:
    return Counts(
        await holds.count_holds(pool), await schedules.count(pool), await read_ended(pool), await read_states(pool)
    )


async def _run_checks(app: web.Application) -> dict[str, str]:
    runtime = app[RUNTIME]
    found = await _read_health(app)
    checks = {
        "worker": "draining" if app[DRAINING].is_set() else OK,
        "postgresql": "unreachable" if found is None else OK,
        "writes": _check_writes(runtime),
        "redis": OK if await runtime.revocation_cache.is_answering() else "degraded",
    }
    if found is not None:
        checks["migrations"] = OK if found.is_migrated else "behind"
        (seals,) = (follower for follower in found.followers if follower.name == "seals")
        checks["seals"] = _check_lag(runtime.settings, seals)
    return checks


def _check_writes(runtime: Runtime) -> str:
    """Return whether writes succeed: the committer writes every second, if only a heartbeat."""
    committer, bound = runtime.committer, runtime.settings.ledger_ready_write_seconds
    if committer.health.reason is not None:
        return str(committer.health.reason)
    age = max(committer.oldest_seconds(), committer.health.seconds_since_success())
    return "stuck" if 0 < bound < age else OK


def _check_lag(settings: Settings, follower: FollowerStatus) -> str:
    """Return whether a follower has stopped or lags too far behind; never for seals without a key."""
    bound = settings.ledger_ready_lag_seconds
    if settings.ledger_seal_key_file is None:
        return OK
    if 0 < bound < follower.lag_seconds:
        return "lagging"
    return STOPPED if follower.state == STOPPED else OK


async def _read_health(app: web.Application) -> Health | None:
    """Return the state of the database; None if it is unreachable."""
    try:
        return await app[HEALTH].get(None)
    except UNREACHABLE:
        return None
