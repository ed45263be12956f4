"""Sample request bodies, and an HTTP client that checks every response against the document."""

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from aiohttp.test_utils import TestClient

from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support import conformity

ADMIN_PASSWORD = "the-admin's-password"
PASSWORD = "a user's password"
CATALOGUED = frozenset({"description", "help", "doc_url"})  # members of an error that depend on its code alone
NOBODY = "018f0000-0000-7000-8000-000000000000"

_numbers = itertools.count(1)

__all__ = [
    "ADMIN_PASSWORD",
    "CATALOGUED",
    "NOBODY",
    "PASSWORD",
    "Api",
    "Clock",
    "Response",
    "Serve",
    "new_id",
    "transfer_body",
    "user_body",
]


class Response(NamedTuple):
    """An HTTP response. `body` is the decoded JSON, or the text if it is not JSON."""

    status: int
    body: Any
    headers: Any

    @property
    def codes(self) -> list[str]:
        """Return the codes of the errors, in order."""
        return [error["code"] for error in self.body["errors"]]

    @property
    def pointers(self) -> list[str]:
        """Return the JSON pointers of the errors, in order."""
        return [error["detail"]["pointer"] for error in self.body["errors"]]

    @property
    def parameters(self) -> list[str]:
        """Return the parameters that the errors name, each as its location and name."""
        return [f"{error['detail']['in']} {error['detail']['parameter']}" for error in self.body["errors"]]


@dataclass(frozen=True)
class Api:
    """A client of a running service, as one caller; without a token if `token` is None."""

    client: TestClient[Any, Any]
    token: str | None = None
    user_id: str | None = None

    async def call(self, method: str, path: str, json: Any = None, **options: Any) -> Response:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        async with self.client.request(method, path, json=json, headers=headers, **options) as response:
            is_json = response.content_type.endswith("json")
            body = await response.json() if is_json else await response.text()
            conformity.check(method, response.url.raw_path, response.status, response.headers, body)
            return Response(response.status, body, response.headers)

    async def get(self, path: str, **options: Any) -> Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Response:
        return await self.call("POST", path, json, **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> Response:
        return await self.call("PUT", path, json, **options)

    async def patch(self, path: str, json: Any = None, **options: Any) -> Response:
        return await self.call("PATCH", path, json, **options)

    async def delete(self, path: str, **options: Any) -> Response:
        return await self.call("DELETE", path, **options)

    async def logged_in(self, username: str, password: str = PASSWORD) -> "Api":
        """Log in and return a client with the new token."""
        answer = await self.nobody.post("/v1/auth/login", {"username": username, "password": password})
        assert answer.status == 200, answer
        return replace(self, token=answer.body["access_token"])

    @property
    def nobody(self) -> "Api":
        """Return a client without a token."""
        return replace(self, token=None, user_id=None)

    async def new_user(self, **members: Any) -> dict[str, Any]:
        answer = await self.post("/v1/users", user_body(**members))
        assert answer.status == 201, answer
        return dict(answer.body)

    async def as_new_user(self, roles: str) -> "Api":
        """Create a user with these roles and return a client with their token."""
        user = await self.new_user(roles=roles)
        return replace(await self.logged_in(user["username"]), user_id=user["id"])

    async def new_account(self, user_id: str | None = None, balance_cents: int = 0, **members: Any) -> dict[str, Any]:
        owner = user_id or (await self.new_user())["id"]
        answer = await self.post("/v1/accounts", {"user_id": owner, "balance_cents": balance_cents, **members})
        assert answer.status == 201, answer
        return dict(answer.body)

    async def balance(self, account: dict[str, Any]) -> int:
        answer = await self.get(f"/v1/accounts/{account['id']}")
        assert answer.status == 200, answer
        return int(answer.body["balance_cents"])

    async def transfer(self, source: Any, destination: Any, amount_cents: Any, **options: Any) -> Response:
        return await self.post("/v1/transactions/transfer", transfer_body(source, destination, amount_cents), **options)


class Serve(Protocol):
    """Start a service with these settings; log in as its first admin if `logs_in`."""

    async def __call__(self, settings: Settings, *, logs_in: bool = True, **options: Any) -> Api: ...


class Clock:
    """A clock that stands still until a test sets `now`; other clocks keep running."""

    def __init__(self) -> None:
        self.now = int(time.time())

    def time(self) -> float:
        return self.now


def user_body(**members: Any) -> dict[str, Any]:
    """Return the body of a user with unused names."""
    number = next(_numbers)
    return {
        "username": f"user-{number}",
        "email": f"user-{number}@example.com",
        "password": PASSWORD,
        "roles": "customer",
        **members,
    }


def transfer_body(source: Any, destination: Any, amount_cents: Any) -> dict[str, Any]:
    """Return the body of a transfer between two accounts, given as bodies or ids."""
    ids = [account["id"] if isinstance(account, dict) else account for account in (source, destination)]
    return {"source_account_id": ids[0], "destination_account_id": ids[1], "amount_cents": amount_cents}
