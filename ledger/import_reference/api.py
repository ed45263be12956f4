"""Read users and accounts from the reference's HTTP API as an admin. The API lists no transactions."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

import aiohttp
import msgspec

from ledger.import_reference.source import Account, ReferenceUnusableError, Transaction, User

T = TypeVar("T")

CONNECT_SECONDS, READ_SECONDS = 10, 60
MAX_RESPONSE_BYTES = 256 * 1024 * 1024


class _Tokens(msgspec.Struct):
    access_token: str


class _User(msgspec.Struct):
    id: UUID
    username: str
    email: str
    password_hash: str
    active: bool
    roles: str
    created_at: str | None = None


class _Account(msgspec.Struct):
    id: UUID
    user_id: UUID
    balance_cents: int
    created_at: str | None = None


class ReferenceApi:
    """The reference's API, with the token of an admin."""

    lists_transactions = False

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._token = token

    async def accounts(self) -> list[Account]:
        """Return all accounts, oldest first."""
        listed = await self._get("/v1/accounts", list[_Account])
        found = [Account(row.id, row.user_id, row.balance_cents, _parse_date(row.created_at)) for row in listed]
        return sorted(found, key=lambda account: (account.created_at or _FIRST, account.id))

    async def users(self) -> list[User]:
        """Return all users, oldest first."""
        listed = await self._get("/v1/users", list[_User])
        listed.sort(key=lambda user: (_parse_date(user.created_at) or _FIRST, user.id))
        return [User(row.id, row.username, row.email, row.password_hash, row.active, row.roles) for row in listed]

    async def count_transactions(self) -> int:
        """Return 0: the API lists no transactions."""
        return 0

    async def transactions(self) -> AsyncIterator[Sequence[Transaction]]:
        """Yield nothing."""
        nothing: tuple[Sequence[Transaction], ...] = ()
        for chunk in nothing:
            yield chunk

    async def _get(self, path: str, kind: type[T]) -> T:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._session.get(self._url + path, headers=headers, allow_redirects=False) as response:
            return _decode(path, response.status, await _read_body(response), kind)


@asynccontextmanager
async def open_api(url: str, username: str, secret: str, salt: str | None) -> AsyncIterator[ReferenceApi]:
    """Log in to the API. Raises `ReferenceUnusableError`, also while the context lasts.

    The secret is what the reference's clients send as `password_hash`. With a salt, it is the password that such a
    client hashes together with the salt.
    """
    if salt is not None:
        secret = hashlib.sha256((secret + salt).encode()).hexdigest()
    url = url.rstrip("/")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            login = {"username": username, "password_hash": secret}
            async with session.post(f"{url}/v1/auth/login", json=login, allow_redirects=False) as response:
                tokens = _decode("/v1/auth/login", response.status, await _read_body(response), _Tokens)
            yield ReferenceApi(session, url, tokens.access_token)
    except aiohttp.InvalidURL as error:
        raise ReferenceUnusableError("the reference's URL cannot be used") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        detail = " ".join(str(error).split()) or "no response in time"
        raise ReferenceUnusableError(f"the reference cannot be reached: {detail}") from error


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > MAX_RESPONSE_BYTES:
            raise ReferenceUnusableError(f"{response.url.path}: the response is larger than {MAX_RESPONSE_BYTES} bytes")
    return bytes(chunks)


def _decode(path: str, status: int, body: bytes, kind: type[T]) -> T:
    if status != HTTPStatus.OK:
        raise ReferenceUnusableError(f"the reference responds to {path} with {status}{_explain(body)}")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReferenceUnusableError(f"{path} is not a response of the reference: {error}") from error


def _explain(body: bytes) -> str:
    """Return the code and message in the body of an error, or nothing if the reference did not send it."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
        first: Any = msgspec.json.decode(body)["errors"][0]
        return f" {first['code']}: {first['message']}"
    return ""


_FIRST = datetime.min.replace(tzinfo=UTC)


def _parse_date(text: str | None) -> datetime | None:
    """Return a date in UTC, which is the zone of a text without one; None if Python cannot represent it."""
    if text is None:
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
