"""What a ledger does on Citus beside transfers: imports, time travel, rebuilds, revocation, later migrations."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ledger.projections.rebuild.rebuild import NOTHING_KEPT
from ledger.settings import Settings
from ledger.store.distribution import undistribute
from ledger.store.pool import NO_REPLICAS, connect, connect_to_url
from ledger.store.session import Node, Opening, Session, open_session
from tests.support.citus import Cluster
from tests.support.controls import ADMIN_PASSWORD, Api, Serve, new_id, transfer_body
from tests.support.processes import run_ledger

LINES = 10_000
APPEND = """INSERT INTO stored_events (originator_id, originator_version, topic, state)
            VALUES ($1, 1, 'NameClaimed', '{}')"""


async def command(settings: Settings, *arguments: str, **variables: str) -> tuple[int, str]:
    ran = await run_ledger(*arguments, variables={**settings.environment(), **variables})
    return ran.status, ran.output + ran.error


async def test_an_import_can_be_read_as_it_was_and_rebuilt(api: Api, settings: Settings, tmp_path: Path) -> None:
    source, destination = await api.new_account(balance_cents=LINES), await api.new_account()
    file = tmp_path / "lines.jsonl"
    file.write_text((json.dumps(transfer_body(source, destination, 1)) + "\n") * LINES)
    url = str(api.client.make_url("")).rstrip("/")

    options = ("--run", "lines", "--url", url, "--json")
    ran = await run_ledger("import", str(file), *options, variables={"LEDGER_PASSWORD": ADMIN_PASSWORD})
    now = datetime.now(UTC).isoformat()
    await api.transfer(destination, source, LINES // 2)

    assert (0, LINES) == (ran.status, ran.document["made"]), ran
    path = f"/v1/accounts/{destination['id']}"
    entries = (await api.get(f"{path}/entries?limit=1")).body
    states = [
        (await api.get(f"{path}?{point}")).body["balance_cents"]
        for point in ("at_version=101", f"at_position={entries[0]['position'] - 1}")
    ]
    assert [100, LINES] == states
    assert LINES == (await api.get(path, params={"at_time": now})).body["balance_cents"]
    assert (await api.get("/v1/ledger/trial-balance", params={"at_time": now})).body["balanced"]

    connection = await connect(settings)
    await connection.execute("UPDATE accounts SET balance_cents = 7 WHERE id = $1", destination["id"])
    status, said = await command(settings, "projections", "rebuild", "--all")
    assert (0, True) == (status, "1 row differs" in said), said
    assert LINES // 2 == await api.balance(destination)
    assert (0, True) == ((await command(settings, "audit", "verify"))[0], await is_guarded(connection))
    await connection.close()


async def is_guarded(connection: Any) -> bool:
    """Return whether the tables of a rebuild have the triggers of those before."""
    names = await connection.fetch("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'tell%' AND NOT tgisinternal")
    return len(names) >= 2


async def test_a_revocation_is_known_to_all_instances(serve: Serve, settings: Settings) -> None:
    one, other = await serve(settings), await serve(settings)
    user = await one.as_new_user("customer")
    same_user = Api(other.client, user.token)
    assert 200 == (await same_user.get("/v1/accounts")).status

    assert 200 == (await one.post("/v1/auth/revoke-all")).status

    assert 401 == (await same_user.get("/v1/accounts")).status


async def test_a_session_goes_directly_to_the_node_that_its_ledger_has_moved_to(
    settings: Settings, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    async def open_and_note(opening: Opening, node: Node | None = None) -> Session:
        opened.append(node)
        return await open_session(opening, node)

    idle, node = await connect(settings), await cluster.other_node(settings)
    await cluster.move(settings, node)
    with pytest.raises(asyncpg.CannotConnectNowError, match="has moved to another node"):
        await idle.fetch("SELECT FROM accounts")
    await idle.close()

    monkeypatch.setattr("ledger.store.citus.open_session", open_and_note)
    await (await connect(settings)).close()

    assert [node] == opened


async def test_the_coordinator_refuses_to_append_because_its_positions_are_others(settings: Settings) -> None:
    coordinator = await connect_to_url(settings)
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="connect to the node of the ledger"):
        await coordinator.execute(APPEND, new_id())
    await coordinator.close()
    here = await connect(settings)
    assert "INSERT 0 1" == await here.execute(APPEND, new_id())
    await here.close()


async def test_an_interrupted_migration_is_completed_and_keeps_the_positions(settings: Settings, api: Api) -> None:
    source, destination = await api.new_account(balance_cents=10), await api.new_account()
    connection = await connect(settings)
    end = await connection.fetchval("SELECT max(notification_id) FROM stored_events")
    await connection.close()
    await undistribute(settings)  # and then the migration was killed

    assert 0 == (await command(settings, "migrate"))[0]

    assert 200 == (await api.transfer(source, destination, 1)).status
    connection = await connect(settings)
    added = "SELECT notification_id FROM stored_events WHERE notification_id > $1 ORDER BY 1"
    assert [end + 1, end + 2, end + 3] == [row[0] for row in await connection.fetch(added, end)]
    await connection.close()
    coordinator = await connect_to_url(settings)
    left = "SELECT pg_relation_size($1::text::regclass)"
    assert 0 == await coordinator.fetchval(left, f"{settings.ledger_schema}.stored_events")
    await coordinator.close()


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("projections", "rebuild", "--all", "--keep-old"), {}, NOTHING_KEPT),
        (("projections", "rollback", "accounts"), {}, NOTHING_KEPT),
        (("projections", "status"), {"DATABASE_READ_URL": "postgresql://replica/ledger"}, NO_REPLICAS),
    ],
)
async def test_what_does_not_work_says_so_in_one_line(
    settings: Settings, arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    assert (1, f"ledger: {said}\n") == await command(settings, *arguments, **variables)
