"""Reads the reference's HTTP API as an admin: its users and accounts. The API lists no transactions."""

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

CONNECT_SECONDS, SILENCE_SECONDS = 10, 60
MAX_ANSWER_BYTES = 256 * 1024 * 1024


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
        found = [Account(row.id, row.user_id, row.balance_cents, _date(row.created_at)) for row in listed]
        return sorted(found, key=lambda account: (account.created_at or _FIRST, account.id))

    async def users(self) -> list[User]:
        """Return all users, oldest first."""
        listed = await self._get("/v1/users", list[_User])
        listed.sort(key=lambda user: (_date(user.created_at) or _FIRST, user.id))
        return [User(row.id, row.username, row.email, row.password_hash, row.active, row.roles) for row in listed]

    async def count_transactions(self) -> int:
        """Return 0: there are none to read."""
        return 0

    async def transactions(self) -> AsyncIterator[Sequence[Transaction]]:
        """Yield nothing."""
        nothing: tuple[Sequence[Transaction], ...] = ()
        for piece in nothing:
            yield piece

    async def _get(self, path: str, kind: type[T]) -> T:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._session.get(self._url + path, headers=headers, allow_redirects=False) as response:
            return _decoded(path, response.status, await _body(response), kind)


@asynccontextmanager
async def open_api(url: str, username: str, secret: str, salt: str | None) -> AsyncIterator[ReferenceApi]:
    """Log in. Raises `ReferenceUnusableError`, in the context as well.

    The secret is what the reference's clients send as `password_hash`. With a salt, it is the password that such a
    client hashes with it.
    """
    if salt is not None:
        secret = hashlib.sha256((secret + salt).encode()).hexdigest()
    url = url.rstrip("/")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            login = {"username": username, "password_hash": secret}
            async with session.post(f"{url}/v1/auth/login", json=login, allow_redirects=False) as response:
                tokens = _decoded("/v1/auth/login", response.status, await _body(response), _Tokens)
            yield ReferenceApi(session, url, tokens.access_token)
    except aiohttp.InvalidURL as error:
        raise ReferenceUnusableError("the reference's URL cannot be used") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        said = " ".join(str(error).split()) or "no answer in time"
        raise ReferenceUnusableError(f"the reference cannot be reached: {said}") from error


async def _body(response: aiohttp.ClientResponse) -> bytes:
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > MAX_ANSWER_BYTES:
            raise ReferenceUnusableError(f"{response.url.path}: the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(pieces)


def _decoded(path: str, status: int, body: bytes, kind: type[T]) -> T:
    if status != HTTPStatus.OK:
        raise ReferenceUnusableError(f"the reference answers {path} with {status}{_why(body)}")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReferenceUnusableError(f"{path} is not what the reference answers: {error}") from error


def _why(body: bytes) -> str:
    """Return what the body of an error says, if it is one of the reference's."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
        first: Any = msgspec.json.decode(body)["errors"][0]
        return f" {first['code']}: {first['message']}"
    return ""


_FIRST = datetime.min.replace(tzinfo=UTC)


def _date(text: str | None) -> datetime | None:
    """Return the date of a text without a zone, which means UTC; None if Python has no value for it."""
    if text is None:
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
