"""The rows of the reference service, whether they are read from its database or its API."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ledger.errors import LedgerError


class ReferenceUnusableError(LedgerError):
    """The reference cannot be read, or an option names something that it lacks. The text has one line, no secrets."""


@dataclass(frozen=True, slots=True)
class User:
    """A row of its users. `password_hash` is the secret that its clients send to log in."""

    id: UUID
    username: str
    email: str
    password_hash: str = field(repr=False)
    active: bool
    roles: str


@dataclass(frozen=True, slots=True)
class Account:
    """A row of its accounts. The date is in UTC, and None if it lies outside the years 1 to 9999."""

    id: UUID
    user_id: UUID
    balance_cents: int
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A row of its transactions, with a date like that of an account."""

    id: UUID
    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    created_at: datetime | None


class Reference(Protocol):
    """The reference at one point in time, as far as the way it is read allows that."""

    @property
    def lists_transactions(self) -> bool:
        """Whether its transactions can be read."""

    async def accounts(self) -> list[Account]:
        """Return all accounts, oldest first. Raises `ReferenceUnusableError`, as the others do."""

    async def users(self) -> list[User]:
        """Return all users, oldest first."""

    async def count_transactions(self) -> int:
        """Return the number of transactions."""

    def transactions(self) -> AsyncIterator[Sequence[Transaction]]:
        """Yield all transactions in chunks, oldest first; each call yields the same."""
