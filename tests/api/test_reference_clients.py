"""Clients of the reference service: their exact requests work, and every response decodes into their types.

The only adaptations are deliberate differences: times have a zone, and users have no hash or salt.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import jwt
import msgspec
import pytest
from aiohttp.test_utils import TestClient

from ledger.settings import Settings
from tests.support.controls import Api

DIGEST = "7c44575b741f02d49c3e988ba7aa95a8fb6d90c0ef63a97236fa54bfcfbd9d51"  # sent by the reference's clients
JSON = "application/json; charset=utf8"  # as they spell it
T = TypeVar("T")


class Tokens(msgspec.Struct):
    access_token: str
    refresh_token: str


class User(msgspec.Struct):
    id: UUID
    username: str
    email: str
    active: bool
    roles: str
    created_at: datetime
    updated_at: datetime


class Account(msgspec.Struct):
    id: UUID
    user_id: UUID
    balance_cents: int
    created_at: datetime | None
    updated_at: datetime | None


class Transaction(msgspec.Struct):
    id: UUID
    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    created_at: datetime


class Entry(msgspec.Struct):
    message: str
    timestamp: datetime
    code: str | None = None
    kind: str | None = None
    description: str | None = None
    detail: dict[str, Any] | None = None
    reason: str | None = None
    instance: str | None = None
    trace_id: str | None = None
    help: str | None = None
    doc_url: str | None = None


class ApiError(msgspec.Struct):
    status: int
    errors: list[Entry]


@dataclass(frozen=True)
class Client:
    """A client with the headers of the reference's clients and strict decoding."""

    client: TestClient[Any, Any]
    token: str = ""

    async def send(self, method: str, path: str, body: Any = None, *, content_type: str | None = None) -> Any:
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if content_type is not None:
            headers["Content-type"] = content_type
        data = None if body is None else msgspec.json.encode(body)
        return await self.client.request(method, path, data=data, headers=headers)

    async def ask(self, kind: type[T], method: str, path: str, body: Any = None, **options: Any) -> T:
        """Send a request that succeeds, and decode the response."""
        response = await self.send(method, path, body, **options)
        raw = await response.read()
        assert response.status == (201 if method == "POST" and path in {"/v1/users", "/v1/accounts"} else 200), raw
        return msgspec.json.decode(raw, type=kind)

    async def refused(self, method: str, path: str, body: Any = None, **options: Any) -> ApiError:
        """Send a request that is refused, and decode the error: the same members in the same media type."""
        response = await self.send(method, path, body, **options)
        error = msgspec.json.decode(await response.read(), type=ApiError)
        assert (response.status, "application/json") == (error.status, response.content_type)
        return error

    async def logged_in(self, username: str) -> tuple["Client", Tokens]:
        credentials = {"username": username, "password_hash": DIGEST}
        tokens = await self.ask(Tokens, "POST", "/v1/auth/login", credentials, content_type=JSON)
        return replace(self, token=tokens.access_token), tokens


@pytest.fixture
async def visitor(serve: Callable[[Settings], Awaitable[Api]], settings: Settings) -> Client:
    """Return a client of a service whose first admin logs in like the reference's."""
    api = await serve(settings)
    body = {"username": "root", "email": "root@admin.com", "password_hash": DIGEST, "roles": "admin"}
    await api.post("/v1/users", body)
    return Client(api.client)


@pytest.fixture
async def admin(visitor: Client) -> Client:
    return (await visitor.logged_in("root"))[0]


def new_user(username: str, **members: Any) -> dict[str, Any]:
    """Return a user as the reference's typed clients send it: all members, with times null."""
    return {
        "id": str(uuid4()),
        "username": username,
        "email": f"{username}@email.com",
        "password_hash": DIGEST,
        "password_salt": "pjZKk6A8YtC8$9p&UIp62bv4PLwD7@dF",
        "active": True,
        "roles": "customer",
        "created_at": None,
        "updated_at": None,
        **members,
    }


async def new_account(admin: Client, balance_cents: int) -> Account:
    user = await admin.ask(User, "POST", "/v1/users", new_user(f"user-{uuid4()}"), content_type="application/json")
    body = {"id": str(uuid4()), "user_id": str(user.id), "balance_cents": balance_cents}
    return await admin.ask(
        Account, "POST", "/v1/accounts", {**body, "created_at": None, "updated_at": None}, content_type=JSON
    )


async def test_the_public_routes(visitor: Client) -> None:
    assert {"status": "healthy"} == await visitor.ask(dict[str, str], "GET", "/v1/health")
    assert {"name", "version"} == (await visitor.ask(dict[str, str], "GET", "/v1/version")).keys()
    unknown = await visitor.refused("GET", "/v9/health")
    assert (400, "api_version_error") == (unknown.status, unknown.errors[0].code)


async def test_the_tokens_have_the_claims_of_the_reference(visitor: Client, settings: Settings) -> None:
    _, tokens = await visitor.logged_in("root")
    assert settings.jwt_secret is not None
    key = settings.jwt_secret.get_secret_value()

    access, refresh = (jwt.decode(token, key, ["HS256"]) for token in (tokens.access_token, tokens.refresh_token))

    assert (0, 1, "admin") == (access["typ"], refresh["typ"], access["roles"])
    assert (access["jti"], access["exp"]) == (refresh["prf"], refresh["pex"])
    assert all(type(claims[name]) is int for claims in (access, refresh) for name in ("iat", "exp"))
    assert access["sub"] == refresh["sub"] == str(UUID(access["sub"]))


async def test_a_session_from_login_to_logout(visitor: Client) -> None:
    """Requests without a body still have a media type."""
    caller, first = await visitor.logged_in("root")
    assert "message" in await caller.ask(dict[str, str], "GET", "/", content_type=JSON)

    second = await replace(caller, token=first.refresh_token).ask(Tokens, "POST", "/v1/auth/refresh", content_type=JSON)
    old = await caller.refused("GET", "/", content_type=JSON)
    now = replace(caller, token=second.access_token)
    alive = await now.send("GET", "/")
    out = await replace(caller, token=second.refresh_token).send("POST", "/v1/auth/logout", content_type=JSON)
    dead = await now.refused("GET", "/")

    assert (401, 200, 200, 401) == (old.status, alive.status, out.status, dead.status)
    assert "authentication_wrong_credentials" == dead.errors[0].code


async def test_revoking_and_cleaning_up(visitor: Client, admin: Client) -> None:
    user = await admin.ask(User, "POST", "/v1/users", new_user("carol", roles="admin"), content_type=JSON)
    carol, _ = await visitor.logged_in("carol")

    revoked = await admin.send("POST", "/v1/auth/revoke-user", {"user_id": str(user.id)}, content_type=JSON)
    dead = await carol.refused("GET", "/")
    again, _ = await visitor.logged_in("carol")  # within the same second
    everybody = await again.send("POST", "/v1/auth/revoke-all", content_type=JSON)
    nobody = await again.refused("GET", "/")
    last, _ = await visitor.logged_in("carol")
    cleaned = await last.ask(dict[str, int], "POST", "/v1/auth/cleanup", content_type=JSON)

    assert (200, 401, 200, 401) == (revoked.status, dead.status, everybody.status, nobody.status)
    assert {"deleted_tokens": 0} == cleaned  # none of them has expired


async def test_users_are_added_read_changed_listed_and_deleted(visitor: Client, admin: Client) -> None:
    """The samples' own bodies have no `active` and no `roles`."""
    sample = new_user("admin2")
    for member in ("active", "roles", "created_at", "updated_at"):
        del sample[member]
    path = f"/v1/users/{sample['id']}"

    added = await admin.ask(User, "POST", "/v1/users", sample, content_type=JSON)
    read = await admin.ask(User, "GET", path)
    caller, _ = await visitor.logged_in("admin2")
    renamed = {**sample, "username": "admin21", "email": "admin21@admin.com"}
    changed = await admin.ask(User, "PUT", path, renamed, content_type=JSON)
    still = await caller.send("GET", "/")
    listed = await admin.ask(list[User], "GET", "/v1/users")
    deleted = await admin.send("DELETE", path)
    gone = await admin.refused("GET", path)

    assert (added, "admin21", 200, 200) == (read, changed.username, still.status, deleted.status)
    assert changed in listed
    assert (404, "user_not_found", {"user_id": sample["id"]}) == (
        gone.status,
        gone.errors[0].code,
        gone.errors[0].detail,
    )


async def test_accounts_are_added_read_changed_and_listed(admin: Client) -> None:
    """An opening balance comes from `world`, which typed clients cannot decode."""
    account = await new_account(admin, 100)
    path = f"/v1/accounts/{account.id}"

    read = await admin.ask(Account, "GET", path)
    changed = await admin.ask(
        Account, "PUT", path, {**msgspec.to_builtins(read), "balance_cents": 200}, content_type=JSON
    )
    listed = await admin.ask(list[Account], "GET", "/v1/accounts")

    assert (account, 200) == (read, changed.balance_cents)
    assert [changed] == listed


async def test_transfers_are_sent_and_read_again(admin: Client) -> None:
    alice, bob = await new_account(admin, 100), await new_account(admin, 100)
    order = {"source_account_id": str(alice.id), "destination_account_id": str(bob.id), "amount_cents": 25}

    made = await admin.ask(Transaction, "POST", "/v1/transactions/transfer", order, content_type=JSON)
    found = await admin.ask(Transaction, "GET", f"/v1/transactions/{made.id}", content_type=JSON)
    balances = [(await admin.ask(Account, "GET", f"/v1/accounts/{one.id}")).balance_cents for one in (alice, bob)]

    assert (made, [75, 125]) == (found, balances)


async def test_transfers_are_refused_with_all_errors_in_the_order_of_the_reference(admin: Client) -> None:
    alice, bob = await new_account(admin, 100), await new_account(admin, 100)
    nobody, nothing = uuid4(), uuid4()
    tries = {
        (nobody, nothing, 100): ["transfer_source_account_not_found", "transfer_destination_account_not_found"],
        (nobody, nobody, 100): ["transfer_source_account_not_found", "transfer_accounts_are_same"],
        (alice.id, alice.id, 10): ["transfer_accounts_are_same"],
        (alice.id, bob.id, 500): ["transfer_insufficient_funds"],
        (alice.id, nothing, 500): ["transfer_insufficient_funds", "transfer_destination_account_not_found"],
    }

    for (source, destination, cents), codes in tries.items():
        order = {"source_account_id": str(source), "destination_account_id": str(destination), "amount_cents": cents}
        error = await admin.refused("POST", "/v1/transactions/transfer", order, content_type=JSON)

        assert (422, codes) == (error.status, [entry.code for entry in error.errors])
        assert ["validation_error"] * len(codes) == [entry.kind for entry in error.errors]

    missing = await admin.refused("GET", f"/v1/transactions/{nobody}")
    entry = missing.errors[0]
    assert (404, f"transaction not found: {nobody}") == (missing.status, entry.message)
    assert {"transaction_id": str(nobody)} == entry.detail
    assert None not in (entry.description, entry.help, entry.doc_url, entry.instance, entry.trace_id)


async def test_disabled_revocation_is_reported_in_the_words_of_the_reference(
    serve: Callable[[Settings], Awaitable[Api]], settings: Settings
) -> None:
    api = await serve(settings.model_copy(update={"jwt_enable_revoked_tokens": False}))
    assert api.token is not None

    error = await Client(api.client, api.token).refused("POST", "/v1/auth/cleanup", content_type=JSON)

    assert (400, "authentication_revoked_tokens_inactive") == (error.status, error.errors[0].code)
    assert "use of revoked tokens is inactive" == error.errors[0].message
