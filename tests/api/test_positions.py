"""Every write returns its position in the log, and a read can require at least that position."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
from pydantic import SecretStr

from ledger.embedded import Services, embedded_services
from ledger.embedded.binaries import find_programs
from ledger.embedded.folder import DataFolder
from ledger.errors import DatabaseError
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store.migrate import migrate
from tests.conftest import settings_for
from tests.support.controls import PASSWORD, Api, Response, user_body
from tests.support.outages import reserved_port
from tests.support.processes import DEADLINE_SECONDS, until
from tests.support.proxy import Proxy
from web.http.request import RUNTIME

Connection: TypeAlias = "asyncpg.Connection[Any]"
Serve = Callable[[Settings], Awaitable[Api]]


def position_of(answer: Response) -> int:
    assert answer.status < 300, answer
    return int(answer.headers["Ledger-Position"])


async def head(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT max(notification_id) FROM stored_events"))


async def test_every_write_returns_the_position_of_its_last_event(api: Api, connection: Connection) -> None:
    owner, other = await api.new_user(), await api.new_user()
    sink = await api.new_account(other["id"])

    async def told(answer: Response) -> Response:
        assert await head(connection) == position_of(answer), answer
        return answer

    await told(await api.post("/v1/users", user_body()))
    opened = await told(await api.post("/v1/accounts", {"user_id": owner["id"], "balance_cents": 10}))
    path = f"/v1/accounts/{opened.body['id']}"
    await told(await api.put(f"/v1/users/{owner['id']}", {**owner, "email": "new@example.com"}))
    await told(await api.put(path, {"balance_cents": 9}))
    await told(await api.transfer(opened.body, sink, 9))
    await told(await api.delete(path))
    login = {"username": owner["username"], "password": PASSWORD}
    pair = (await told(await api.nobody.post("/v1/auth/login", login))).body
    refresh = {"Authorization": f"Bearer {pair['refresh_token']}"}
    pair = (await told(await api.nobody.post("/v1/auth/refresh", headers=refresh))).body
    refresh = {"Authorization": f"Bearer {pair['refresh_token']}"}
    await told(await api.nobody.post("/v1/auth/logout", headers=refresh))
    await told(await api.post("/v1/auth/revoke-user", {"user_id": other["id"]}))
    await told(await api.delete(f"/v1/users/{owner['id']}"))


async def test_commands_of_one_group_return_their_own_positions(api: Api, connection: Connection) -> None:
    source, sink = await api.new_account(balance_cents=100), await api.new_account()

    answers = await asyncio.gather(*(api.transfer(source, sink, 1) for _ in range(20)))

    rows = await connection.fetch("SELECT transfer_id, max(position) AS last FROM entries GROUP BY transfer_id")
    last = {str(row["transfer_id"]): row["last"] for row in rows}
    assert [last[answer.body["id"]] for answer in answers] == [position_of(answer) for answer in answers]


async def test_a_replay_returns_the_position_of_the_first_response(api: Api) -> None:
    source, sink = await api.new_account(balance_cents=100), await api.new_account()
    keys = [{"Idempotency-Key": f"key-{number}"} for number in range(8)]
    first = await asyncio.gather(*(api.transfer(source, sink, 1, headers=key) for key in keys))
    await api.new_user()

    again = [await api.transfer(source, sink, 1, headers=key) for key in keys]

    assert {"true"} == {answer.headers["Idempotent-Replayed"] for answer in again}
    assert [position_of(answer) for answer in first] == [position_of(answer) for answer in again]


async def test_a_write_without_changes_returns_the_position_it_read(api: Api, connection: Connection) -> None:
    account = await api.new_account()
    before = await head(connection)

    unchanged = await api.put(f"/v1/accounts/{account['id']}", {"balance_cents": 0})

    assert before == await head(connection) == position_of(unchanged)


async def test_a_refusal_has_no_position(api: Api) -> None:
    account = await api.new_account()

    for refused in (await api.transfer(account, account, 1), await api.post("/v1/users", {})):
        assert 422 == refused.status
        assert "Ledger-Position" not in refused.headers


async def test_a_read_of_a_reached_position_returns_immediately(api: Api) -> None:
    account = await api.new_account()
    position = position_of(await api.post("/v1/users", user_body()))

    for path in (f"/v1/accounts/{account['id']}", "/v1/accounts", "/v1/events", "/v1/ledger/trial-balance"):
        assert 200 == (await api.get(f"{path}?min_position={position}")).status


@pytest.fixture
async def impatient(serve: Serve, settings: Settings) -> Api:
    """Return a service that does not wait for positions."""
    return await serve(settings.model_copy(update={"ledger_position_wait_seconds": 0}))


async def test_waiting_for_a_future_position_times_out(impatient: Api, connection: Connection) -> None:
    """Lessons 11 and 36."""
    beyond = await head(connection) + 1

    refused = await impatient.get(f"/v1/users?min_position={beyond}")

    assert (409, ["position_not_reached"]) == (refused.status, refused.codes)
    assert {"position": str(beyond - 1)} == refused.body["errors"][0]["detail"]


async def test_a_read_waits_until_its_position_is_reached(
    serve: Serve, settings: Settings, connection: Connection
) -> None:
    api = await serve(settings.model_copy(update={"ledger_position_wait_seconds": DEADLINE_SECONDS}))
    beyond = await head(connection) + 1
    waiting = asyncio.create_task(api.get(f"/v1/users?min_position={beyond}"))

    made = await api.post("/v1/users", user_body())

    assert made.body in (await waiting).body


@pytest.mark.parametrize("position", ["-1", "x", "1.0", "", str(2**63)])
async def test_an_invalid_position_is_refused(api: Api, position: str) -> None:
    refused = await api.get(f"/v1/users?min_position={position}")

    assert (422, ["query min_position"]) == (refused.status, refused.parameters)


async def test_a_replica_of_another_ledger_is_rejected(settings: Settings, elsewhere: Settings) -> None:
    other = elsewhere.database_url

    with pytest.raises(DatabaseError, match="another ledger"):
        async with open_runtime(settings.model_copy(update={"database_read_url": other})):
            pass


@pytest.fixture
async def replicated(tmp_path: Path) -> AsyncIterator[tuple[Settings, Connection]]:
    """Yield settings with a primary and a streaming replica, and a connection to the replica."""
    folders = [DataFolder(tmp_path / name) for name in ("primary", "replica")]
    async with embedded_services(folders[0].path) as primary:
        await migrate(settings_for(primary, "ledger"))
        await _copy(primary, folders[0].cluster, folders[1].cluster)
        async with embedded_services(folders[1].path) as replica:
            connection = await asyncpg.connect(replica.database_url)
            yield settings_for(primary, "ledger", database_read_url=replica.database_url), connection
            await connection.close()


async def _copy(primary: Services, cluster: Path, copy: Path) -> None:
    """Make a base backup that continues as a standby (PostgreSQL manual, 26.2.4), with the cluster's owner."""
    program = find_programs().postgres.with_name("pg_basebackup")
    process = await asyncio.create_subprocess_exec(
        *(program, "-D", copy, "-R", "--checkpoint=fast", "--wal-method=stream", "-d", primary.database_url),
        stdout=sys.stderr,
    )
    assert 0 == await process.wait()
    await asyncio.to_thread(_give, copy, cluster)


def _give(folder: Path, like: Path) -> None:
    owner = like.stat()
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)


async def _if_there(api: Api, path: str) -> Response | None:
    answer = await api.get(path)
    return answer if answer.status == 200 else None


async def is_paused(replica: Connection) -> bool:
    return bool(await replica.fetchval("SELECT pg_get_wal_replay_pause_state() = 'paused'"))


async def test_reads_use_a_replica_that_has_reached_the_requested_position(
    replicated: tuple[Settings, Connection], serve: Serve
) -> None:
    settings, replica = replicated
    api = await serve(settings.model_copy(update={"ledger_position_wait_seconds": 0.1}))
    account, sink = await api.new_account(balance_cents=10), await api.new_account()
    ready = position_of(await api.transfer(account, sink, 1))
    path = f"/v1/accounts/{account['id']}"
    assert 9 == (await until(lambda: _if_there(api, f"{path}?min_position={ready}"))).body["balance_cents"]
    await replica.execute("SELECT pg_wal_replay_pause()")  # takes effect later
    await until(lambda: is_paused(replica))

    position = position_of(await api.transfer(account, sink, 2))
    late, refused = await api.get(path), await api.get(f"{path}?min_position={position}")
    changed = await api.put(path, {"balance_cents": 5})  # a write reads the current state
    await replica.execute("SELECT pg_wal_replay_resume()")
    fresh = await until(lambda: _if_there(api, f"{path}?min_position={position_of(changed)}"))

    assert (9, 409, ["position_not_reached"]) == (late.body["balance_cents"], refused.status, refused.codes)
    assert [5, 5] == [changed.body["balance_cents"], fresh.body["balance_cents"]]


def runtime_of(api: Api) -> Runtime:
    app = api.client.app
    assert app is not None
    runtime: Runtime = app[RUNTIME]
    return runtime


async def test_while_a_replica_is_away_the_primary_answers(
    replicated: tuple[Settings, Connection], serve: Serve
) -> None:
    settings, _ = replicated
    assert settings.database_read_url is not None
    replica = settings.database_read_url.get_secret_value()
    async with Proxy.to_database(settings.model_copy(update={"database_url": settings.database_read_url})) as proxy:
        behind = proxy.database_url(settings.model_copy(update={"database_url": settings.database_read_url}))
        urls = SecretStr(f"{behind},{replica}")
        assert [behind, replica] == settings.model_copy(update={"database_read_url": urls}).replica_dsns()
        api = await serve(settings.model_copy(update={"database_read_url": SecretStr(behind)}))
        account, sink = await api.new_account(balance_cents=10), await api.new_account()
        path = f"/v1/accounts/{account['id']}"
        replicas = runtime_of(api).replicas
        for fault in (proxy.black_hole, proxy.refuse, proxy.freeze):
            await until(lambda: replicas.count_reachable() == 1)
            position = position_of(await api.transfer(account, sink, 1))
            await until(lambda path=path, position=position: _if_there(api, f"{path}?min_position={position}"))
            fault()
            changed = position_of(await api.transfer(sink, account, 1))
            answers = [await api.get(f"{path}?min_position={changed}"), await api.get(path), await api.get("/v1/users")]
            proxy.heal()
            assert [200, 200, 200] == [answer.status for answer in answers]
            assert [10, 10] == [answer.body["balance_cents"] for answer in answers[:2]]


async def test_a_service_starts_without_its_replica(serve: Serve, settings: Settings) -> None:
    with reserved_port(listening=False) as port:
        dsn = f"postgresql://ledger@127.0.0.1:{port}/ledger"
        api = await serve(settings.model_copy(update={"database_read_url": SecretStr(dsn)}))
        assert 200 == (await api.get("/v1/users")).status
