"""A password alone does not log in where a second factor is, and a code is of no use to somebody who saw it."""

import asyncio
import base64
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.testing import capture_logs

from ledger.commands.command import FactorSecret
from ledger.events.second_factors import second_factor_stream
from ledger.identity.second_factors import RECOVERY_CODES, digest_of
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api, Clock, Serve, new_id
from tests.support.processes import run_ledger
from tests.support.second_factors import CONFIRM, ENROL, REMOVE, Device, enrol, log_in_with
from tests.support.token_api import Connection, claims_of, event_positions, is_accepted, log_in, refresh_pair

REQUIRED, WRONG_OTP = ["authentication_otp_required"], ["authentication_wrong_otp"]
WRONG = ["authentication_wrong_credentials"]
REQUIRES_OF_ADMINS = {"ledger_require_second_factor": "admin"}


async def enrolled(api: Api, clock: Clock, roles: str = "customer") -> tuple[Api, dict[str, Any], Device]:
    """Return a caller with a second factor, the user, and the device."""
    user = await api.new_user(roles=roles)
    caller = replace(await api.logged_in(user["username"]), user_id=user["id"])
    return caller, user, await enrol(caller, clock)


async def test_a_thief_with_the_password_does_not_get_in(api: Api, code_clock: Clock) -> None:
    _, user, device = await enrolled(api, code_clock)
    name = user["username"]

    right, wrong = await log_in_with(api, name), await log_in_with(api, name, password="not the password")
    guessed = await log_in_with(api, name, device.code(5))
    both_wrong = await log_in_with(api, name, device.next_code(), password="not the password")
    let_in = await log_in_with(api, name, device.code())

    assert [(401, REQUIRED), (401, WRONG), (401, WRONG_OTP), (401, WRONG), 200] == [
        *((one.status, one.codes) for one in (right, wrong, guessed, both_wrong)),
        let_in.status,
    ]
    assert await is_accepted(api, let_in.body)
    assert await is_accepted(api, await refresh_pair(api, let_in.body))


async def test_only_a_wrong_code_after_the_right_password_is_logged_as_such(api: Api, code_clock: Clock) -> None:
    """Somebody has the password then, and a user who mistypes a password is no news."""
    _, user, device = await enrolled(api, code_clock)
    name, used = user["username"], device.next_code()
    with capture_logs() as lines:
        await log_in_with(api, name)
        await log_in_with(api, name, device.code(5), password="not the password")
        assert 200 == (await log_in_with(api, name, used)).status
        assert [] == [line for line in lines if "one-time code" in line["event"]]
        for code in (device.code(5), used):
            assert WRONG_OTP == (await log_in_with(api, name, code)).codes
    found = [line for line in lines if "one-time code" in line["event"]]
    assert 2 * [("warning", user["id"])] == [(line["log_level"], line["user_id"]) for line in found]
    assert all(line["address"] and line["request_id"] for line in found)
    assert used not in str(lines)
    metrics = (await api.get("/metrics")).body
    assert 'ledger_refusals_total{code="authentication_wrong_otp"} 2.0' in metrics


async def test_a_code_works_once_whichever_instance_it_is_sent_to(
    serve: Serve, settings: Settings, code_clock: Clock
) -> None:
    api, other = await serve(settings), await serve(settings, logs_in=False)
    _, user, device = await enrolled(api, code_clock)
    code = device.next_code()

    raced = await asyncio.gather(*(log_in_with(each, user["username"], code) for each in (api, other) * 3))

    assert [200, *[401] * 5] == sorted(answer.status for answer in raced)
    assert [WRONG_OTP] * 5 == [answer.codes for answer in raced if answer.status == 401]
    earlier = await log_in_with(other, user["username"], device.code(-1))  # within its window, but older
    later = await log_in_with(other, user["username"], device.code(1))
    assert (401, 200) == (earlier.status, later.status)


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401), (2880, 401)])
async def test_a_code_lives_shortly(api: Api, code_clock: Clock, steps: int, status: int) -> None:
    _, user, device = await enrolled(api, code_clock)
    code_clock.now += 3600

    assert status == (await log_in_with(api, user["username"], device.code(steps))).status


async def test_each_recovery_code_works_once(api: Api, code_clock: Clock) -> None:
    caller, user, device = await enrolled(api, code_clock)
    assert RECOVERY_CODES == len(set(device.recovery_codes))

    spelled = [device.recovery_codes[0].lower(), device.recovery_codes[1].replace("-", " ")]
    statuses = [
        (await log_in_with(api, user["username"], one)).status for one in (*spelled, *device.recovery_codes[:3])
    ]

    assert [200, 200, 401, 401, 200] == statuses
    status = await caller.get(f"/v1/users/{user['id']}/totp")
    assert {"enabled": True, "recovery_codes_left": RECOVERY_CODES - 3} == status.body


async def test_guessing_codes_is_throttled_like_guessing_passwords(
    serve: Serve, settings: Settings, code_clock: Clock
) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_account": 3}))
    _, user, device = await enrolled(api, code_clock)
    name, wrong = user["username"], device.code(40)

    asked = [(await log_in_with(api, name)).status for _ in range(5)]  # the password is right: no failure
    guessed = [(await log_in_with(api, name, wrong)).status for _ in range(4)]

    assert [401] * 5 == asked
    assert [401, 401, 401, 429] == guessed


@pytest.mark.parametrize("path", [CONFIRM, REMOVE])
async def test_guessing_with_a_stolen_token_is_throttled_as_well(
    serve: Serve, settings: Settings, code_clock: Clock, path: str
) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_account": 3}))
    caller, _, device = await enrolled(api, code_clock)
    body = {"otp": device.code(40)} | ({"current_password": PASSWORD} if path == REMOVE else {})

    answers = [await caller.post(path, body) for _ in range(4)]

    assert [422, 422, 422, 429] == [answer.status for answer in answers]
    assert ["/otp"] == answers[0].pointers


async def test_a_thief_with_a_token_can_neither_enrol_nor_remove_a_factor(api: Api, code_clock: Clock) -> None:
    caller, user, device = await enrolled(api, code_clock)
    eve = await api.new_user()
    as_eve = await api.logged_in(eve["username"])

    refused = [
        await as_eve.post(ENROL, {"current_password": "not the password"}),
        await as_eve.post(CONFIRM, {"otp": device.next_code()}),
        await as_eve.delete(f"/v1/users/{user['id']}/totp"),
        await as_eve.get(f"/v1/users/{user['id']}/totp"),
        await caller.post(REMOVE, {"current_password": "not the password", "otp": device.code()}),
        await caller.post(ENROL, {"current_password": PASSWORD}),
    ]

    assert [422, 422, 403, 404, 422, 409] == [answer.status for answer in refused]
    assert 401 == (await log_in_with(api, user["username"])).status
    assert 200 == (await log_in_with(api, eve["username"])).status


async def test_an_offer_changes_nothing_until_it_is_confirmed(api: Api, code_clock: Clock) -> None:
    user = await api.new_user()
    caller = await api.logged_in(user["username"])
    first, second = [(await caller.post(ENROL, {"current_password": PASSWORD})).body["secret"] for _ in range(2)]

    assert 200 == (await log_in_with(api, user["username"])).status
    assert 422 == (await caller.post(CONFIRM, {"otp": Device(first, code_clock).code()})).status
    assert 200 == (await caller.post(CONFIRM, {"otp": Device(second, code_clock).code()})).status
    assert 401 == (await log_in_with(api, user["username"])).status


async def test_nothing_has_the_secret_in_clear(
    serve: Serve, settings: Settings, connection: Connection, code_clock: Clock
) -> None:
    with structlog.testing.capture_logs() as logs:
        api = await serve(settings)
        _, user, device = await enrolled(api, code_clock)
        await log_in_with(api, user["username"], device.next_code())
        await log_in_with(api, user["username"], device.recovery_codes[0])
        events = (await api.get("/v1/events?limit=1000")).body

    raw = base64.b32decode(device.secret)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    rows = [row for table in tables for row in await connection.fetch(f"SELECT * FROM {table[0]}")]
    kept = [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row.values()]
    hidden = [device.secret, raw.hex(), *device.recovery_codes, device.recovery_codes[0].replace("-", "")]
    assert [] == [text for text in hidden if any(text.encode() in value for value in kept)]
    assert not any(raw in value for value in kept)
    assert [] == [text for text in hidden if text in str(logs) + str(events)]
    assert any(digest_of(device.recovery_codes[1]).encode() in value for value in kept)
    assert "sealed" not in repr(FactorSecret(new_id(), new_id(), b"sealed"))


SWAP = """UPDATE second_factors SET secret = thief.secret FROM second_factors AS thief
          WHERE thief.stream_id <> second_factors.stream_id AND second_factors.id = $1"""


@pytest.mark.parametrize(
    "change",
    [
        SWAP,
        "UPDATE second_factors SET secret = secret || '\\x00' WHERE id = $1",
        "DELETE FROM second_factors WHERE id = $1",
    ],
    ids=["swapped", "changed", "deleted"],
)
async def test_a_secret_that_somebody_changed_lets_nobody_in(
    api: Api, connection: Connection, code_clock: Clock, change: str
) -> None:
    _, alice, device = await enrolled(api, code_clock)
    _, eve, eves = await enrolled(api, code_clock)
    factor = await connection.fetchval(
        "SELECT convert_from(state, 'UTF8')::jsonb ->> 'factor_id' FROM stored_events WHERE topic = $1 "
        "ORDER BY notification_id LIMIT 1",
        "SecondFactorConfirmed",
    )
    await connection.execute(change, factor)

    with structlog.testing.capture_logs() as logs:
        answers = [await log_in_with(api, alice["username"], code) for code in (None, device.next_code(), eves.code())]

    assert [401] * 3 == [answer.status for answer in answers]
    assert [alice["id"]] * 2 == [entry["user_id"] for entry in logs if entry["log_level"] == "error"]
    assert 200 == (await log_in_with(api, eve["username"], eves.code())).status
    assert 200 == (await log_in_with(api, alice["username"], device.recovery_codes[0])).status


@pytest.mark.parametrize("arguments", [(), ("--fast",)])
async def test_verification_finds_secrets_that_are_missing_replaced_or_of_nobody(
    api: Api, connection: Connection, settings: Settings, code_clock: Clock, arguments: tuple[str, ...]
) -> None:
    users = [user for _, user, _ in [await enrolled(api, code_clock) for _ in range(3)]]
    await api.delete(f"/v1/users/{users[2]['id']}/totp")
    missing, replaced = (str(second_factor_stream(UUID(user["id"]))) for user in users[:2])
    extra = str(new_id())

    async def verify() -> set[tuple[str, str]]:
        ran = await run_ledger("audit", "verify", "--json", *arguments, variables=settings.environment())
        return {(finding["table"], finding["row"]) for finding in ran.documents}

    assert set() == await verify()
    await connection.execute("DELETE FROM second_factors WHERE stream_id = $1", missing)
    await connection.execute("UPDATE second_factors SET id = gen_random_uuid() WHERE stream_id = $1", replaced)
    await connection.execute("INSERT INTO second_factors VALUES ($1, gen_random_uuid(), '')", extra)

    assert {("second_factors", row) for row in (missing, replaced, extra)} == await verify()


async def test_a_user_removes_the_factor_with_password_and_code_and_all_sessions_end(
    api: Api, connection: Connection, code_clock: Clock
) -> None:
    caller, user, device = await enrolled(api, code_clock)
    other = (await log_in_with(api, user["username"], device.next_code())).body
    body = {"current_password": PASSWORD}

    replayed = await caller.post(REMOVE, {**body, "otp": device.code()})
    removed = await caller.post(REMOVE, {**body, "otp": device.next_code()})

    assert (422, 200) == (replayed.status, removed.status)
    assert not await is_accepted(api, other)
    assert 401 == (await caller.get("/")).status
    assert 200 == (await log_in_with(api, user["username"])).status
    assert 0 == await connection.fetchval("SELECT count(*) FROM second_factors")


async def test_an_admin_removes_the_factor_of_a_user_who_has_lost_it(
    api: Api, connection: Connection, code_clock: Clock
) -> None:
    _, user, device = await enrolled(api, code_clock)
    pair = (await log_in_with(api, user["username"], device.next_code())).body
    path = f"/v1/users/{user['id']}/totp"

    assert [200, 404] == [(await api.delete(path)).status for _ in range(2)]

    assert not await is_accepted(api, pair)
    assert {"enabled": False, "recovery_codes_left": 0} == (await api.get(path)).body
    assert 1 == len(await event_positions(connection, "SecondFactorRemoved"))
    assert 0 == await connection.fetchval("SELECT count(*) FROM second_factors")
    assert 200 == (await log_in_with(api, user["username"])).status


async def test_a_deleted_user_leaves_no_secret(api: Api, connection: Connection, code_clock: Clock) -> None:
    _, user, _ = await enrolled(api, code_clock)

    assert 200 == (await api.delete(f"/v1/users/{user['id']}")).status

    assert 0 == await connection.fetchval("SELECT count(*) FROM second_factors")


async def test_where_admins_need_a_factor_a_password_alone_gives_no_rights(
    serve: Serve, settings: Settings, code_clock: Clock
) -> None:
    api = await serve(settings.model_copy(update=REQUIRES_OF_ADMINS), logs_in=False)
    pair = await log_in(api)
    as_admin = replace(api, token=pair["access_token"])

    assert "guest" == claims_of(pair["access_token"])["roles"]
    assert 403 == (await as_admin.get("/v1/users")).status
    newer = await refresh_pair(api, pair)
    as_admin = replace(api, token=newer["access_token"])
    assert 403 == (await as_admin.get("/v1/users")).status

    device = await enrol(as_admin, code_clock, ADMIN_PASSWORD)
    assert 403 == (await replace(api, token=(await refresh_pair(api, newer))["access_token"]).get("/v1/users")).status
    entered = await log_in_with(api, "admin", device.next_code(), ADMIN_PASSWORD)
    refreshed = await refresh_pair(api, entered.body)

    assert "admin" == claims_of(refreshed["access_token"])["roles"]
    as_admin = replace(api, token=refreshed["access_token"])
    assert 200 == (await as_admin.get("/v1/users")).status
    user = await as_admin.new_user(roles="customer,auditor")
    assert "customer,auditor" == claims_of((await log_in(api, user))["access_token"])["roles"]


async def test_without_revocation_a_session_without_a_factor_has_no_rights_either(
    serve: Serve, settings: Settings, code_clock: Clock
) -> None:
    del code_clock
    update = {**REQUIRES_OF_ADMINS, "jwt_enable_revoked_tokens": False}
    api = await serve(settings.model_copy(update=update), logs_in=False)
    as_admin = replace(api, token=(await log_in(api))["access_token"])

    assert (200, 403) == ((await as_admin.get("/")).status, (await as_admin.get("/v1/users")).status)


async def test_another_password_does_not_give_the_rights_back(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update=REQUIRES_OF_ADMINS), logs_in=False)
    as_admin = replace(api, token=(await log_in(api))["access_token"])

    changed = await as_admin.post(
        "/v1/users/me/password", {"current_password": ADMIN_PASSWORD, "password": "another password of theirs"}
    )

    assert "guest" == claims_of(changed.body["access_token"])["roles"]


async def test_secrets_are_encrypted_again_when_the_key_is_replaced(
    serve: Serve, settings: Settings, connection: Connection, code_clock: Clock
) -> None:
    api = await serve(settings)
    _, user, device = await enrolled(api, code_clock)
    keys = {"ledger_second_factor_secret": "a" * 32}
    found = [await connection.fetchval("SELECT secret FROM second_factors")]

    for update in (keys, {"ledger_second_factor_secret": "b" * 32, "ledger_second_factor_previous_secret": "a" * 32}):
        renewed = settings.model_validate({**settings.model_dump(), **update})
        api = await serve(renewed, logs_in=False)
        found.append(await connection.fetchval("SELECT secret FROM second_factors"))
        assert 200 == (await log_in_with(api, user["username"], device.next_code())).status

    assert 3 == len({secret[:8] for secret in found})
    api = await serve(settings, logs_in=False)  # which has another key
    assert 401 == (await log_in_with(api, user["username"], device.next_code())).status
