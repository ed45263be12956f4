"""docs/reference/differences.md: a real request proves every row. A row and its test have the same name."""

import json
import re
from typing import Any

import jwt
import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, PASSWORD, Api, new_id, transfer_body, user_body
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/differences.md").read_text()
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE)
    shown = [name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")]

    assert sorted(rows) == sorted(set(shown) - {"every-row-has-a-test-and-every-test-a-row"})


# Responses that a client reads differently


async def test_times_have_a_zone(api: Api) -> None:
    account = await api.new_account()

    assert TIME.fullmatch(account["created_at"])
    assert TIME.fullmatch(account["updated_at"])


async def test_errors_are_problem_details(api: Api) -> None:
    usual = await api.get(f"/v1/users/{NOBODY}")
    plain = await api.get(f"/v1/users/{NOBODY}", headers={"Accept": "application/json"})

    assert "application/problem+json" == usual.headers["Content-Type"]
    assert "application/json" == plain.headers["Content-Type"]
    assert {"type", "title", "status", "detail", "instance", "errors"} == usual.body.keys() == plain.body.keys()


async def test_every_error_has_a_body(api: Api) -> None:
    headers = {"Content-Type": "text/plain"}
    answers = [
        await api.get("/nowhere"),
        await api.delete("/v1/health"),
        await api.call("POST", "/v1/users", data="{", headers={"Content-Type": "application/json"}),
        await api.call("POST", "/v1/users", data="{}", headers=headers),
        await api.post("/v1/users", {}),
    ]

    assert (
        [404, 405, 400, 415, 422]
        == [answer.status for answer in answers]
        == [answer.body["status"] for answer in answers]
    )


async def test_customers_see_their_own(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own = await api.new_account(customer.user_id, 100)
    other = await api.new_account(balance_cents=100)

    reads = [await customer.get(f"/v1/accounts/{account['id']}") for account in (own, other)]
    paid = [await customer.transfer(source, target, 1) for source, target in ((own, other), (other, own))]

    assert [200, 404] == [answer.status for answer in reads]
    assert [200, 422] == [answer.status for answer in paid]
    assert [own["id"]] == [account["id"] for account in (await customer.get("/v1/accounts")).body]
    assert 200 == (await customer.get(f"/v1/users/{customer.user_id}")).status
    assert 403 == (await customer.post("/v1/auth/revoke-all")).status


async def test_user_bodies_have_no_secret(api: Api) -> None:
    user = await api.new_user(password_hash="7c44575b741f02d49c3e988ba7aa95a8", password_salt="salt", password=None)
    listed = await api.get("/v1/users")
    put = await api.put(f"/v1/users/{user['id']}", user)

    assert "password" not in json.dumps([user, listed.body, put.body])


async def test_bodies_have_more_members(api: Api) -> None:
    account = await api.new_account(balance_cents=5)
    transfer = await api.transfer(account, await api.new_account(), 5)
    tokens = await api.nobody.post("/v1/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})

    assert {"currency", "status"} <= account.keys()
    assert {"kind", "reference", "status", "currency"} <= transfer.body.keys()
    assert {"access_token", "refresh_token", "token_type", "expires_in"} == tokens.body.keys()


async def test_lists_are_newest_first(api: Api) -> None:
    made = [(await api.new_user())["id"] for _ in range(3)]

    everybody, some = await api.get("/v1/users"), await api.get("/v1/users?limit=2")

    assert made[::-1] == [user["id"] for user in everybody.body][:3]
    assert "Link" not in everybody.headers
    assert 'rel="next"' in some.headers["Link"]


async def test_the_name_is_ledger(api: Api) -> None:
    assert "ledger" == (await api.get("/v1/version")).body["name"]
    assert {"message": "Ledger is ready."} == (await api.get("/")).body


# Requests that are refused


async def test_unknown_members(api: Api) -> None:
    unknown = await api.post("/v1/users", user_body(nickname="x"))
    read_only = await api.post("/v1/users", user_body(created_at="2026-05-01T12:00:00.123"))

    assert (422, ["validation_error"], ["/nickname"]) == (unknown.status, unknown.codes, unknown.pointers)
    assert 201 == read_only.status


async def test_unknown_parameters(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    body = transfer_body(source, destination, 1)

    answer = await api.post("/v1/transactions/transfer?dry_run_=true", body)

    assert (422, ["validation_error"]) == (answer.status, answer.codes)
    assert 100 == await api.balance(source)


async def test_amounts_are_positive(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account(balance_cents=100)

    answers = [await api.transfer(source, destination, amount) for amount in (0, -5)]

    assert [(422, ["/amount_cents"])] * 2 == [(answer.status, answer.pointers) for answer in answers]


async def test_amounts_have_a_maximum(api: Api) -> None:
    answer = await api.transfer(await api.new_account(), await api.new_account(), 2**53)

    assert (422, ["/amount_cents"]) == (answer.status, answer.pointers)


async def test_balances_are_not_negative(api: Api) -> None:
    account = await api.new_account()
    body = {"user_id": account["user_id"], "balance_cents": -1}

    assert 422 == (await api.post("/v1/accounts", body)).status
    assert 422 == (await api.put(f"/v1/accounts/{account['id']}", body)).status
    assert 200 == (await api.put(f"/v1/accounts/{account['id']}", {**body, "overdraft_limit_cents": 1})).status


async def test_stale_balances(api: Api) -> None:
    read = await api.new_account(balance_cents=100)
    await api.transfer(read, await api.new_account(), 30)

    answer = await api.put(f"/v1/accounts/{read['id']}", read)

    assert (412, ["precondition_failed"]) == (answer.status, answer.codes)
    assert 70 == await api.balance(read)


async def test_puts_without_a_change(api: Api) -> None:
    user = await api.new_user(password_hash="xyz123", password=None)
    account = await api.new_account(user["id"])

    same_user = await api.put(f"/v1/users/{user['id']}", {**user, "password_hash": "xyz123"})
    same_account = await api.put(f"/v1/accounts/{account['id']}", account)
    changed = await api.put(f"/v1/users/{user['id']}", {**user, "email": "other@example.com"})

    assert (200, user) == (same_user.status, same_user.body)
    assert (200, account) == (same_account.status, same_account.body)
    assert user["updated_at"] < changed.body["updated_at"]


async def test_names_are_unique(api: Api) -> None:
    user = await api.new_user()

    answers = [
        await api.post("/v1/users", user_body(username=user["username"].upper())),
        await api.post("/v1/users", user_body(email=user["email"].upper())),
    ]

    assert [(409, ["user_already_exists"])] * 2 == [(answer.status, answer.codes) for answer in answers]


async def test_ids_are_unique(api: Api) -> None:
    user = await api.new_user()
    body = {"id": str(new_id()), "user_id": user["id"]}
    headers = {"Idempotency-Key": "account-1"}

    first, again = [await api.post("/v1/accounts", body, headers=headers) for _ in range(2)]
    other = await api.post("/v1/accounts", body)
    same_user = await api.post("/v1/users", user_body(id=user["id"]))

    assert (201, 201, first.body) == (first.status, again.status, again.body)
    assert (409, ["account_already_exists"]) == (other.status, other.codes)
    assert (409, ["user_already_exists"]) == (same_user.status, same_user.codes)


async def test_ids_stay_taken(api: Api) -> None:
    account = await api.new_account()
    user = await api.new_user()
    assert 200 == (await api.delete(f"/v1/accounts/{account['id']}")).status
    assert 200 == (await api.delete(f"/v1/users/{user['id']}")).status

    assert 409 == (await api.post("/v1/accounts", {"id": account["id"], "user_id": account["user_id"]})).status
    assert 409 == (await api.post("/v1/users", user_body(id=user["id"]))).status


async def test_accounts_need_an_owner(api: Api) -> None:
    answer = await api.post("/v1/accounts", {"user_id": NOBODY})

    assert (404, ["user_not_found"]) == (answer.status, answer.codes)


async def test_revocation_needs_a_user(api: Api) -> None:
    answer = await api.post("/v1/auth/revoke-user", {"user_id": NOBODY})

    assert (404, ["user_not_found"]) == (answer.status, answer.codes)


async def test_ids_must_agree(api: Api) -> None:
    account = await api.new_account()

    answer = await api.put(f"/v1/accounts/{account['id']}", {**account, "id": NOBODY})

    assert (422, ["id_mismatch"]) == (answer.status, answer.codes)


async def test_ids_are_checked(api: Api) -> None:
    answer = await api.get("/v1/users/17")
    account = await api.get("/v1/accounts/17")  # which could be the code of an account

    assert (422, ["validation_error"]) == (answer.status, answer.codes)
    assert (404, ["resource_not_found"]) == (account.status, account.codes)


async def test_version_8_is_reserved(api: Api) -> None:
    answer = await api.post("/v1/users", user_body(id="01890a5d-ac96-874b-bcce-b302099a8057"))

    assert (422, ["/id"]) == (answer.status, answer.pointers)


@pytest.mark.parametrize(
    "member",
    [
        {"username": ""},
        {"username": "x" * 65},
        {"username": "\N{CYRILLIC SMALL LETTER A}lice"},
        {"username": "al\N{ZERO WIDTH SPACE}ice"},
        {"email": "alice"},
    ],
)
async def test_names_have_rules(api: Api, member: dict[str, str]) -> None:
    answer = await api.post("/v1/users", user_body(**member))

    assert (422, [f"/{name}" for name in member]) == (answer.status, answer.pointers)


async def test_roles_are_known(api: Api) -> None:
    body = user_body()
    del body["roles"]

    assert "guest" == (await api.post("/v1/users", body)).body["roles"]
    assert [422, 422] == [(await api.post("/v1/users", user_body(roles=roles))).status for roles in ("", "root")]


async def test_passwords_have_rules(api: Api) -> None:
    secrets: list[dict[str, Any]] = [
        {"password": None, "password_hash": ""},
        {"password": "7 chars"},
        {"password": "x" * 1025},
    ]

    assert [422] * 3 == [(await api.post("/v1/users", user_body(**secret))).status for secret in secrets]
    assert 201 == (await api.post("/v1/users", user_body(password=None, password_hash="x"))).status


async def test_members_come_once(api: Api) -> None:
    twice = '{"username": "a", "username": "b", "password": "c"}'

    answer = await api.call("POST", "/v1/auth/login", data=twice, headers={"Content-Type": "application/json"})

    assert (400, ["malformed_request"]) == (answer.status, answer.codes)


async def test_bodies_have_a_size(api: Api) -> None:
    answer = await api.post("/v1/users", user_body(email=f"{'x' * 65_536}@example.com"))

    assert (413, ["payload_too_large"]) == (answer.status, answer.codes)


# Money and deletion


async def test_balances_come_from_world(api: Api) -> None:
    account = await api.new_account(balance_cents=100)
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": account["user_id"], "balance_cents": 70})

    moved = await api.get(f"/v1/transactions?account_id={account['id']}")
    shown, with_world = await api.get("/v1/accounts"), await api.get("/v1/accounts?world=true")

    assert ["adjustment", "opening"] == [each["kind"] for each in moved.body]
    assert [account["id"]] == [each["id"] for each in shown.body]
    assert 0 == sum(each["balance_cents"] for each in with_world.body)
    assert 1 == len([each for each in with_world.body if each["user_id"] is None])


async def test_accounts_with_money_stay(api: Api) -> None:
    account = await api.new_account(balance_cents=1)

    answer = await api.delete(f"/v1/accounts/{account['id']}")

    assert (409, ["account_not_empty"], 1) == (answer.status, answer.codes, await api.balance(account))


async def test_users_with_money_stay(api: Api) -> None:
    rich, poor = await api.new_account(balance_cents=1), await api.new_account()

    refused = await api.delete(f"/v1/users/{rich['user_id']}")
    deleted = await api.delete(f"/v1/users/{poor['user_id']}")

    assert (409, ["account_not_empty"], 200) == (refused.status, refused.codes, deleted.status)
    assert "closed" == (await api.get(f"/v1/accounts/{poor['id']}")).body["status"]


async def test_closed_accounts_can_be_read(api: Api) -> None:
    path = f"/v1/accounts/{(await api.new_account())['id']}"

    first, again = [await api.delete(path) for _ in range(2)]

    assert (200, 422, ["account_closed"]) == (first.status, again.status, again.codes)
    assert "closed" == (await api.get(path)).body["status"]
    assert 1 == len((await api.get("/v1/accounts")).body)
    assert [] == (await api.get("/v1/accounts?status=open")).body


# Logins and tokens


async def test_tokens_do_not_survive_the_switch(api: Api, settings: Settings) -> None:
    secret = settings.jwt_secret
    assert secret is not None
    (admin,) = (await api.get("/v1/users?username=admin")).body
    claims = {
        "sub": admin["id"],
        "jti": str(new_id()),
        "iat": 1_700_000_000,
        "exp": 4_000_000_000,
        "typ": 0,
        "roles": "admin",
    }
    token = jwt.encode(claims, secret.get_secret_value(), algorithm="HS256")

    answer = await api.nobody.get("/", headers={"Authorization": f"Bearer {token}"})

    assert (401, ["authentication_wrong_credentials"]) == (answer.status, answer.codes)


async def test_logins_are_limited(serve: Any, settings: Settings) -> None:
    usual = Settings.model_fields["ledger_login_attempts_per_account"].default
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_account": usual}))
    body = {"username": "alice", "password": "wrong"}

    answers = [await api.nobody.post("/v1/auth/login", body) for _ in range(11)]

    assert [401] * 10 + [429] == [answer.status for answer in answers]
    assert ["rate_limited"] == answers[-1].codes
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


async def test_logins_need_both_parts(api: Api) -> None:
    bodies = [{"username": "admin"}, {"username": "admin", "password_hash": ""}]
    answers = [await api.nobody.post("/v1/auth/login", body) for body in bodies]

    assert [(400, ["authentication_missing_credentials"])] * 2 == [(answer.status, answer.codes) for answer in answers]


async def test_tokens_have_one_use(api: Api) -> None:
    tokens = await log_in(api)

    assert 401 == (await send_with_token(api, "GET", "/", tokens["refresh_token"]))["status"]
    assert 401 == (await send_with_token(api, "POST", "/v1/auth/refresh", tokens["access_token"]))["status"]


async def test_refresh_tokens_work_once(serve: Any, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_refresh_grace_seconds": 0}))
    first = await log_in(api)
    second = await send_with_token(api, "POST", "/v1/auth/refresh", first["refresh_token"])

    again = await send_with_token(api, "POST", "/v1/auth/refresh", first["refresh_token"])

    assert 401 == again["status"]
    assert 401 == (await send_with_token(api, "GET", "/", second["access_token"]))["status"]


async def test_refreshes_can_be_retried(api: Api) -> None:
    tokens = await log_in(api)

    first, again = [
        await send_with_token(api, "POST", "/v1/auth/refresh", tokens["refresh_token"], "refresh-1") for _ in range(2)
    ]

    assert first == again
    assert "Ledger is ready." == (await send_with_token(api, "GET", "/", again["access_token"]))["message"]


async def test_inactive_users_are_out(api: Api) -> None:
    assert not (await api.new_user(active=False))["active"]
    user = await api.as_new_user("guest")
    assert 200 == (await user.get("/")).status

    await api.patch(f"/v1/users/{user.user_id}", {"active": False})

    assert 401 == (await user.get("/")).status


@pytest.mark.parametrize("change", [{"roles": "guest"}, {"password": "another password"}, None])
async def test_changes_end_sessions(api: Api, change: dict[str, str] | None) -> None:
    user = await api.as_new_user("customer")
    path = f"/v1/users/{user.user_id}"

    await (api.patch(path, change) if change else api.delete(path))

    assert 401 == (await user.get("/")).status


async def test_the_last_admin_stays(api: Api) -> None:
    (admin,) = (await api.get("/v1/users?username=admin")).body

    answers = [
        await api.patch(f"/v1/users/{admin['id']}", {"roles": "guest"}),
        await api.delete(f"/v1/users/{admin['id']}"),
    ]

    assert [(409, ["last_admin"])] * 2 == [(answer.status, answer.codes) for answer in answers]


async def test_logins_after_a_revocation_work(api: Api) -> None:
    assert 200 == (await api.post("/v1/auth/revoke-all")).status

    assert 401 == (await api.get("/")).status
    assert 200 == (await (await api.logged_in("admin", ADMIN_PASSWORD)).get("/")).status


# Errors and addresses


async def test_missing_things_have_codes(api: Api) -> None:
    answers = [
        await api.delete(f"/v1/users/{NOBODY}"),
        await api.put(f"/v1/users/{NOBODY}", user_body()),
        await api.delete(f"/v1/accounts/{NOBODY}"),
        await api.put(f"/v1/accounts/{NOBODY}", {"user_id": NOBODY}),
    ]

    assert ["user_not_found"] * 2 + ["resource_not_found"] * 2 == [code for answer in answers for code in answer.codes]
    assert {"resource_not_found"} == {answer.body["errors"][0]["kind"] for answer in answers}


async def test_missing_accounts_are_named(api: Api) -> None:
    answer = await api.get(f"/v1/accounts/{NOBODY}")

    assert (404, {"account_id": NOBODY}) == (answer.status, answer.body["errors"][0]["detail"])


async def test_versions_are_checked(api: Api) -> None:
    answers = [await api.nobody.get(path) for path in ("/v9/health", "/v9/version", "/v9/users")]

    assert [(400, ["api_version_error"])] * 3 == [(answer.status, answer.codes) for answer in answers]


async def test_demonstrations_are_gone(api: Api) -> None:
    assert [404, 404] == [(await api.get(path)).status for path in ("/head", "/any")]


async def test_origins_are_named(serve: Any, settings: Settings, api: Api) -> None:
    headers = {"Origin": "https://app.example.com"}
    open_to_all = await serve(settings.model_copy(update={"ledger_cors_origins": "*"}))

    assert "Access-Control-Allow-Origin" not in (await api.get("/v1/health", headers=headers)).headers
    assert "*" == (await open_to_all.get("/v1/health", headers=headers)).headers["Access-Control-Allow-Origin"]


async def test_the_first_admin_has_another_address(api: Api) -> None:
    (admin,) = (await api.get("/v1/users?username=admin")).body

    assert "admin@localhost" == admin["email"]


async def log_in(api: Api) -> dict[str, Any]:
    user = await api.new_user()
    answer = await api.nobody.post("/v1/auth/login", {"username": user["username"], "password_hash": PASSWORD})
    assert 200 == answer.status
    return dict(answer.body)


async def send_with_token(api: Api, method: str, path: str, token: str, key: str | None = None) -> dict[str, Any]:
    """Send a request with this token and return the body of the response."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
    return dict((await api.nobody.call(method, path, headers=headers)).body)
