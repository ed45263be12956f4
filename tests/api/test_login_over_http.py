"""Logins over HTTP: claims of tokens, accepted and refused callers, and the single answer for failures."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import jwt
import pytest
from multidict import CIMultiDict

from ledger.identity.tokens import Claims, Signer, TokenType
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, CATALOGUED, NOBODY, PASSWORD, Api, Response, user_body

Serve = Callable[[Settings], Awaitable[Api]]

LOGIN = "/v1/auth/login"
WRONG_CREDENTIALS = {
    "code": "authentication_wrong_credentials",
    "kind": "authentication_error",
    "message": "wrong credentials",
}


async def log_in(api: Api, username: str = "admin", password: str = ADMIN_PASSWORD) -> dict[str, Any]:
    answer = await api.nobody.post(LOGIN, {"username": username, "password": password})
    assert 200 == answer.status
    return dict(answer.body)


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def without_varying(answer: Response) -> dict[str, Any]:
    """Return the body without members that differ from response to response."""
    entries = [
        {member: value for member, value in entry.items() if member not in {"trace_id", "timestamp"}}
        for entry in answer.body["errors"]
    ]
    return {**answer.body, "errors": entries}


def assert_wrong_credentials(answer: Response, instance: str) -> None:
    assert 401 == answer.status
    (entry,) = without_varying(answer)["errors"]
    assert {**WRONG_CREDENTIALS, "instance": instance} == {name: entry[name] for name in entry.keys() - CATALOGUED}
    assert "Bearer" == answer.headers["WWW-Authenticate"]


# The tokens of a login


async def test_a_login_returns_a_pair_of_bearer_tokens(api: Api) -> None:
    answer = await api.nobody.post(LOGIN, {"username": "admin", "password": ADMIN_PASSWORD})

    assert 200 == answer.status
    assert {"access_token", "refresh_token", "token_type", "expires_in"} == answer.body.keys()
    assert ("Bearer", 3600) == (answer.body["token_type"], answer.body["expires_in"])


async def test_the_access_token_names_its_user_roles_and_expiry(api: Api) -> None:
    user = await api.new_user(roles="customer")
    before = int(time.time())

    claims = claims_of((await log_in(api, user["username"], PASSWORD))["access_token"])

    assert {"sub", "jti", "iat", "exp", "typ", "roles", "sid", "pos"} == claims.keys()
    assert (user["id"], 0, "customer") == (claims["sub"], claims["typ"], claims["roles"])
    assert [int] * 4 == [type(claims[name]) for name in ("iat", "exp", "typ", "pos")]
    assert [claims["jti"], claims["sid"]] == [str(UUID(claims[name])) for name in ("jti", "sid")]
    assert 3600 == claims["exp"] - claims["iat"]
    assert before <= claims["iat"] <= int(time.time())


async def test_the_refresh_token_names_its_access_token(api: Api) -> None:
    pair = await log_in(api)

    access, refresh = claims_of(pair["access_token"]), claims_of(pair["refresh_token"])

    assert {*access, "prf", "pex"} == refresh.keys()
    assert (access["jti"], access["exp"], 1) == (refresh["prf"], refresh["pex"], refresh["typ"])
    assert (access["sub"], access["sid"], access["pos"]) == (refresh["sub"], refresh["sid"], refresh["pos"])
    assert access["jti"] != refresh["jti"]
    assert 7_776_000 == refresh["exp"] - refresh["iat"]


async def test_every_login_starts_its_own_session(api: Api) -> None:
    pairs = [await log_in(api) for _ in range(3)]

    assert 3 == len({claims_of(pair["access_token"])["sid"] for pair in pairs})
    assert 6 == len(
        {claims_of(token)["jti"] for pair in pairs for token in (pair["access_token"], pair["refresh_token"])}
    )


async def test_a_token_has_the_position_of_its_issue(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    claims = claims_of((await log_in(api))["access_token"])

    position = await connection.fetchval(
        "SELECT max(notification_id) FROM stored_events WHERE originator_id = $1", claims["sid"]
    )
    assert position == claims["pos"]


async def test_the_settings_define_the_lifetimes_of_tokens(serve: Serve, settings: Settings) -> None:
    lifetimes = {"jwt_expire_access_token_seconds": 120, "jwt_expire_refresh_token_seconds": 240}
    api = await serve(settings.model_copy(update=lifetimes))

    pair = await log_in(api)
    access, refresh = claims_of(pair["access_token"]), claims_of(pair["refresh_token"])

    assert (120, 120, 240) == (pair["expires_in"], access["exp"] - access["iat"], refresh["exp"] - refresh["iat"])


async def test_a_login_ignores_the_idempotency_key(api: Api) -> None:
    body = {"username": "admin", "password": ADMIN_PASSWORD}

    answers = [await api.nobody.post(LOGIN, body, headers={"Idempotency-Key": "one"}) for _ in range(2)]

    assert [200, 200] == [answer.status for answer in answers]
    assert 2 == len({answer.body["access_token"] for answer in answers})


async def test_a_login_accepts_any_spelling_that_folds_to_the_username(api: Api) -> None:
    await api.new_user(username="Straße")

    answer = await api.nobody.post(LOGIN, {"username": "STRASSE", "password": PASSWORD})

    assert 200 == answer.status


@pytest.mark.parametrize(
    ("created_with", "presented_as"), [("password", "password_hash"), ("password_hash", "password")]
)
async def test_password_hash_is_an_alias_of_password(api: Api, created_with: str, presented_as: str) -> None:
    body = user_body()
    secret = body.pop("password")
    created = await api.post("/v1/users", {**body, created_with: secret})

    answer = await api.nobody.post(LOGIN, {"username": body["username"], presented_as: secret})

    assert (201, 200) == (created.status, answer.status)


async def test_a_secret_under_both_names_is_refused(api: Api) -> None:
    body = {"username": "admin", "password": ADMIN_PASSWORD, "password_hash": ADMIN_PASSWORD}

    refused = await api.nobody.post(LOGIN, body)

    assert (422, ["validation_error"], ["/password_hash"]) == (refused.status, refused.codes, refused.pointers)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "admin"},
        {"password": ADMIN_PASSWORD},
        {"password_hash": ADMIN_PASSWORD},
        {"username": None, "password": ADMIN_PASSWORD},
        {"username": "admin", "password": None, "password_hash": None},
        {"username": "", "password": ADMIN_PASSWORD},
        {"username": "admin", "password": ""},
    ],
)
async def test_a_login_without_a_member_names_it(api: Api, body: dict[str, Any]) -> None:
    refused = await api.nobody.post(LOGIN, body)

    assert 400 == refused.status
    assert ["authentication_missing_credentials"] == refused.codes
    assert "missing credentials" == refused.body["detail"]


async def test_every_failed_login_gets_the_same_response(api: Api) -> None:
    """Lesson 30."""
    active, gone = await api.new_user(), await api.new_user()
    inactive = await api.new_user(active=False)
    await api.delete(f"/v1/users/{gone['id']}")

    answers = [
        await api.nobody.post(LOGIN, {"username": username, "password": password})
        for username, password in [
            ("nobody-at-all", PASSWORD),
            ("nobody\x00at-all", PASSWORD),
            (active["username"], "another password"),
            (active["username"], PASSWORD.upper()),
            (active["email"], PASSWORD),
            (inactive["username"], PASSWORD),
            (inactive["username"], "another password"),
            (gone["username"], PASSWORD),
        ]
    ]

    assert_wrong_credentials(answers[0], LOGIN)
    assert [without_varying(answers[0])] * len(answers) == [without_varying(answer) for answer in answers]
    assert [401] * len(answers) == [answer.status for answer in answers]
    assert ["Bearer"] * len(answers) == [answer.headers["WWW-Authenticate"] for answer in answers]


# Validation of tokens


def forge_token(settings: Settings, pair: dict[str, Any], **changes: Any) -> str:
    """Return a correctly signed token with changed claims; a claim of None is left out."""
    assert settings.jwt_secret is not None
    claims = {**claims_of(pair["access_token"]), **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return sign_claims(kept, pair, settings.jwt_secret.get_secret_value())


def sign_claims(claims: dict[str, Any], pair: dict[str, Any], secret: str, algorithm: str = "HS256") -> str:
    """Return a token with these claims that names the key of the pair."""
    kid = jwt.get_unverified_header(pair["access_token"])["kid"]
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": kid})


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def invalid_headers(settings: Settings, pair: dict[str, Any]) -> dict[str, str]:
    """Return invalid Authorization headers by their flaw."""
    assert settings.jwt_secret is not None
    secret = settings.jwt_secret.get_secret_value()
    token, now = pair["access_token"], int(time.time())
    header, payload, signature = token.split(".")
    claims = claims_of(token)
    bearers = {
        "empty token": "",
        "not a token": "garbage",
        "not text": "\udcff\udcfe",
        "too long": "a" * 5000,
        "refresh token": pair["refresh_token"],
        "another key": sign_claims(claims, pair, "another-secret-that-is-long-enough"),
        "another algorithm": sign_claims(claims, pair, secret.ljust(64, "-"), "HS512"),
        "no name of a key": jwt.encode(claims, secret, algorithm="HS256"),
        "no algorithm": f"{encode({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "no signature": f"{header}.{payload}.",
        "another header": f"{encode({'alg': 'HS256', 'typ': 'JWT', 'kid': '../../dev/null'})}.{payload}.{signature}",
        "another payload": f"{header}.{encode({**claims, 'sub': NOBODY})}.{signature}",
        "a header too deep to parse": f"{encode(b'[' * 2900)}.{payload}.{signature}",
        "expired": forge_token(settings, pair, iat=now - 4000, exp=now - 400),
        "not issued yet": forge_token(settings, pair, iat=now + 400, exp=now + 4000),
        "no expiry": forge_token(settings, pair, exp=None),
        "an expiry that is text": forge_token(settings, pair, exp=str(now + 4000)),
        "an expiry with a fraction": forge_token(settings, pair, exp=now + 4000.5),
        "an expiry that is true": forge_token(settings, pair, exp=True),
        "no type": forge_token(settings, pair, typ=None),
        "an unknown type": forge_token(settings, pair, typ=2),
        "no session": forge_token(settings, pair, sid=None),
        "a user that is no id": forge_token(settings, pair, sub="admin"),
        "an unknown claim": forge_token(settings, pair, admin=True),
    }
    return {"no scheme": token, "another scheme": f"Basic {token}"} | {
        flaw: f"Bearer {bearer}" for flaw, bearer in bearers.items()
    }


async def test_without_a_token_the_caller_is_unknown(api: Api) -> None:
    assert_wrong_credentials(await api.nobody.get("/"), "/")


async def test_every_invalid_token_gets_the_same_refusal(api: Api, settings: Settings) -> None:
    """Lessons 21, 29 and 33: type, algorithm, expiry, and headers that are trusted before they are parsed."""
    flawed = invalid_headers(settings, await log_in(api))

    answers = {flaw: await api.nobody.get("/", headers={"Authorization": header}) for flaw, header in flawed.items()}

    assert dict.fromkeys(flawed, 401) == {flaw: answer.status for flaw, answer in answers.items()}
    for answer in answers.values():
        assert_wrong_credentials(answer, "/")


async def test_an_unmodified_forged_token_is_accepted(api: Api, settings: Settings) -> None:
    token = forge_token(settings, await log_in(api))

    assert 200 == (await replace(api, token=token).get("/")).status


async def test_the_scheme_is_bearer_in_any_case(api: Api) -> None:
    answer = await api.nobody.get("/", headers={"Authorization": f"bEARER {api.token}"})

    assert 200 == answer.status


@pytest.mark.parametrize(("seconds_ago", "status"), [(30, 200), (90, 401)])
async def test_an_expired_token_is_accepted_only_within_the_leeway(
    api: Api, settings: Settings, seconds_ago: int, status: int
) -> None:
    user = await api.new_user()
    issued = claims_of((await log_in(api, user["username"], PASSWORD))["access_token"])
    now = int(time.time())
    claims = Claims(
        sub=user["id"],
        jti=issued["jti"],
        iat=now - 3600,
        exp=now - seconds_ago,
        typ=TokenType.ACCESS,
        roles="customer",
        sid=issued["sid"],
        pos=issued["pos"],
    )
    assert (60, True) == (settings.jwt_validation_leeway_seconds, settings.jwt_secret is not None)
    signer = Signer(settings.jwt_secret.get_secret_value() if settings.jwt_secret else "", leeway_seconds=0)

    token = signer.sign(claims)

    assert status == (await replace(api, token=token).get("/")).status


@pytest.mark.parametrize("roles", ["admin", "auditor", "customer", "guest"])
async def test_every_role_gets_the_greeting(api: Api, roles: str) -> None:
    answer = await (await api.as_new_user(roles)).get("/")

    assert (200, ["message"]) == (answer.status, list(answer.body))


# Changes of users


async def test_a_deactivated_user_loses_access_at_the_next_request(api: Api) -> None:
    """Lesson 27."""
    user = await api.new_user()
    caller = await api.logged_in(user["username"])
    assert 200 == (await caller.get("/")).status

    await api.put(f"/v1/users/{user['id']}", {**user, "active": False})

    assert_wrong_credentials(await caller.get("/"), "/")


async def test_a_reactivated_user_can_log_in_again(api: Api) -> None:
    user = await api.new_user(active=False)

    await api.put(f"/v1/users/{user['id']}", {**user, "active": True})

    assert 200 == (await (await api.logged_in(user["username"])).get("/")).status


async def test_a_deleted_user_loses_access_at_the_next_request(api: Api) -> None:
    """Lesson 27."""
    caller = await api.as_new_user("admin")

    await api.delete(f"/v1/users/{caller.user_id}")

    assert_wrong_credentials(await caller.get("/v1/users"), "/v1/users")


async def test_a_demoted_user_loses_access_at_the_next_request(api: Api) -> None:
    """Lesson 27: a token with a lost role is refused."""
    user = await api.new_user(roles="admin")
    caller = await api.logged_in(user["username"])
    assert 200 == (await caller.get("/v1/users")).status

    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "customer"})

    assert (401, 401) == ((await caller.get("/v1/users")).status, (await caller.get("/v1/accounts")).status)


async def test_a_promoted_user_gets_the_role_with_the_next_token(api: Api) -> None:
    user = await api.new_user(roles="guest")
    caller = await api.logged_in(user["username"])
    assert 403 == (await caller.get("/v1/accounts")).status

    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "auditor,guest"})

    assert 403 == (await caller.get("/v1/accounts")).status
    assert 200 == (await (await api.logged_in(user["username"])).get("/v1/accounts")).status


async def test_only_the_new_password_logs_in(api: Api) -> None:
    user = await api.new_user()

    await api.put(f"/v1/users/{user['id']}", {**user, "password": "the next password"})

    old, new = [
        await api.nobody.post(LOGIN, {"username": user["username"], "password": password})
        for password in (PASSWORD, "the next password")
    ]
    assert (401, 200) == (old.status, new.status)


# Floods of logins


@pytest.mark.usefixtures("safe_passwords")
async def test_a_flood_of_logins_is_refused_while_other_requests_are_served(serve: Serve, settings: Settings) -> None:
    """Lesson 30."""
    api = await serve(settings.model_copy(update={"ledger_login_queue_limit": 1}))
    body = {"username": "admin", "password": "not the admin's password"}

    *logins, health = await asyncio.gather(
        *(api.nobody.post(LOGIN, body) for _ in range(40)), api.nobody.get("/v1/health")
    )

    turned_away = [answer for answer in logins if answer.status == 503]
    assert (200, {"status": "healthy"}) == (health.status, health.body)
    assert {401, 503} == {answer.status for answer in logins}
    assert {("overloaded", "unavailable")} == {
        (entry["code"], entry["kind"]) for answer in turned_away for entry in answer.body["errors"]
    }
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in turned_away)


@pytest.mark.usefixtures("safe_passwords")
async def test_logins_succeed_again_after_a_flood(serve: Serve, settings: Settings) -> None:
    """Lesson 30: nobody is locked out by other clients."""
    api = await serve(settings.model_copy(update={"ledger_login_queue_limit": 1}))
    body = {"username": "admin", "password": "not the admin's password"}

    await asyncio.gather(*(api.nobody.post(LOGIN, body) for _ in range(20)))

    assert "access_token" in await log_in(api)


# Storage of secrets


@pytest.mark.usefixtures("safe_passwords")
async def test_each_password_is_hashed_with_argon2id_and_its_own_salt(
    api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    """Lesson 20."""
    for _ in range(2):
        await api.new_user()

    hashes = [row["hash"] for row in await connection.fetch("SELECT hash FROM credentials")]

    assert {"$argon2id$v=19$m=19456,t=2,p=1"} == {text.rsplit("$", 2)[0] for text in hashes}
    assert 3 == len(set(hashes))


async def test_no_table_but_credentials_has_a_hash_or_a_password(
    api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    """Lesson 20."""
    key = {"Idempotency-Key": "with-a-secret"}
    user = (await api.post("/v1/users", user_body(password="the first password"), headers=key)).body
    await api.put(f"/v1/users/{user['id']}", {**user, "password": "the second password"})
    pair = await log_in(api, user["username"], "the second password")
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger' ORDER BY tablename")
    hashes = [row["hash"] for row in await connection.fetch("SELECT hash FROM credentials")]

    rows = []
    for (table,) in (row for row in tables if row["tablename"] != "credentials"):
        rows += [str(row[0]) for row in await connection.fetch(f"SELECT to_jsonb(t)::text FROM {table} AS t")]
    for table in ("stored_events", "stream_heads"):
        rows += [str(row[0]) for row in await connection.fetch(f"SELECT convert_from(state, 'UTF8') FROM {table}")]

    assert {"stored_events", "command_log", "users", "stream_heads"} <= {row["tablename"] for row in tables}
    secrets = ["argon2", "the first password", "the second password", ADMIN_PASSWORD, *hashes, *pair.values()]
    secrets = [secret for secret in secrets if isinstance(secret, str) and secret != "Bearer"]
    assert [] == [secret for secret in secrets if any(secret in row for row in rows)]
    assert len(rows) > 10


@pytest.mark.parametrize("member", ["password", "password_hash"])
async def test_the_stored_hash_does_not_log_in(api: Api, connection: "asyncpg.Connection[Any]", member: str) -> None:
    """Lesson 20."""
    user = await api.new_user()
    stored = await connection.fetchval("SELECT hash FROM credentials WHERE user_id = $1", user["id"])

    answer = await api.nobody.post(LOGIN, {"username": user["username"], member: stored})

    assert_wrong_credentials(answer, LOGIN)


async def test_the_credential_of_a_deleted_user_is_deleted(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    user = await api.new_user()

    await api.delete(f"/v1/users/{user['id']}")

    assert 0 == await connection.fetchval("SELECT count(*) FROM credentials WHERE user_id = $1", user["id"])


async def test_two_authorization_headers_are_refused(api: Api) -> None:
    """A proxy in front could use the other header."""
    token = f"Bearer {api.token}"

    for pair in ([token, token], [token, "Bearer x"], ["Bearer x", token], [token, "Basic eDp4"]):
        headers = CIMultiDict([("Authorization", value) for value in pair])
        response = await api.client.get("/", headers=headers)
        assert 401 == response.status
