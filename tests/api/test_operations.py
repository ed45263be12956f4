"""Rebuilds and verifications that a request starts: they go on without it, one at a time, and can be cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ledger.identity.valkey import open_client
from ledger.projections import INLINE
from ledger.service.operations import runner
from ledger.service.operations.owner import rebuilding_as_owner
from ledger.service.operations.state import Board, Operation
from ledger.settings import Settings
from ledger.store import locks, roles
from ledger.store.connections import Connection
from ledger.store.identity import read_identity
from ledger.values.ids import new_id
from tests.support.controls import Api, Serve
from tests.support.processes import until

Body = dict[str, Any]
PATH = "/v1/projections/accounts"


async def start(api: Api, path: str, body: Body | None = None) -> Body:
    answer = await api.post(path, body)
    assert 202 == answer.status, answer
    return dict(answer.body)


async def rebuilt(api: Api, state: str) -> Body:
    """Wait until the last rebuild of accounts has a state."""

    async def read() -> Body | None:
        found = (await api.get(PATH)).body.get("rebuild", {})
        assert found.get("state") in {"running", state}, found
        return dict(found) if found["state"] == state else None

    return dict(await until(read))


async def verified(api: Api, state: str = "succeeded") -> Body:
    """Wait until the last verification has a state."""

    async def read() -> Body | None:
        found = (await api.get("/v1/audit/verify")).body["last"]
        return dict(found) if found["state"] == state else None

    return dict(await until(read))


@asynccontextmanager
async def blocked(connection: Connection, table: str) -> AsyncIterator[None]:
    """Keep others from reading a table, so that what does so takes as long as the block."""
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def test_projections_and_followers_are_listed(api: Api) -> None:
    await api.new_account(balance_cents=5)
    found = {one["name"]: one for one in (await api.get("/v1/projections")).body}
    end = (await api.get("/v1/ledger/trial-balance")).body["position"]

    assert {*(one.name for one in INLINE), "mirror", "seals", "crossings", "deliveries"} == found.keys()
    assert ("projection", "inline", end, 0) == tuple(
        found["accounts"][name] for name in ("kind", "state", "position", "lag_events")
    )
    assert "follower" == found["seals"]["kind"]
    assert found["accounts"] == (await api.get(PATH)).body
    assert ["projection_not_found"] == (await api.get("/v1/projections/nothing")).codes


async def test_a_rebuild_that_only_compares_shows_the_differences_and_can_then_be_swapped(
    api: Api, connection: Connection
) -> None:
    account = await api.new_account(balance_cents=70)
    await connection.execute("UPDATE accounts SET balance_cents = 71 WHERE id = $1", account["id"])
    begun = await start(api, f"{PATH}/rebuild")
    assert ("running", False, "accounts") == (begun["state"], begun["swap"], begun["projection"])
    found = await rebuilt(api, "compared")

    assert (1, False) == (found["differing"], found["swapped"])
    (difference,) = found["differences"]
    assert ("accounts", [account["id"]]) == (difference["table"], difference["key"])
    assert (71, 70) == (difference["found"]["balance_cents"], difference["expected"]["balance_cents"])
    assert 71 == await api.balance(account)
    assert found["done"] == found["total"] > 0

    await api.transfer(account, await api.new_account(), 1)
    await start(api, f"{PATH}/rebuild/swap")
    swapped = await rebuilt(api, "succeeded")
    assert swapped["swapped"]
    assert 69 == await api.balance(account)
    assert ["rebuild_not_compared"] == (await api.post(f"{PATH}/rebuild/swap")).codes


async def test_a_rebuild_can_swap_at_once(api: Api, connection: Connection) -> None:
    account = await api.new_account(balance_cents=70)
    await connection.execute("UPDATE accounts SET balance_cents = 71 WHERE id = $1", account["id"])
    await start(api, f"{PATH}/rebuild", {"swap": True})

    assert 1 == (await rebuilt(api, "succeeded"))["differing"]
    assert 70 == await api.balance(account)


async def test_what_was_compared_can_be_discarded(api: Api) -> None:
    await start(api, f"{PATH}/rebuild")
    await rebuilt(api, "compared")
    assert "rebuilding" == (await api.get(PATH)).body["state"]
    refused = await start(api, "/v1/projections/users/rebuild")  # begins, and finds the other one unfinished
    assert "users" == refused["projection"]
    await until_failed(api, "accounts was interrupted")

    await start(api, f"{PATH}/rebuild/cancel")
    await rebuilt(api, "cancelled")
    assert "inline" == (await api.get(PATH)).body["state"]
    assert ["operation_not_running"] == (await api.post(f"{PATH}/rebuild/cancel")).codes


async def until_failed(api: Api, text: str) -> None:
    async def is_failed() -> bool:
        found = (await api.get("/v1/projections/users")).body["rebuild"]
        return bool("failed" == found["state"] and text in found["error"])

    await until(is_failed)


async def test_one_rebuild_runs_at_a_time_and_can_be_cancelled(
    api: Api, connection: Connection, settings: Settings
) -> None:
    await locks.lock_rebuilds(connection, settings.ledger_schema, wait_seconds=1)
    busy = await api.post(f"{PATH}/rebuild")
    assert (409, ["operation_running"]) == (busy.status, busy.codes)
    await connection.execute("SELECT pg_advisory_unlock_all()")

    async with blocked(connection, "captures"):
        await start(api, "/v1/projections/captures/rebuild")
        busy = await api.post(f"{PATH}/rebuild")
        assert (409, ["operation_running"]) == (busy.status, busy.codes)
        await start(api, "/v1/projections/captures/rebuild/cancel")

    async def is_cancelled() -> bool:
        found = (await api.get("/v1/projections/captures")).body
        return bool("cancelled" == found["rebuild"]["state"] and "inline" == found["state"])

    await until(is_cancelled)


async def test_a_role_that_does_not_own_the_tables_rebuilds_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def owns_nothing(_: object) -> bool:
        return False

    monkeypatch.setattr(roles, "owns_tables", owns_nothing)
    answer = await api.post(f"{PATH}/rebuild")

    assert (409, ["operation_impossible"]) == (answer.status, answer.codes)
    assert runner.NOT_THE_OWNER == answer.body["errors"][0]["reason"]


async def test_the_owner_rebuilds_for_a_role_that_does_not_own_the_tables(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def owns_nothing(_: object) -> bool:
        return False

    monkeypatch.setattr(roles, "owns_tables", owns_nothing)
    async with rebuilding_as_owner(settings.model_copy(update={"ledger_owner_database_url": settings.database_url})):

        async def begin() -> bool:
            return 202 == (await api.post(f"{PATH}/rebuild")).status

        await until(begin)  # as soon as the owner's process has announced itself
        await rebuilt(api, "compared")
        await start(api, f"{PATH}/rebuild/cancel")
        await rebuilt(api, "cancelled")


async def test_requests_that_are_not_signed_or_old_are_dropped(settings: Settings, connection: Connection) -> None:
    now = datetime.now(UTC)
    operation = Operation(
        id=new_id(), kind="rebuild", subject="users", started_by=new_id(), started_at=now, updated_at=now
    )
    async with aclosing(open_client(settings)) as redis:
        identity = await read_identity(connection)
        board, forger = Board(redis, identity), Board(redis, identity._replace(cache_key=b"another"))
        await forger.request(operation)
        assert await board.take_request() is None
        await board.request(msgspec.structs.replace(operation, started_at=now - timedelta(minutes=5)))
        assert await board.take_request() is None
        await board.request(operation)
        assert operation == await board.take_request()
        assert await board.take_request() is None


async def test_what_somebody_else_has_planted_is_no_operation(settings: Settings, connection: Connection) -> None:
    """Neither a state that is not signed, nor one of another operation, nor a request in place of a state."""
    now = datetime.now(UTC)
    members: dict[str, Any] = {"id": new_id(), "started_by": new_id(), "started_at": now, "updated_at": now}
    done = Operation(kind="verification", state="succeeded", **members)
    async with aclosing(open_client(settings)) as redis:
        identity = await read_identity(connection)
        board, forger = Board(redis, identity), Board(redis, identity._replace(cache_key=b"another"))
        assert await board.begin(done)
        assert done == await board.read("verification")
        (kept,) = [key async for key in redis.scan_iter("*verification:state:*") if str(identity.ledger_id) in str(key)]
        sealed: Any = await redis.get(kept)
        await redis.set(kept.replace(b"verification", b"rebuild"), sealed)
        assert await board.read("rebuild") is None
        await board.request(done)
        requested: Any = await redis.lpop(f"ledger-operations:{identity.ledger_id}:requests")
        await redis.set(kept, requested)
        assert await board.read("verification") is None
        await board.end(done)
        assert await forger.begin(done)
        assert await board.read("verification") is None


async def test_a_lease_that_has_run_out_is_taken_again_unless_another_operation_has_it(
    settings: Settings, connection: Connection
) -> None:
    now = datetime.now(UTC)
    first, second = [
        Operation(id=new_id(), kind="rebuild", started_by=new_id(), started_at=now, updated_at=now) for _ in range(2)
    ]
    async with aclosing(open_client(settings)) as redis:
        identity = await read_identity(connection)
        board = Board(redis, identity)
        assert [True, False] == [await board.begin(first), await board.begin(second)]
        await redis.delete(*[key async for key in redis.scan_iter(f"*{identity.ledger_id}:rebuild:lease")])
        assert await board.write(first)
        await board.end(first)
        assert await board.begin(second)
        assert not await board.write(first)


async def test_a_verification_finds_nothing_in_a_sound_ledger(api: Api) -> None:
    assert {"last": None} == (await api.get("/v1/audit/verify")).body
    await api.new_account(balance_cents=70)
    begun = await start(api, "/v1/audit/verify")
    assert "running" == begun["state"]
    found = await verified(api)

    assert (0, [], {}) == (found["found"], found["findings"], found["omitted"])
    assert found["total"] > 0


async def test_findings_are_shown_up_to_a_bound(api: Api, connection: Connection) -> None:
    for _ in range(3):
        await api.new_account(balance_cents=70)
    await connection.execute("UPDATE accounts SET balance_cents = balance_cents + 1, status = 'odd'")
    await start(api, "/v1/audit/verify", {"fast": True})
    found = await verified(api)

    assert found["found"] > 5
    assert {"accounts"} <= {one.get("table") for one in found["findings"]}
    assert found["found"] == len(found["findings"]) + sum(found["omitted"].values())


async def test_one_verification_runs_at_a_time_and_can_be_cancelled(api: Api, connection: Connection) -> None:
    auditor = await api.as_new_user("auditor")
    async with blocked(connection, "accounts"):
        await start(auditor, "/v1/audit/verify")
        busy = await auditor.post("/v1/audit/verify")
        assert (409, ["operation_running"]) == (busy.status, busy.codes)
        await start(auditor, "/v1/audit/verify/cancel")
        await verified(auditor, "cancelled")
    assert ["operation_not_running"] == (await auditor.post("/v1/audit/verify/cancel")).codes
    await start(auditor, "/v1/audit/verify", {"fast": True})
    assert 0 == (await verified(auditor))["found"]


async def test_an_operation_ends_with_its_worker(serve: Serve, settings: Settings, connection: Connection) -> None:
    first = await serve(settings)
    async with blocked(connection, "accounts"):
        await start(first, "/v1/audit/verify")
        await first.client.close()
    other = await serve(settings)

    async def is_interrupted() -> bool:
        return bool("interrupted" == (await other.get("/v1/audit/verify")).body["last"]["state"])

    await until(is_interrupted)
    await asyncio.sleep(0)
    await start(other, "/v1/audit/verify", {"fast": True})
    assert "succeeded" == (await verified(other))["state"]
