"""The one place that invents sample data, and a client that speaks the contract."""

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
CATALOGUED = frozenset({"description", "help", "doc_url"})  # members of an entry that follow from its code
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
    """What came back. `body` is the decoded JSON, or the text where it is none."""

    status: int
    body: Any
    headers: Any

    @property
    def codes(self) -> list[str]:
        """The codes of the errors, in order."""
        return [error["code"] for error in self.body["errors"]]

    @property
    def pointers(self) -> list[str]:
        """The members of the body that the errors point at, in order."""
        return [error["detail"]["pointer"] for error in self.body["errors"]]

    @property
    def parameters(self) -> list[str]:
        """The parameters that the errors name, each after the part of the request it is in."""
        return [f"{error['detail']['in']} {error['detail']['parameter']}" for error in self.body["errors"]]


@dataclass(frozen=True)
class Api:
    """A client of a running service, as one caller; `token` None calls as nobody."""

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
        """The same service as another caller."""
        answer = await self.nobody.post("/v1/auth/login", {"username": username, "password": password})
        assert answer.status == 200, answer
        return replace(self, token=answer.body["access_token"])

    @property
    def nobody(self) -> "Api":
        """The same service without a token."""
        return replace(self, token=None, user_id=None)

    async def new_user(self, **members: Any) -> dict[str, Any]:
        answer = await self.post("/v1/users", user_body(**members))
        assert answer.status == 201, answer
        return dict(answer.body)

    async def as_new_user(self, roles: str) -> "Api":
        """The same service as a new user with these roles."""
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
    """Start a service with these settings, and log its first admin in, unless told otherwise."""

    async def __call__(self, settings: Settings, *, logs_in: bool = True, **options: Any) -> Api: ...


class Clock:
    """A clock that stands still until it is moved on; all other clocks go on."""

    def __init__(self) -> None:
        self.now = int(time.time())

    def time(self) -> float:
        return self.now


def user_body(**members: Any) -> dict[str, Any]:
    """The body of a user whose names nobody has."""
    number = next(_numbers)
    return {
        "username": f"user-{number}",
        "email": f"user-{number}@example.com",
        "password": PASSWORD,
        "roles": "customer",
        **members,
    }


def transfer_body(source: Any, destination: Any, amount_cents: Any) -> dict[str, Any]:
    """The body of a transfer between two accounts, given by body or by id."""
    ids = [account["id"] if isinstance(account, dict) else account for account in (source, destination)]
    return {"source_account_id": ids[0], "destination_account_id": ids[1], "amount_cents": amount_cents}
