"""Probes: a running worker is alive, and is ready only while it can serve requests."""

import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.outages import reserved_port, without_postgresql
from tests.support.processes import is_alive, until
from tests.support.sealed import write_key_file
from tests.support.serving import serving

Serve = Callable[[Settings], Awaitable[Api]]


async def checks(api: Api) -> dict[str, str]:
    """Return the failed checks; Redis alone never makes a worker unready."""
    answer = await api.nobody.get("/v1/readyz")
    if answer.status == 200:
        return {}
    assert (503, ["not_ready"], "1") == (answer.status, answer.codes, answer.headers["Retry-After"])
    assert 200 == (await api.nobody.get("/v1/livez")).status
    found = answer.body["errors"][0]["detail"].items()
    return {name: state for name, state in found if state != "ok" and name != "redis"}


async def test_a_healthy_worker_is_alive_and_ready(api: Api) -> None:
    async def everything_is_fine() -> bool:
        answer = await api.nobody.get("/v1/readyz")
        assert (200, "ready") == (answer.status, answer.body["status"])
        assert {"worker", "postgresql", "writes", "migrations", "redis", "seals"} == set(answer.body["checks"])
        return {"ok"} == set(answer.body["checks"].values())

    await until(everything_is_fine)
    assert {"status": "alive"} == (await api.nobody.get("/v1/livez")).body


async def test_without_redis_a_worker_is_ready_and_reports_it(serve: Serve, settings: Settings) -> None:
    """Lesson 25."""
    with reserved_port(listening=False) as port:
        api = await serve(settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")}))

        async def is_degraded() -> bool:
            answer = await api.nobody.get("/v1/readyz")
            assert 200 == answer.status
            return bool(answer.body["checks"]["redis"] == "degraded")

        await until(is_degraded)


async def test_without_postgresql_a_worker_is_alive_but_not_ready(api: Api, settings: Settings) -> None:
    async with without_postgresql(settings):
        assert "unreachable" == (await checks(api))["postgresql"]
    await until(lambda: is_ready(api))


async def is_ready(api: Api) -> bool:
    return not await checks(api)


async def test_an_older_schema_makes_a_worker_unready_and_a_newer_one_does_not(api: Api, connection: Any) -> None:
    """A rolling update migrates the schema before it replaces instances."""
    await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert {"migrations": "behind"} == await checks(api)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert {} == await checks(api)


@pytest.mark.parametrize(("bound", "found"), [(0.001, {"seals": "lagging"}), (3600, {}), (0, {})])
async def test_a_lagging_follower_makes_a_worker_unready(
    bound: float, found: dict[str, str], serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    """Sealing is off, and a bound of 0 disables the check."""
    given = {"ledger_seal_key_file": write_key_file(tmp_path / "key.pem"), "ledger_ready_lag_seconds": bound}
    api = await serve(settings.model_copy(update=given))
    assert found == await checks(api)


async def test_a_draining_worker_still_serves_but_is_not_ready(settings: Settings, tmp_path: Path) -> None:
    with serving(tmp_path, settings, variables={"LEDGER_DRAIN_SECONDS": "300"}) as running:
        async with aiohttp.ClientSession(await running.url()) as session:
            assert 200 == (await get(session, "/v1/readyz"))[0]
            running.send(signal.SIGTERM)
            await until(lambda: running.logged("draining"))
            status, body = await get(session, "/v1/readyz")
            assert (503, "draining") == (status, body["errors"][0]["detail"]["worker"])
            assert 200 == (await get(session, "/v1/health"))[0]
        workers = running.workers()
    assert len(workers) == 1
    await until(lambda: not any(map(is_alive, workers)))  # orphaned workers end their drain


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as response:
        return response.status, json.loads(await response.text())
