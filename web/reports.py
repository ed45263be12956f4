"""The models of responses about sums of balances and the reports of accountants."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from ledger.audit.reports import LineKind, SectionName
from ledger.audit.sums import GroupKind
from ledger.events.account_labels import MAX_NAME_LENGTH
from ledger.money import MAX_CENTS, MAX_DIGITS
from ledger.values.account_codes import CODE_PATTERN, MAX_CODE_LENGTH
from web.response_fields import Answer, CountedBy, Currency, PositiveSum, PositiveSumText, Time

Sum = Annotated[int, Meta(ge=-MAX_CENTS, le=MAX_CENTS, examples=[2500])] | None
SumText = Annotated[str, Meta(pattern="^(0|-?[1-9][0-9]*)$", examples=["2500"])]
At = Annotated[int, Meta(ge=0, description="The position in the log", examples=[42])]
Count = Annotated[int, Meta(ge=0, description="How many accounts are summed up", examples=[3])]
Below = Annotated[int, Meta(ge=0, description="How many of them have a longer code", examples=[2])]
Digits = Annotated[int, Meta(ge=0, le=MAX_DIGITS, description="The decimal places of an amount", examples=[2])]
Code = Annotated[
    str,
    Meta(
        pattern=CODE_PATTERN,
        max_length=MAX_CODE_LENGTH,
        description="The code, or the beginning of the codes, of these accounts",
        examples=["assets:bank"],
    ),
]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="The name of the account, if it is one account",
        examples=["Main account"],
    ),
]
Level = Annotated[int, Meta(ge=0, description="How many subtotals the line is part of", examples=[0])]
GroupName = Annotated[
    GroupKind,
    Meta(
        description="`coded`: accounts with codes; `uncoded`: those without; `world`: the ledger's own",
        examples=["coded"],
    ),
]
LineGroup = Annotated[
    LineKind,
    Meta(
        description=(
            "`coded`: accounts with codes; `uncoded`: those without; `world`: the ledger's own; "
            "`result`: income less expenses so far"
        ),
        examples=["coded"],
    ),
]
InSection = Annotated[SectionName, Meta(description="`untyped`: the accounts without a type", examples=["assets"])]


class GroupBalance(Answer, frozen=True):
    """The balances of the accounts whose codes begin alike, in one currency.

    `debit_cents` sums up the negative balances, and `credit_cents` the positive ones, as in the trial balance. A sum
    beyond 2^53 - 1 is null as an integer; as text it is always there.
    """

    group: GroupName
    currency: Currency
    accounts: Count
    accounts_below: Below
    debit_cents: PositiveSum
    credit_cents: PositiveSum
    sum_cents: Sum
    debit_cents_text: PositiveSumText
    credit_cents_text: PositiveSumText
    sum_cents_text: SumText
    code: Code | UnsetType = UNSET
    name: Name | UnsetType = UNSET


class GroupBalances(Answer, frozen=True):
    """The sums of balances by code at a position of the log."""

    position: At
    balances: list[GroupBalance]
    effective_at: CountedBy | UnsetType = UNSET


class SidesLine(Answer, frozen=True):
    """A line of a trial balance: a group of accounts, or the subtotal of the lines below it."""

    group: LineGroup
    level: Level
    is_subtotal: bool
    accounts: Count
    debit_cents: PositiveSum
    credit_cents: PositiveSum
    debit_cents_text: PositiveSumText
    credit_cents_text: PositiveSumText
    code: Code | UnsetType = UNSET
    name: Name | UnsetType = UNSET


class SidesSection(Answer, frozen=True):
    """The accounts of one type in a trial balance, with their totals."""

    section: InSection
    lines: list[SidesLine]
    debit_cents: PositiveSum
    credit_cents: PositiveSum
    debit_cents_text: PositiveSumText
    credit_cents_text: PositiveSumText


class TrialBalanceBooks(Answer, frozen=True):
    """The trial balance in one currency. It balances if debits and credits have the same total."""

    currency: Currency
    digits: Digits
    accounts: Count
    balanced: bool
    sections: list[SidesSection]
    debit_cents: PositiveSum
    credit_cents: PositiveSum
    debit_cents_text: PositiveSumText
    credit_cents_text: PositiveSumText


class TrialBalanceReport(Answer, frozen=True):
    """The trial balance by account, as accountants read it: a positive balance is a debit."""

    position: At
    balanced: bool
    currencies: list[TrialBalanceBooks]
    effective_at: CountedBy | UnsetType = UNSET


class StatementLine(Answer, frozen=True):
    """A line of a balance sheet or an income statement: a group, the result, or the subtotal of the lines below it.

    `previous_cents` is the amount of the period to compare.
    """

    group: LineGroup
    level: Level
    is_subtotal: bool
    accounts: Count
    amount_cents: Sum
    amount_cents_text: SumText
    previous_cents: Sum | UnsetType = UNSET
    previous_cents_text: SumText | UnsetType = UNSET
    code: Code | UnsetType = UNSET
    name: Name | UnsetType = UNSET


class StatementSection(Answer, frozen=True):
    """The accounts of one type in a balance sheet or an income statement, with their total."""

    section: InSection
    lines: list[StatementLine]
    amount_cents: Sum
    amount_cents_text: SumText
    previous_cents: Sum | UnsetType = UNSET
    previous_cents_text: SumText | UnsetType = UNSET


class BalanceSheetBooks(Answer, frozen=True):
    """The balance sheet in one currency. It balances if the difference is 0.

    The difference is assets, with the accounts without a type, less liabilities and equity. Equity includes the result.
    """

    currency: Currency
    digits: Digits
    accounts: Count
    balanced: bool
    sections: list[StatementSection]
    assets_cents: Sum
    untyped_cents: Sum
    liabilities_cents: Sum
    equity_cents: Sum
    result_cents: Sum
    difference_cents: Sum
    assets_cents_text: SumText
    untyped_cents_text: SumText
    liabilities_cents_text: SumText
    equity_cents_text: SumText
    result_cents_text: SumText
    difference_cents_text: SumText


class BalanceSheet(Answer, frozen=True):
    """The balance sheet: assets, liabilities and equity, with the result so far in equity."""

    position: At
    balanced: bool
    currencies: list[BalanceSheetBooks]
    effective_at: CountedBy | UnsetType = UNSET


class ReportPeriod(Answer, frozen=True):
    """A period, both ends included; an absent end is open."""

    from_: Time | UnsetType = field(default=UNSET, name="from")
    to: Time | UnsetType = UNSET


class IncomeStatementBooks(Answer, frozen=True):
    """The income statement in one currency. The result is income less expenses; accounts without a type are no part."""

    currency: Currency
    digits: Digits
    accounts: Count
    sections: list[StatementSection]
    income_cents: Sum
    expenses_cents: Sum
    untyped_cents: Sum
    result_cents: Sum
    income_cents_text: SumText
    expenses_cents_text: SumText
    untyped_cents_text: SumText
    result_cents_text: SumText
    previous_income_cents: Sum | UnsetType = UNSET
    previous_expenses_cents: Sum | UnsetType = UNSET
    previous_untyped_cents: Sum | UnsetType = UNSET
    previous_result_cents: Sum | UnsetType = UNSET
    previous_income_cents_text: SumText | UnsetType = UNSET
    previous_expenses_cents_text: SumText | UnsetType = UNSET
    previous_untyped_cents_text: SumText | UnsetType = UNSET
    previous_result_cents_text: SumText | UnsetType = UNSET


class IncomeStatement(Answer, frozen=True):
    """The income statement of a period: income, expenses and the result."""

    position: At
    by: Literal["recorded", "effective"]
    period: ReportPeriod
    currencies: list[IncomeStatementBooks]
    previous_period: ReportPeriod | UnsetType = UNSET
