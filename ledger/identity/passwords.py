"""Passwords: hashed with argon2id, and kept in a table outside the log. They are never stored in clear text.

A login with a hash that was swapped in the table is refused: the events have the digest of the genuine one.

Hashing is the only slow work that clients can request without a token. It has its own threads and queue, both bounded,
so that a flood of logins does not slow down other requests.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar
from uuid import UUID

import structlog
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from ledger.commands.command import Credential
from ledger.errors import OverloadedError
from ledger.events import Recorded
from ledger.events.users import UserDeleted, username_stream
from ledger.identity.password_rules import PasswordRules
from ledger.store import credentials as stored_credentials
from ledger.store.connections import Reader
from ledger.store.credentials import StoredCredential
from ledger.store.statements import Statement, columns, texts, uuids

T = TypeVar("T")

log = structlog.get_logger(__name__)

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024

# OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, 2 passes, 1 lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)


@cache
def _create_decoy() -> str:
    """Return a hash that no user has, to verify against where there is no user, which then takes as long."""
    return _HASHER.hash("")


class Passwords:
    """Checks, hashes and verifies passwords in `threads` threads.

    Raises `OverloadedError` if `queue_limit` calls wait.
    """

    def __init__(self, *, queue_limit: int, threads: int = 2, rules: PasswordRules | None = None) -> None:
        self._rules = rules or PasswordRules()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._queue_limit = queue_limit
        self._waiting = 0
        self._swapped = 0
        _create_decoy()  # cached now, so that the first login of an unknown user takes no longer

    def close(self) -> None:
        """Cancel what waits, and wait for the hashes that are being computed."""
        self._pool.shutdown(cancel_futures=True)
        self._rules.close()

    async def check_password(self, password: str, names: Iterable[str]) -> None:
        """Raise `ValueError` if a user with these names may not choose the password."""
        await self._run(lambda: self._rules.check_password(password, names))

    async def check_digest(self, digest: str, names: Iterable[str]) -> None:
        """Raise `ValueError` if a client may not send this digest as the secret of a user with these names."""
        await self._run(lambda: self._rules.check_digest(digest, names))

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of a password as a PHC string."""
        return await self._run(lambda: _HASHER.hash(password))

    async def verify(self, credential: Credential | None, password: str) -> bool:
        """Return whether the credential is of this password. Takes as long without one, or with a swapped hash."""
        if credential is not None and not credential.is_genuine:
            self._note_swapped(credential)
            credential = None
        stored_hash = credential.hash if credential else ""
        return await self._run(lambda: _matches(stored_hash or _create_decoy(), password)) and bool(stored_hash)

    def is_outdated(self, credential: Credential) -> bool:
        """Return whether the hash of a verified credential has other parameters than new hashes get."""
        return _HASHER.check_needs_rehash(credential.hash)

    def take_swapped(self) -> int:
        """Return how many passwords were refused, since the last call, because the stored hash was swapped."""
        swapped, self._swapped = self._swapped, 0
        return swapped

    def _note_swapped(self, credential: Credential) -> None:
        self._swapped += 1
        log.error(
            "a stored password hash is not the one that the events name, and is refused: run `ledger audit verify`",
            user_id=str(credential.user_id),
        )

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._queue_limit:
            raise OverloadedError("too many passwords wait to be hashed")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def _matches(stored_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def store(credentials: Sequence[Credential], events: Iterable[Recorded]) -> list[Statement]:
    """Return statements that replace the credentials of users, and delete those of deleted users."""
    deleted = [row.stream_id for row in events if isinstance(row.event, UserDeleted)]
    kept = {credential.user_id: credential for credential in credentials}
    values = (uuids(kept), uuids(row.id for row in kept.values()), texts(row.hash for row in kept.values()))
    return [
        *([Statement(_UPSERT, values)] if kept else []),
        *([Statement(_DELETE, (uuids(deleted),))] if deleted else []),
    ]


_UPSERT = f"""INSERT INTO credentials (user_id, id, hash) SELECT * FROM {columns("uuid", "uuid", "text")}
              ON CONFLICT (user_id) DO UPDATE SET id = excluded.id, hash = excluded.hash"""
_DELETE = "DELETE FROM credentials WHERE user_id = ANY($1::uuid[])"


async def read_credential(reader: Reader, user_id: UUID) -> Credential | None:
    """Return the current credential of a user, or None."""
    return _to_credential((await stored_credentials.read_credentials(reader, [user_id])).get(user_id))


async def find_credential(reader: Reader, username: str) -> Credential | None:
    """Return the current credential of the user with this name, or None."""
    return _to_credential(await stored_credentials.find_credential(reader, username_stream(username)))


def _to_credential(stored: StoredCredential | None) -> Credential | None:
    return stored and Credential(stored.id, stored.user_id, stored.hash, stored.is_genuine)
