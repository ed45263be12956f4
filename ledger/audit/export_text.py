"""Transactions as text: JSON Lines, CSV, and journals for hledger and beancount. Pure.

In a journal, users' accounts are assets and the ledger's own `world` is equity, so every balance has the same sign and
amount as in the ledger. Days are in UTC.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger.events.accounts import world_account_id
from ledger.money import decimal_text
from ledger.projections import transactions
from ledger.values.timestamps import rfc3339


class Account(NamedTuple):
    """An account that an exported transaction names."""

    id: UUID
    user_id: UUID | None
    currency: str
    created_at: datetime


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
    details: Mapping[str, Any] = MappingProxyType({})  # by the names of `DETAILS`; documents are JSON texts


class TextFormat(NamedTuple):
    """The header of a file, and the text of an account and of a transaction."""

    header: str
    account: Callable[[Account], str]
    transaction: Callable[[Transaction], str]


DETAILS = tuple(column for column in transactions.DETAILS if column.name not in Transaction._fields)
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
)
# hledger has no quoting: whatever would end a description, or the value of a tag, becomes a blank.
_DESCRIPTION_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029;|]+")
_TAG_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,\[\]]+")  # brackets would begin a date
_decode_postings = msgspec.json.Decoder(list[Posting]).decode


def format_amount(transaction: Transaction) -> str | None:
    """Return the amount between two accounts in units of the currency; None for a journal entry."""
    if transaction.amount_cents is None or transaction.currency is None:
        return None
    return decimal_text(transaction.amount_cents, transaction.currency)


def postings_of(transaction: Transaction) -> list[Posting]:
    """Return the postings of a transaction of any kind."""
    if transaction.postings is not None:
        return _decode_postings(transaction.postings)
    source, destination = transaction.source_account_id, transaction.destination_account_id
    cents, currency = transaction.amount_cents, transaction.currency
    if source is None or destination is None or cents is None or currency is None:
        raise ValueError(f"neither a transfer nor a journal entry: {transaction.id}")
    return [Posting(source, -cents, currency), Posting(destination, cents, currency)]


def _omit_account(account: Account) -> str:  # noqa: ARG001 - all formats share this signature
    return ""


def _format_members(transaction: Transaction) -> dict[str, object]:
    members = {
        **transaction._asdict(),
        "amount": format_amount(transaction),
        "recorded_at": rfc3339(transaction.recorded_at),
    }
    members |= {name: _format_detail(value) for name, value in transaction.details.items()}
    return {name: members.get(name) for name in _MEMBERS}


def _format_detail(value: str | datetime | None) -> str | None:
    return rfc3339(value) if isinstance(value, datetime) else value


def _format_json_line(transaction: Transaction) -> str:
    documents = {"postings": transaction.postings} | {
        column.name: transaction.details.get(column.name) for column in DETAILS if column.type == "jsonb"
    }
    raw = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in documents.items()}
    return msgspec.json.encode({**_format_members(transaction), **raw}).decode() + "\n"


def _format_csv_line(transaction: Transaction) -> str:
    return _format_csv(_format_members(transaction).values())


def _format_csv(values: Iterable[object]) -> str:
    """Return a record of RFC 4180, with an empty field for None."""
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()


def _format_hledger(transaction: Transaction) -> str:
    """Return a transaction in hledger's journal format."""
    description = _DESCRIPTION_ENDS.sub(" ", transaction.reference or "").strip()
    postings = "".join(
        f"    {_hledger_account(posting.account_id, posting.currency)}  {_format_units(posting)}\n"
        for posting in postings_of(transaction)
    )
    return (
        f"\n{_format_day(transaction.recorded_at)} * ({transaction.position}) {description or transaction.kind}\n"
        f"    ; id: {transaction.id}, kind: {transaction.kind}, recorded-at: {rfc3339(transaction.recorded_at)}\n"
        f"{_format_hledger_tags(transaction)}{postings}"
    )


def _format_hledger_tags(transaction: Transaction) -> str:
    """Return one tag per detail."""
    values = {name.replace("_", "-"): _format_detail(value) for name, value in transaction.details.items()}
    texts = {name: _TAG_ENDS.sub(" ", value) for name, value in values.items() if value}
    return "".join(f"    ; {name}: {text.strip()}\n" for name, text in texts.items())


def _format_units(posting: Posting) -> str:
    return f"{decimal_text(posting.amount_cents, posting.currency)} {posting.currency}"


def _hledger_account(account_id: UUID, currency: str) -> str:
    is_world = account_id == world_account_id(currency)
    return f"equity:world:{currency}" if is_world else f"assets:accounts:{account_id}"


def _format_beancount(transaction: Transaction) -> str:
    """Return a transaction in beancount's format."""
    postings = "".join(
        f"  {_beancount_account(posting.account_id, posting.currency)}  {_format_units(posting)}\n"
        for posting in postings_of(transaction)
    )
    return (
        f"\n{_format_day(transaction.recorded_at)} * {_quote(transaction.reference or transaction.kind)}\n"
        f'  id: "{transaction.id}"\n'
        f"  position: {transaction.position}\n"
        f'  kind: "{transaction.kind}"\n'
        f'  recorded-at: "{rfc3339(transaction.recorded_at)}"\n'
        f"{_format_beancount_metadata(transaction)}{postings}"
    )


def _format_beancount_metadata(transaction: Transaction) -> str:
    values = {name.replace("_", "-"): _format_detail(value) for name, value in transaction.details.items()}
    return "".join(f"  {name}: {_quote(value)}\n" for name, value in values.items() if value)


def _format_beancount_account(account: Account) -> str:
    name = _beancount_account(account.id, account.currency)
    return f"{_format_day(account.created_at)} open {name} {account.currency}\n"


def _beancount_account(account_id: UUID, currency: str) -> str:
    """Return the name of an account; beancount wants its last part to begin with a capital letter or a digit."""
    is_world = account_id == world_account_id(currency)
    return f"Equity:World:{currency}" if is_world else f"Assets:Accounts:A-{account_id}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + re.sub(r"[\x00-\x1f]", " ", escaped) + '"'


def _format_day(time: datetime) -> str:
    return time.astimezone(UTC).date().isoformat()


JSONL = TextFormat("", _omit_account, _format_json_line)
CSV = TextFormat(_format_csv(_MEMBERS), _omit_account, _format_csv_line)
HLEDGER = TextFormat("decimal-mark .\n", _omit_account, _format_hledger)
BEANCOUNT = TextFormat('option "title" "Ledger"\n\n', _format_beancount_account, _format_beancount)
