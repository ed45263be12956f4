"""The models of the response with a statement."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from ledger.money import MAX_DIGITS
from web.response_fields import Answer, Cents, Currency, Id, Position, PositiveSum, PositiveSumText, Time
from web.responses import Entry

Count = Annotated[int, Meta(ge=0, examples=[3])]


class OtherAccount(Answer, frozen=True):
    """An account on the other side of an entry; its code and name are there if the caller may read them."""

    id: Id
    code: Annotated[str, Meta(examples=["assets:bank:main"])] | UnsetType = UNSET
    name: Annotated[str, Meta(examples=["Main bank account"])] | UnsetType = UNSET


class StatementLine(Entry, frozen=True, kw_only=True):
    """A line of a statement: an entry, with the balance after it in the order of the statement."""

    other_accounts: Annotated[list[OtherAccount], Meta(max_length=3, description="The first of the other accounts")]
    other_account_count: Annotated[int, Meta(ge=0, description="How many the caller may see", examples=[1])]


class Statement(Answer, frozen=True, kw_only=True):
    """The statement of an account for a period, whose opening balance, credits and debits give the closing balance.

    It shows what was known at a position of the log. Sums can be larger than any balance: a sum beyond 2^53 - 1 is
    null as an integer, and as text it is always there.
    """

    id: Id
    account_id: Id
    user_id: Annotated[Id, Meta(description="The owner at the end of the period")] | UnsetType = UNSET
    username: Annotated[str, Meta(examples=["alice"])] | UnsetType = UNSET
    code: Annotated[str, Meta(examples=["assets:bank:main"])] | UnsetType = UNSET
    name: Annotated[str, Meta(examples=["Main bank account"])] | UnsetType = UNSET
    currency: Currency
    digits: Annotated[int, Meta(ge=0, le=MAX_DIGITS, description="Decimal places of the currency", examples=[2])]
    by: Literal["recorded", "effective"]
    from_time: Annotated[Time | None, Meta(description="Null if the statement begins with the account")]
    to_time: Time
    created_at: Time
    position: Position
    opening_balance_cents: Cents
    closing_balance_cents: Cents
    credit_cents: PositiveSum
    credit_cents_text: PositiveSumText
    debit_cents: PositiveSum
    debit_cents_text: PositiveSumText
    credits: Count
    debits: Count
    lines: list[StatementLine]
