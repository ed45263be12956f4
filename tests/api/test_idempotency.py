"""A request repeated under its `Idempotency-Key` is executed once, and its client gets the first response."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from multidict import CIMultiDict
from pydantic import SecretStr

from ledger.settings import Settings
from tests.support.controls import NOBODY, PASSWORD, Api, Response, new_id, transfer_body, user_body

Serve = Callable[[Settings], Awaitable[Api]]

TRANSFER = "/v1/transactions/transfer"
KEY = {"Idempotency-Key": "one-key"}


def without_ids(answer: Response) -> dict[str, Any]:
    """Return an error body without members that differ from request to request."""
    entries = [
        {member: value for member, value in entry.items() if member not in {"trace_id", "timestamp"}}
        for entry in answer.body["errors"]
    ]
    return {**answer.body, "errors": entries}


async def bodies(api: Api) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return one repeatable request of each kind."""
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()
    return {
        "transfer": (TRANSFER, transfer_body(alice, bob, 30)),
        "create user": ("/v1/users", user_body()),
        "open account": ("/v1/accounts", {"user_id": alice["user_id"], "balance_cents": 30}),
    }


async def refusable(api: Api) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return one refused request of each kind."""
    alice, bob, user = await api.new_account(), await api.new_account(), await api.new_user()
    return {
        "transfer": (TRANSFER, transfer_body(alice, bob, 30)),
        "create user": ("/v1/users", user_body(username=user["username"])),
        "open account": ("/v1/accounts", {"user_id": NOBODY, "balance_cents": 30}),
    }


KINDS = ["transfer", "create user", "open account"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_request_gets_the_same_response_and_is_executed_once(
    api: Api, connection: "asyncpg.Connection[Any]", kind: str
) -> None:
    """Lesson 4."""
    path, body = (await bodies(api))[kind]

    first = await api.post(path, body, headers=KEY)
    events = await connection.fetchval("SELECT count(*) FROM stored_events")
    second = await api.post(path, body, headers=KEY)

    assert first.status in {200, 201}
    texts = [json.dumps(answer.body) for answer in (first, second)]  # which keep the order of members
    assert (first.status, texts[0]) == (second.status, texts[1])
    assert (None, "true") == tuple(answer.headers.get("Idempotent-Replayed") for answer in (first, second))
    assert events == await connection.fetchval("SELECT count(*) FROM stored_events")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_request_can_format_its_body_differently(api: Api, kind: str) -> None:
    path, body = (await bodies(api))[kind]
    respelt = json.dumps(dict(reversed(body.items())), indent=4)

    first = await api.post(path, body, headers=KEY)
    second = await api.post(path, data=respelt, headers={**KEY, "Content-Type": "application/json"})

    assert (first.body, "true") == (second.body, second.headers.get("Idempotent-Replayed"))


def rewrite_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return an equivalent body: other order, null and read-only members added, ids in capitals or as URNs."""
    respelt = {
        member: value.upper().replace("-", "") if member.endswith("_id") else value for member, value in body.items()
    }
    return {"id": None, "created_at": "ignored", **dict(reversed(respelt.items())), "updated_at": None}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_request_can_have_an_equivalent_body(api: Api, kind: str) -> None:
    path, body = (await bodies(api))[kind]
    other = rewrite_body(body)
    if kind == "transfer":
        other.pop("updated_at")

    first = await api.post(path, body, headers=KEY)
    second = await api.post(path, other, headers=KEY)

    assert (first.body, "true") == (second.body, second.headers.get("Idempotent-Replayed"))


async def test_a_repeated_request_can_spell_ids_times_and_defaults_differently(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()
    held = await api.post("/v1/transactions/hold", transfer_body(alice, bob, 30))
    hold_id = held.body["id"]
    pairs = [
        (
            "/v1/transactions/hold",
            {**transfer_body(alice, bob, 5), "effective_at": "2026-05-01T12:00:00Z"},
            "/v2/transactions/hold",
            {**transfer_body(alice, bob, 5), "effective_at": "2026-05-01T14:00:00.000+02:00", "description": None},
        ),
        (
            f"/v1/transactions/{hold_id}/capture",
            None,
            f"/v1/transactions/{hold_id.upper()}/capture",
            {"amount_cents": None},
        ),
        (
            "/v1/transactions/batch",
            {"atomic": False, "items": [transfer_body(alice, bob, 1)]},
            "/v1/transactions/batch",
            {"items": [{**transfer_body(alice, bob, 1), "id": None, "kind": "transfer"}], "atomic": False},
        ),
    ]
    for number, (path, body, other_path, other_body) in enumerate(pairs):
        key = {"Idempotency-Key": f"key-{number}"}

        first = await api.post(path, body, headers=key)
        second = await api.post(other_path, other_body, headers=key)

        assert (200, first.body, "true") == (first.status, second.body, second.headers.get("Idempotent-Replayed"))


async def test_a_repeated_request_with_another_password_is_another_request(api: Api) -> None:
    user = user_body()

    first = await api.post("/v1/users", user, headers=KEY)
    second = await api.post("/v1/users", {**user, "password": "another password"}, headers=KEY)

    assert (201, 422, ["idempotency_key_reused"]) == (first.status, second.status, second.codes)


async def test_two_keys_are_refused(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    """A proxy in front could use the other header."""
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()
    before = await connection.fetchval("SELECT count(*) FROM stored_events")
    twice = CIMultiDict(
        [("Idempotency-Key", "one"), ("Idempotency-Key", "one"), ("Authorization", f"Bearer {api.token}")]
    )
    bodies = {
        TRANSFER: transfer_body(alice, bob, 30),
        "/v1/users": user_body(),
        "/v1/transactions/batch": {"atomic": True, "items": [transfer_body(alice, bob, 30)]},
    }

    statuses = {path: (await api.client.post(path, json=body, headers=twice)).status for path, body in bodies.items()}

    assert dict.fromkeys(bodies, 422) == statuses
    assert before == await connection.fetchval("SELECT count(*) FROM stored_events")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_refused_request_gets_the_same_refusal(
    api: Api, connection: "asyncpg.Connection[Any]", kind: str
) -> None:
    path, body = (await refusable(api))[kind]

    first = await api.post(path, body, headers=KEY)
    logged = await connection.fetchval("SELECT count(*) FROM command_log")
    second = await api.post(path, body, headers=KEY)

    assert first.status in {404, 409, 422}
    assert (first.status, without_ids(first)) == (second.status, without_ids(second))
    assert first.body["errors"][0]["trace_id"] != second.body["errors"][0]["trace_id"]
    assert logged == await connection.fetchval("SELECT count(*) FROM command_log")


async def test_a_refusal_is_repeated_even_if_its_reason_is_gone(api: Api) -> None:
    alice, bob = await api.new_account(), await api.new_account()
    await api.transfer(alice, bob, 5, headers=KEY)
    await api.put(f"/v1/accounts/{alice['id']}", {"balance_cents": 100})

    again = await api.transfer(alice, bob, 5, headers=KEY)

    assert (422, ["transfer_insufficient_funds"]) == (again.status, again.codes)
    assert (100, 0) == (await api.balance(alice), await api.balance(bob))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_refusal_is_marked_as_a_replay(api: Api, kind: str) -> None:
    path, body = (await refusable(api))[kind]

    answers = [await api.post(path, body, headers=KEY) for _ in range(2)]

    assert [None, "true"] == [answer.headers.get("Idempotent-Replayed") for answer in answers]


async def test_a_malformed_request_does_not_use_up_its_key(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()

    wrong = await api.transfer(alice, bob, 0, headers=KEY)
    right = await api.transfer(alice, bob, 5, headers=KEY)

    assert (422, 200, None) == (wrong.status, right.status, right.headers.get("Idempotent-Replayed"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_belongs_to_one_body(api: Api, kind: str) -> None:
    """Lesson 4."""
    path, body = (await bodies(api))[kind]
    change: dict[str, dict[str, Any]] = {
        "transfer": {"amount_cents": 31},
        "create user": {"password": "another password"},
    }
    await api.post(path, body, headers=KEY)

    refused = await api.post(path, {**body, **change.get(kind, {"balance_cents": 31})}, headers=KEY)

    assert (422, ["idempotency_key_reused"]) == (refused.status, refused.codes)
    assert "validation_error" == refused.body["errors"][0]["kind"]


async def test_a_key_belongs_to_one_body_even_if_that_was_refused(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()
    await api.transfer(alice, bob, 6, headers=KEY)

    refused = await api.transfer(alice, bob, 5, headers=KEY)

    assert (422, ["idempotency_key_reused"]) == (refused.status, refused.codes)
    assert 5 == await api.balance(alice)


async def test_a_key_belongs_to_one_path(api: Api) -> None:
    """The same body to another path is another request."""
    body = {"user_id": (await api.new_user())["id"]}
    await api.post("/v1/accounts", body, headers=KEY)

    refused = await api.post("/v1/users", {**user_body(), "id": None}, headers=KEY)

    assert (422, ["idempotency_key_reused"]) == (refused.status, refused.codes)


async def test_v1_and_v2_share_their_keys(api: Api) -> None:
    """Lesson 4: a client that retries at the other version pays once."""
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()

    first = await api.transfer(alice, bob, 3, headers=KEY)
    second = await api.post("/v2/transactions/transfer", transfer_body(alice, bob, 3), headers=KEY)

    assert (first.body, "true") == (second.body, second.headers.get("Idempotent-Replayed"))
    assert 2 == await api.balance(alice)


async def test_without_a_key_every_request_is_executed(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()

    answers = [await api.transfer(alice, bob, 1) for _ in range(2)]

    assert ([200, 200], 2) == ([answer.status for answer in answers], await api.balance(bob))


async def test_a_key_takes_precedence_over_a_chosen_id(api: Api) -> None:
    """A reused id is a conflict, unless the request is repeated under its key."""
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()
    body = {**transfer_body(alice, bob, 1), "id": str(new_id())}

    first = await api.post(TRANSFER, body, headers=KEY)
    same_key = await api.post(TRANSFER, body, headers=KEY)
    other_key = await api.post(TRANSFER, body, headers={"Idempotency-Key": "another-key"})

    assert (200, 200, 409) == (first.status, same_key.status, other_key.status)
    assert (first.body, ["transaction_already_exists"]) == (same_key.body, other_key.codes)


async def test_the_key_of_another_user_is_another_key(api: Api) -> None:
    """Lesson 35: a key reveals nothing about another user's requests."""
    one, other = await api.as_new_user("customer"), await api.as_new_user("customer")
    target = await api.new_account()
    accounts = [await api.new_account(caller.user_id, balance_cents=5) for caller in (one, other)]

    first = await one.transfer(accounts[0], target, 3, headers=KEY)
    second = await other.transfer(accounts[1], target, 2, headers=KEY)
    stolen = await other.transfer(accounts[0], target, 3, headers=KEY)

    assert (200, 200) == (first.status, second.status)
    assert [None, None] == [answer.headers.get("Idempotent-Replayed") for answer in (first, second)]
    assert (422, ["idempotency_key_reused"]) == (stolen.status, stolen.codes)
    assert [2, 3, 5] == [await api.balance(account) for account in (*accounts, target)]


async def test_a_key_outlives_the_token_it_came_with(api: Api) -> None:
    user = await api.new_user()
    caller = await api.logged_in(user["username"])
    own, other = await api.new_account(user["id"], balance_cents=5), await api.new_account()

    first = await caller.transfer(own, other, 3, headers=KEY)
    second = await (await api.logged_in(user["username"])).transfer(own, other, 3, headers=KEY)

    assert (first.body, 2) == (second.body, await api.balance(own))


async def test_a_key_replays_nothing_to_a_user_who_lost_access(api: Api) -> None:
    user = await api.new_user()
    caller = await api.logged_in(user["username"])
    own, other = await api.new_account(user["id"], balance_cents=5), await api.new_account()
    await caller.transfer(own, other, 3, headers=KEY)

    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "guest"})

    assert 401 == (await caller.transfer(own, other, 3, headers=KEY)).status


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 256, "ünicode", "tab\tbed"])
async def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()

    refused = await api.transfer(alice, bob, 1, headers={"Idempotency-Key": key})

    assert (422, ["validation_error"], ["header Idempotency-Key"]) == (
        refused.status,
        refused.codes,
        refused.parameters,
    )
    assert 5 == await api.balance(alice)


@pytest.mark.parametrize("key", ["!", "x" * 255, '"{}"', "018f0000-0000-7000-8000-000000000000", "a:b:c"])
async def test_a_key_is_1_to_255_visible_characters(api: Api, key: str) -> None:
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()

    answers = [await api.transfer(alice, bob, 1, headers={"Idempotency-Key": key}) for _ in range(2)]

    assert ([200, 200], 4) == ([answer.status for answer in answers], await api.balance(alice))


async def test_money_moves_once_for_any_number_of_concurrent_retries(api: Api) -> None:
    """Lesson 4."""
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()

    answers = await asyncio.gather(*(api.transfer(alice, bob, 30, headers=KEY) for _ in range(20)))

    done = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert (70, 30) == (await api.balance(alice), await api.balance(bob))
    assert 1 == len({answer.body["id"] for answer in done})
    assert 1 == sum(answer.headers.get("Idempotent-Replayed") is None for answer in done)
    assert {(409, "idempotency_key_in_use", "conflict")} >= {
        (answer.status, entry["code"], entry["kind"]) for answer in refused for entry in answer.body["errors"]
    }


async def test_money_moves_once_if_the_retries_reach_two_workers(serve: Serve, settings: Settings) -> None:
    """Lesson 4."""
    workers = [await serve(settings), await serve(settings)]
    alice, bob = await workers[0].new_account(balance_cents=100), await workers[0].new_account()

    answers = await asyncio.gather(*(workers[number % 2].transfer(alice, bob, 30, headers=KEY) for number in range(20)))

    assert (70, 30) == (await workers[0].balance(alice), await workers[0].balance(bob))
    assert {200, 409} >= {answer.status for answer in answers}
    done = [answer for answer in answers if answer.status == 200]
    assert 1 == len({answer.body["id"] for answer in done})
    assert 1 == sum(answer.headers.get("Idempotent-Replayed") is None for answer in done)


async def test_one_user_is_created_for_any_number_of_concurrent_retries(serve: Serve, settings: Settings) -> None:
    """Lesson 4."""
    workers = [await serve(settings), await serve(settings)]
    body = user_body()

    answers = await asyncio.gather(*(workers[number % 2].post("/v1/users", body, headers=KEY) for number in range(8)))

    assert {201, 409} >= {answer.status for answer in answers}
    assert {"idempotency_key_in_use"} >= {code for answer in answers if answer.status == 409 for code in answer.codes}
    assert 1 == len({answer.body["id"] for answer in answers if answer.status == 201})


async def test_a_retry_after_a_restart_gets_the_first_response(serve: Serve, settings: Settings) -> None:
    """Lesson 4: a key is stored in the same transaction as the money, so it survives a restart."""
    before = await serve(settings)
    alice, bob = await before.new_account(balance_cents=100), await before.new_account()
    first = await before.transfer(alice, bob, 30, headers=KEY)
    refused = await before.transfer(alice, bob, 1000, headers={"Idempotency-Key": "another-key"})
    await before.client.close()

    after = await serve(settings)
    again = await after.transfer(alice, bob, 30, headers=KEY)
    refused_again = await after.transfer(alice, bob, 1000, headers={"Idempotency-Key": "another-key"})

    assert (first.body, "true") == (again.body, again.headers.get("Idempotent-Replayed"))
    assert without_ids(refused) == without_ids(refused_again)
    assert (70, 30) == (await after.balance(alice), await after.balance(bob))


async def test_the_command_log_does_not_help_to_guess_a_password(
    api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    """Lesson 31: the request hash is keyed, so weak passwords cannot be guessed from it."""
    body = user_body()
    await api.post("/v1/users", body, headers=KEY)

    stored = await connection.fetchval("SELECT request_hash FROM command_log WHERE request_hash IS NOT NULL")

    assert 32 == len(stored)
    spellings = [
        json.dumps(body, sort_keys=ordered, separators=separators)
        for ordered in (False, True)
        for separators in [(",", ":"), (", ", ": ")]
    ]
    prefixes = ["", "POST users\n", "POST /v1/users\n", "users\n", "idempotency"]
    guesses = [hashlib.sha256((prefix + text).encode()).digest() for prefix in prefixes for text in spellings]
    assert stored not in [*guesses, hashlib.sha256(PASSWORD.encode()).digest()]


async def test_another_signing_secret_gives_another_hash(
    serve: Serve, settings: Settings, connection: "asyncpg.Connection[Any]"
) -> None:
    """Lesson 31: the key of the hash is specific to the service."""
    body = {"user_id": NOBODY}
    await (await serve(settings)).post("/v1/accounts", body, headers=KEY)
    changed = settings.model_copy(update={"jwt_secret": SecretStr("another-secret-that-is-long-enough")})

    again = await (await serve(changed)).post("/v1/accounts", body, headers={"Idempotency-Key": "another-key"})

    hashes = await connection.fetch("SELECT DISTINCT request_hash FROM command_log WHERE request_hash IS NOT NULL")
    assert (404, 2) == (again.status, len(hashes))
