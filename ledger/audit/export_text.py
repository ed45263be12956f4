"""What an export contains, and its rows as JSON Lines and CSV. Pure.

A row is a transaction, or a balance that is brought forward from before the exported period.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

import msgspec

from ledger.events.account_labels import AccountType
from ledger.events.accounts import world_account_id
from ledger.money import Assets
from ledger.projections import transactions
from ledger.values.spreadsheets import protect_cell
from ledger.values.timestamps import rfc3339

BROUGHT_FORWARD = "brought_forward"


class Currency(NamedTuple):
    """A currency or an asset of the ledger, with the time of its first account."""

    code: str
    created_at: datetime


class Account(NamedTuple):
    """An account that an exported transaction names."""

    id: UUID
    user_id: UUID | None
    username: str | None
    currency: str
    created_at: datetime
    code: str | None = None
    name: str | None = None
    type: AccountType | None = None


class Posting(msgspec.Struct, frozen=True):
    """The amount that an account received, or paid if it is negative."""

    account_id: UUID
    amount_cents: int
    currency: str


class Transaction(NamedTuple):
    """Money that moved from a source to a destination, or as `postings` (JSON) between several accounts."""

    id: UUID
    position: int
    recorded_at: datetime
    kind: str
    reference: str | None
    currency: str | None
    amount_cents: int | None
    source_account_id: UUID | None
    destination_account_id: UUID | None
    postings: str | None = None
    reverses: UUID | None = None
    details: Mapping[str, Any] = MappingProxyType({})  # by the names of `DETAILS`; documents are JSON texts


class Names(Protocol):
    """Names the accounts of an export."""

    def add(self, account: Account) -> str:
        """Return the name of an account that the export declares."""

    def find(self, account_id: UUID, currency: str) -> str:
        """Return the name of an account that the export has declared."""


class TextFormat(NamedTuple):
    """The header of a file, the names of accounts, and the text of a currency, of an account and of a transaction.

    The texts of a currency and of a transaction depend on the decimal places of amounts.
    """

    header: str
    create_names: Callable[[], Names]
    currency: Callable[[Currency, Assets], str]
    account: Callable[[Account, Names], str]
    transaction: Callable[[Transaction, Names, Assets], str]


DETAILS = tuple(column for column in transactions.DETAILS if column.name not in Transaction._fields)
CODES = ("source_account_code", "destination_account_code")
_MEMBERS = (
    "id",
    "position",
    "recorded_at",
    "kind",
    "reference",
    "currency",
    "amount",
    "amount_cents",
    "source_account_id",
    "destination_account_id",
    "postings",
    *(column.name for column in DETAILS),
    "reverses",
    *CODES,
)
_CLIENT_TEXTS = frozenset(column.name for column in transactions.DETAILS if column.type == "text")
# Valid in JSON, but many readers of JSON Lines take them for the end of a line.
_LINE_BREAKS = str.maketrans({"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"})
_decode_postings = msgspec.json.Decoder(list[Posting]).decode


def bring_forward(account_id: UUID, currency: str, balance_cents: int, *, position: int, at: datetime) -> Transaction:
    """Return an account's balance at a position as money from `world`, or to it if the balance is negative.

    Because all balances sum to zero, the balances of all other accounts give that of `world`. The id is the same in
    each export of a period that begins there.
    """
    name = position or rfc3339(at)  # balances by effective time have no position
    row_id, world_id = uuid5(account_id, f"{BROUGHT_FORWARD}:{name}"), world_account_id(currency)
    sides = (world_id, account_id) if balance_cents > 0 else (account_id, world_id)
    return Transaction(row_id, position, at, BROUGHT_FORWARD, None, currency, abs(balance_cents), *sides)


def format_amount(transaction: Transaction, assets: Assets) -> str | None:
    """Return the amount between two accounts in units of the currency; None for a journal entry."""
    if transaction.amount_cents is None or transaction.currency is None:
        return None
    return assets.format(transaction.amount_cents, transaction.currency)


def postings_of(transaction: Transaction) -> list[Posting]:
    """Return the postings of a transaction of any kind."""
    if transaction.postings is not None:
        return _decode_postings(transaction.postings)
    source, destination = transaction.source_account_id, transaction.destination_account_id
    cents, currency = transaction.amount_cents, transaction.currency
    if source is None or destination is None or cents is None or currency is None:
        raise ValueError(f"neither a transfer nor a journal entry: {transaction.id}")
    return [Posting(source, -cents, currency), Posting(destination, cents, currency)]


def format_detail(value: str | datetime | None) -> str | None:
    """Return a detail as text, with a time in RFC 3339."""
    return rfc3339(value) if isinstance(value, datetime) else value


class AccountCodes:
    """The codes of the accounts of an export, for formats whose rows have the ids as well."""

    def __init__(self) -> None:
        self._codes: dict[UUID, str] = {}

    def add(self, account: Account) -> str:
        """Keep the code of an account, and return it; empty without a code."""
        if account.code is not None:
            self._codes[account.id] = account.code
        return account.code or ""

    def find(self, account_id: UUID, currency: str) -> str:  # noqa: ARG002 - as names of other formats are found
        """Return the code of an account; empty without a code."""
        return self._codes.get(account_id, "")


def codes_of(transaction: Transaction, codes: Names) -> dict[str, str | None]:
    """Return the members `CODES` of a transaction; None without a code."""
    sides = (transaction.source_account_id, transaction.destination_account_id)
    return {
        name: (side and codes.find(side, transaction.currency or "")) or None
        for name, side in zip(CODES, sides, strict=True)
    }


def _omit_currency(*_: object) -> str:
    return ""


def _keep_code(account: Account, names: Names) -> str:
    names.add(account)
    return ""


def _format_members(transaction: Transaction, names: Names, assets: Assets) -> dict[str, object]:
    members = {
        **transaction._asdict(),
        "amount": format_amount(transaction, assets),
        "recorded_at": rfc3339(transaction.recorded_at),
    }
    members |= {name: format_detail(value) for name, value in transaction.details.items()}
    members |= codes_of(transaction, names)
    return {name: members.get(name) for name in _MEMBERS}


def _format_json_line(transaction: Transaction, names: Names, assets: Assets) -> str:
    documents = {"postings": transaction.postings} | {
        column.name: transaction.details.get(column.name) for column in DETAILS if column.type == "jsonb"
    }
    raw = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in documents.items()}
    line = msgspec.json.encode({**_format_members(transaction, names, assets), **raw}).decode()
    return line.translate(_LINE_BREAKS) + "\n"


def _format_csv_line(transaction: Transaction, names: Names, assets: Assets) -> str:
    members = _format_members(transaction, names, assets)
    return _format_csv(_protect(value) if name in _CLIENT_TEXTS else value for name, value in members.items())


def _format_raw_csv_line(transaction: Transaction, names: Names, assets: Assets) -> str:
    return _format_csv(_format_members(transaction, names, assets).values())


def _protect(value: object) -> object:
    return protect_cell(value) if isinstance(value, str) else value


def _format_csv(values: Iterable[object]) -> str:
    """Return a record of RFC 4180, with an empty field for None."""
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()


JSONL = TextFormat("", AccountCodes, _omit_currency, _keep_code, _format_json_line)
CSV = TextFormat(_format_csv(_MEMBERS), AccountCodes, _omit_currency, _keep_code, _format_csv_line)
RAW_CSV = CSV._replace(transaction=_format_raw_csv_line)
