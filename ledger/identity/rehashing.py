"""Hash passwords again, after a login, whose hashes have other parameters than new ones get.

Only a login has the password. The response does not wait for the new hash: the work is queued, in bounded memory, and
is left to a later login if the queue is full or the work fails.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from ledger.commands.command import Command, Credential
from ledger.commands.users import RehashPassword
from ledger.errors import LedgerError
from ledger.identity.passwords import Passwords
from ledger.store.connections import UNREACHABLE

QUEUE_LIMIT = 16

log = structlog.get_logger(__name__)


class Rehasher:
    """Replaces outdated hashes with commands, which `submit` executes."""

    def __init__(self, passwords: Passwords, submit: Callable[[Command], Awaitable[object]]) -> None:
        self._passwords = passwords
        self._submit = submit
        self._waiting: asyncio.Queue[tuple[Credential, str]] = asyncio.Queue(QUEUE_LIMIT)

    def note(self, credential: Credential, password: str) -> None:
        """Queue a credential for a new hash if its hash is outdated. The password is the right one."""
        if self._passwords.is_outdated(credential):
            with suppress(asyncio.QueueFull):
                self._waiting.put_nowait((credential, password))

    async def follow(self) -> None:
        """Replace hashes until cancelled."""
        while True:
            credential, password = await self._waiting.get()
            try:
                await self._replace(credential, password)
            except (LedgerError, *UNREACHABLE) as error:
                log.warning("a password is not hashed again", reason=type(error).__name__)
            except Exception:  # this task must not end: later logins need it
                log.exception("a password is not hashed again")

    async def _replace(self, credential: Credential, password: str) -> None:
        new = Credential(credential.id, credential.user_id, await self._passwords.hash(password))
        await self._submit(RehashPassword(credential.user_id, new))
