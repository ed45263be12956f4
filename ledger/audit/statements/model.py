"""A statement: its head, its lines, and what a format makes of them. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from ledger.audit.statements.naming import name_others
from ledger.money import decimal_text
from ledger.projections.statement_sums import Sums
from ledger.values.derived import derived_id
from ledger.values.timestamps import rfc3339

MAX_OTHERS = 3  # accounts on the other side that a line names
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Format(StrEnum):
    """The file formats of a statement."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"
    CAMT = "camt"


class StatementError(Exception):
    """A statement is not possible. The message is one sentence for the caller."""


class Holder(NamedTuple):
    """Who owned the account at the end of the statement, and what the account was called then."""

    user_id: UUID | None
    username: str | None
    code: str | None = None
    name: str | None = None


class Statement(NamedTuple):
    """The head of a statement. `first` is `FIRST` if the statement begins with the account.

    `position` is that of the log at which the statement was known; `digits` are the decimal places of the currency.
    """

    account_id: UUID
    holder: Holder
    currency: str
    digits: int
    by_effective_time: bool
    first: datetime
    last: datetime
    created_at: datetime
    position: int
    opening_cents: int
    closing_cents: int
    sums: Sums

    @property
    def id(self) -> UUID:
        """Return an id that follows from what the statement contains."""
        order = "effective" if self.by_effective_time else "recorded"
        period = f"{rfc3339(self.first)}:{rfc3339(self.last)}"
        return derived_id("statement", f"{self.account_id}:{order}:{period}:{self.position}")

    @property
    def line_count(self) -> int:
        """Return the number of lines."""
        return self.sums.credits + self.sums.debits

    def amount(self, cents: int) -> str:
        """Return an amount in units of the currency, with all its decimal places."""
        return decimal_text(cents, self.digits)

    def name_others(self, line: dict[str, Any]) -> str:
        """Return what people call all accounts on the other side of a line."""
        return name_others(line, self.currency)

    def counts_at(self, line: dict[str, Any]) -> datetime:
        """Return the time by which a line is in order."""
        counted: datetime = line["effective_at"] if self.by_effective_time else line["created_at"]
        return counted


Lines = Sequence[dict[str, Any]]


class Writer(Protocol):
    """Makes text of a statement in one format: its begin, some of its lines at a time, and its end."""

    def begin(self, statement: Statement) -> str:
        """Return the begin of a statement."""

    def write(self, statement: Statement, lines: Lines, *, is_first: bool) -> str:
        """Return the next lines of a statement."""

    def end(self, statement: Statement) -> str:
        """Return the end of a statement."""
