"""The models of requests and responses about reconciliations with statements of banks."""

from datetime import date
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from pydantic import Field

from ledger.commands.reconciliations import MAX_LINES
from ledger.events.reconciliations import By
from web.body import Body, describe
from web.fields import Balance, Currency, Description, Id, Reference, SignedCents
from web.periods import Day
from web.response_fields import Answer, Cents, Text, Time, Version
from web.response_fields import Id as AnsweredId
from web.response_fields import Reference as AnsweredReference

MAX_WINDOW_DAYS = 90
_LINE = {"day": "2026-05-01", "amount_cents": 125_000, "reference": "2026050100001", "end_to_end_id": "INV-7"}
_BALANCE = {"day": "2026-05-31", "balance_cents": 225_000}

AnsweredDay = Annotated[date, Meta(description="A day in UTC", examples=["2026-05-01"])]
LineNumber = Annotated[int, Meta(ge=0, description="The number of a line in the request, from 0", examples=[0])]
Count = Annotated[int, Meta(ge=0, examples=[12])]


class StatementLine(Body):
    """A line of a statement. Money that comes in has a positive amount; `reference` is the bank's own of this line."""

    day: Day
    amount_cents: SignedCents
    reference: Description | None = None
    end_to_end_id: Description | None = None
    description: Description | None = None


class StatementBalance(Body):
    """A balance on a statement, with its day."""

    day: Day
    balance_cents: Balance


class NewReconciliation(Body):
    """`POST /accounts/{id}/reconciliation`. A statement of the account's bank: it has a line or a closing balance.

    A line and an entry can be the same if their days are at most `window_days` apart. `source` identifies the
    statement, so that its reconciliations can be undone together.
    """

    model_config = describe({"source": "may.xml", "closing": _BALANCE, "lines": [_LINE]})

    lines: Annotated[list[StatementLine], Field(default=[], max_length=MAX_LINES)]
    opening: StatementBalance | None = None
    closing: StatementBalance | None = None
    currency: Currency | None = None
    source: Reference | None = None
    window_days: Annotated[int, Field(ge=0, le=MAX_WINDOW_DAYS)] = 3


class UndoneReconciliation(Body):
    """`POST /accounts/{id}/reconciliation/undo`. The reconciliation with this id, or all with this source."""

    model_config = describe({"source": "may.xml"})

    id: Id | None = None
    source: Reference | None = None


class MatchedLine(Answer, frozen=True, kw_only=True):
    """A line that is an entry now, and what they have in common beside the amount."""

    line: LineNumber
    entry_version: Version
    transaction_id: AnsweredId
    by: By


class KnownLine(Answer, frozen=True, kw_only=True):
    """A line that an earlier reconciliation has matched with an entry."""

    line: LineNumber
    entry_version: Version
    reconciliation_id: AnsweredId


class ComparedEntry(Answer, frozen=True, kw_only=True):
    """An entry that is not matched with a line of this statement.

    One with a `reconciliation_id` is matched with another line, of the same day and amount.
    """

    entry_version: Version
    transaction_id: AnsweredId
    day: AnsweredDay
    amount_cents: Cents
    reference: AnsweredReference | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    reconciliation_id: AnsweredId | UnsetType = UNSET


class AmbiguousLines(Answer, frozen=True, kw_only=True):
    """Lines that could be any of some entries. None of them is matched."""

    lines: list[LineNumber]
    entries: list[ComparedEntry]


class ComparedBalance(Answer, frozen=True, kw_only=True):
    """A balance of the statement, beside that of the account at the end of a day, by effective times."""

    day: AnsweredDay
    statement_cents: Cents
    ledger_cents: Cents
    difference_cents: Annotated[int, Meta(description="The ledger's balance minus the statement's", examples=[0])]


class ReconciliationReport(Answer, frozen=True, kw_only=True):
    """The outcome of each line of a statement, and the entries that it lacks. Without a new match, it has no `id`."""

    account_id: AnsweredId
    first_day: AnsweredDay
    last_day: AnsweredDay
    matched: list[MatchedLine]
    reconciled_before: list[KnownLine]
    repeated: Annotated[list[LineNumber], Meta(description="Lines that the statement has twice")]
    missing_in_ledger: Annotated[list[LineNumber], Meta(description="Lines that no entry can be")]
    missing_in_statement: Annotated[list[ComparedEntry], Meta(description="Entries that no line can be")]
    ambiguous: list[AmbiguousLines]
    created_at: Time
    id: AnsweredId | UnsetType = UNSET
    opening: ComparedBalance | UnsetType = UNSET
    closing: ComparedBalance | UnsetType = UNSET


class Reconciliation(Answer, frozen=True, kw_only=True):
    """A reconciliation of an account with a statement, and how many entries it has matched with lines."""

    id: AnsweredId
    account_id: AnsweredId
    first_day: AnsweredDay
    last_day: AnsweredDay
    matched: Count
    created_at: Time
    source: AnsweredReference | UnsetType = UNSET
    opening_balance_cents: Cents | UnsetType = UNSET
    closing_balance_cents: Cents | UnsetType = UNSET
    undone_at: Time | UnsetType = UNSET


class UndoneReconciliations(Answer, frozen=True, kw_only=True):
    """The reconciliations that were undone, and how many entries can be matched again."""

    undone: list[AnsweredId]
    entries: Count
    undone_at: Time
