"""How operations that a request started have ended is in the log, in the metrics, and beside the projection."""

from typing import Any

import pytest

from ledger.settings import Settings
from ledger.store.connections import Connection
from ledger.values.derived import derived_id
from ledger.values.ids import new_id
from tests.support.controls import Api, Serve
from tests.support.operation_events import read_commands, recorded, waiting
from tests.support.processes import run_ledger, until

FIRST_ADMIN = derived_id("user", "first-admin")
PATH = "/v1/projections/accounts"


async def ends(api: Api, topic: str, number: int) -> list[dict[str, Any]]:
    """Wait until the log has so many events of a topic, and return what they say, oldest first."""

    async def read() -> list[dict[str, Any]] | None:
        found = (await api.get(f"/v1/events?topic={topic}")).body
        return found if len(found) >= number else None

    found = await until(read)
    return [{**one["state"], "position": one["position"], "command_id": one["command_id"]} for one in found]


async def start(api: Api, path: str, body: dict[str, Any] | None = None) -> None:
    async def begin() -> bool:
        answer = await api.post(path, body)
        assert answer.status in {202, 409}, answer
        return answer.status == 202

    await until(begin)  # the one before gives its lease back after its end is recorded


async def measure(api: Api, name: str) -> list[float]:
    """Return the values of a metric."""
    lines = (await api.get("/metrics")).body.splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]


async def test_the_end_of_a_rebuild_is_recorded_with_who_started_it(api: Api, connection: Connection) -> None:
    account = await api.new_account(balance_cents=70)
    await connection.execute("UPDATE accounts SET balance_cents = 71 WHERE id = $1", account["id"])
    await start(api, f"{PATH}/rebuild")
    (compared,) = await ends(api, "RebuildEnded", 1)
    assert ("accounts", "compared", 1) == tuple(compared[name] for name in ("projection", "outcome", "differing"))
    assert [1] == await measure(api, "ledger_rebuild_differing_rows")

    await start(api, f"{PATH}/rebuild/swap")
    _, swapped = await ends(api, "RebuildEnded", 2)
    assert ("swapped", 1) == (swapped["outcome"], swapped["differing"])
    known = (await api.get(PATH)).body["last_rebuild"]
    assert (swapped["operation_id"], "swapped", 1) == (known["id"], known["outcome"], known["differing"])
    assert "last_rebuild" not in (await api.get("/v1/projections/users")).body
    assert "last_rebuild" not in (await api.get("/v1/projections/seals")).body
    assert [0] == await measure(api, "ledger_rebuild_failed")
    assert 2 * [("RecordRebuild", FIRST_ADMIN, None)] == await read_commands(connection)
    sent = (await api.get(f"/v1/audit/actors/{FIRST_ADMIN}")).body
    assert 2 == [one["name"] for one in sent].count("RecordRebuild")
    assert [] == await waiting(connection)


async def test_what_was_compared_and_then_discarded_is_recorded(api: Api) -> None:
    await start(api, f"{PATH}/rebuild")
    await ends(api, "RebuildEnded", 1)
    await start(api, f"{PATH}/rebuild/cancel")
    assert ["compared", "cancelled"] == [one["outcome"] for one in await ends(api, "RebuildEnded", 2)]


async def test_a_verification_is_recorded_with_its_findings(api: Api, connection: Connection) -> None:
    account = await api.new_account(balance_cents=70)
    await connection.execute("UPDATE accounts SET balance_cents = 71 WHERE id = $1", account["id"])
    await start(api, "/v1/audit/verify", {"fast": True})
    (fast,) = await ends(api, "VerificationEnded", 1)
    assert ("fast", "succeeded") == (fast["extent"], fast["outcome"])
    assert fast["findings"] > 0
    await connection.execute("UPDATE accounts SET balance_cents = 70 WHERE id = $1", account["id"])
    await start(api, "/v1/audit/verify")
    _, whole = await ends(api, "VerificationEnded", 2)
    assert ("whole", 0) == (whole["extent"], whole["findings"])
    assert [0, fast["findings"]] == await measure(api, "ledger_verification_findings")
    assert [0, 0] == await measure(api, "ledger_verification_failed")
    assert 2 == len(await measure(api, "ledger_verification_ended_timestamp_seconds"))
    assert [0] == await measure(api, "ledger_outbox_events") == await measure(api, "ledger_outbox_oldest_seconds")


async def test_a_cancelled_verification_is_recorded(api: Api, connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        await start(api, "/v1/audit/verify")
        assert 202 == (await api.post("/v1/audit/verify/cancel")).status
        (cancelled,) = await ends(api, "VerificationEnded", 1)
    assert ("cancelled", None) == (cancelled["outcome"], cancelled.get("findings"))


async def test_the_metrics_survive_a_restart_and_verification_explains_the_records(
    serve: Serve, settings: Settings, connection: Connection
) -> None:
    first = await serve(settings)
    await first.new_account(balance_cents=70)
    ran = await run_ledger("audit", "verify", variables=settings.environment())
    assert 0 == ran.status, ran.error
    await ends(first, "VerificationEnded", 1)
    ran = await run_ledger("projections", "rebuild", "users", variables=settings.environment())
    assert 0 == ran.status, ran.error
    await ends(first, "RebuildEnded", 1)
    await first.client.close()
    other = await serve(settings)
    assert [0] == await measure(other, "ledger_verification_findings")
    assert 1 == len(await measure(other, "ledger_rebuild_ended_timestamp_seconds"))
    ran = await run_ledger("audit", "verify", variables=settings.environment())
    assert (0, True) == (ran.status, "the books are right" in ran.error)
    assert [("RecordVerification", None, "ledger-audit-verify"), ("RecordRebuild", None, "ledger-projections")] == (
        await read_commands(connection)
    )[:2]


@pytest.mark.parametrize("role", ["customer", "guest"])
async def test_those_who_do_not_read_the_log_do_not_read_the_records(api: Api, role: str) -> None:
    await start(api, "/v1/audit/verify", {"fast": True})
    await ends(api, "VerificationEnded", 1)
    caller = await api.as_new_user(role)
    assert 403 == (await caller.get("/v1/events?topic=VerificationEnded")).status


async def test_an_auditor_with_a_role_that_may_only_read_verifies_without_a_record(
    settings: Settings, api: Api, connection: Connection
) -> None:
    await api.new_account(balance_cents=70)
    role = f"auditor_{new_id().hex}"
    await connection.execute(
        f"""CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA ledger TO {role};
            GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO {role}"""
    )
    try:
        url = settings.database_dsn().replace("//ledger@", f"//{role}@")
        variables = {**settings.environment(), "DATABASE_URL": url}
        for options in ([], ["--fast"]):
            ran = await run_ledger("audit", "verify", *options, variables=variables)
            assert 0 == ran.status, ran.error
            assert "the books are right" in ran.error
            assert "this verification is not recorded in the log: permission denied for table outbox" in ran.error
        await connection.execute("UPDATE accounts SET balance_cents = balance_cents + 1")
        assert 1 == (await run_ledger("audit", "verify", "--fast", variables=variables)).status
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert [] == await recorded(connection)
