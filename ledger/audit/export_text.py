"""Transfers as text: JSON lines, CSV, and journals for hledger and beancount. Pure functions, one text a transfer.

In a journal, users' accounts are assets and the ledger's own `world` is equity, so every balance has the sign and the
amount that it has here. Days are those of UTC.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping
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
    """An account that transfers name."""

    id: UUID
    user_id: UUID | None
    currency: str
    created_at: datetime


class Leg(NamedTuple):
    """What an account got, or what left it, which is negative."""

    account_id: UUID
    cents: int
    currency: str


class Transfer(NamedTuple):
    """Money that moved: it left the source for the destination, or moved as `postings` (JSON) between several."""

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
    details: Mapping[str, Any] = MappingProxyType({})  # those of `DETAILS` that it has; documents are JSON texts


class TextFormat(NamedTuple):
    """What comes first, and what an account and a transfer are."""

    header: str
    account: Callable[[Account], str]
    transfer: Callable[[Transfer], str]


DETAILS = tuple(column for column in transactions.DETAILS if column.name not in Transfer._fields)
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


class _Posting(msgspec.Struct):
    account_id: UUID
    amount_cents: int
    currency: str


_HLEDGER_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,\[\]]+")
_postings = msgspec.json.Decoder(list[_Posting])


def amount(transfer: Transfer) -> str | None:
    """How much moved between two accounts, in units of the currency."""
    if transfer.amount_cents is None or transfer.currency is None:
        return None
    return decimal_text(transfer.amount_cents, transfer.currency)


def legs(transfer: Transfer) -> list[Leg]:
    """All that moved, whichever way it was told."""
    if transfer.postings is not None:
        return [Leg(leg.account_id, leg.amount_cents, leg.currency) for leg in _postings.decode(transfer.postings)]
    source, destination, cents = transfer.source_account_id, transfer.destination_account_id, transfer.amount_cents
    if source is None or destination is None or cents is None or transfer.currency is None:
        raise ValueError(f"neither a transfer nor a journal entry: {transfer.id}")
    return [Leg(source, -cents, transfer.currency), Leg(destination, cents, transfer.currency)]


def _nothing(account: Account) -> str:  # noqa: ARG001 - the shape that formats share
    return ""


def _members(transfer: Transfer) -> dict[str, object]:
    known = {**transfer._asdict(), "amount": amount(transfer), "recorded_at": rfc3339(transfer.recorded_at)}
    known |= {name: _format_detail(value) for name, value in transfer.details.items()}
    return {name: known.get(name) for name in _MEMBERS}


def _format_detail(value: str | datetime | None) -> str | None:
    return rfc3339(value) if isinstance(value, datetime) else value


def _json_line(transfer: Transfer) -> str:
    documents = {"postings": transfer.postings} | {
        column.name: transfer.details.get(column.name) for column in DETAILS if column.type == "jsonb"
    }
    raw = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in documents.items()}
    return msgspec.json.encode({**_members(transfer), **raw}).decode() + "\n"


def _csv_line(transfer: Transfer) -> str:
    return _csv(_members(transfer).values())


def _csv(values: object) -> str:
    """A record of RFC 4180; a reference that is not there is an empty field."""
    text = io.StringIO()
    csv.writer(text).writerow(values)  # type: ignore[arg-type]
    return text.getvalue()


def _hledger(transfer: Transfer) -> str:
    """A transaction of hledger's journal format. Its description has no quoting: what would end it becomes a blank."""
    description = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029;|]+", " ", transfer.reference or "").strip()
    sides = "".join(f"    {_hledger_account(leg.account_id, leg.currency)}  {_units(leg)}\n" for leg in legs(transfer))
    return (
        f"\n{_day(transfer.recorded_at)} * ({transfer.position}) {description or transfer.kind}\n"
        f"    ; id: {transfer.id}, kind: {transfer.kind}, recorded-at: {rfc3339(transfer.recorded_at)}\n"
        f"{_hledger_details(transfer)}{sides}"
    )


def _hledger_details(transfer: Transfer) -> str:
    """Return a tag for each detail. A value ends at a comma, and brackets hold dates: both become blanks."""
    values = {name.replace("_", "-"): _format_detail(value) for name, value in transfer.details.items()}
    texts = {
        name: re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,\[\]]+", " ", value) for name, value in values.items() if value
    }
    return "".join(f"    ; {name}: {text.strip()}\n" for name, text in texts.items())


def _units(leg: Leg) -> str:
    return f"{decimal_text(leg.cents, leg.currency)} {leg.currency}"


def _hledger_account(account_id: UUID, currency: str) -> str:
    is_world = account_id == world_account_id(currency)
    return f"equity:world:{currency}" if is_world else f"assets:accounts:{account_id}"


def _beancount(transfer: Transfer) -> str:
    """A transaction of beancount's format."""
    sides = "".join(f"  {_beancount_account(leg.account_id, leg.currency)}  {_units(leg)}\n" for leg in legs(transfer))
    return (
        f"\n{_day(transfer.recorded_at)} * {_quoted(transfer.reference or transfer.kind)}\n"
        f'  id: "{transfer.id}"\n'
        f"  position: {transfer.position}\n"
        f'  kind: "{transfer.kind}"\n'
        f'  recorded-at: "{rfc3339(transfer.recorded_at)}"\n'
        f"{_beancount_details(transfer)}{sides}"
    )


def _beancount_details(transfer: Transfer) -> str:
    values = {name.replace("_", "-"): _format_detail(value) for name, value in transfer.details.items()}
    return "".join(f"  {name}: {_quoted(value)}\n" for name, value in values.items() if value)


def _beancount_open(account: Account) -> str:
    name = _beancount_account(account.id, account.currency)
    return f"{_day(account.created_at)} open {name} {account.currency}\n"


def _beancount_account(account_id: UUID, currency: str) -> str:
    """The last part must begin with a capital letter or a digit."""
    is_world = account_id == world_account_id(currency)
    return f"Equity:World:{currency}" if is_world else f"Assets:Accounts:A-{account_id}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + re.sub(r"[\x00-\x1f]", " ", escaped) + '"'


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


JSONL = TextFormat("", _nothing, _json_line)
CSV = TextFormat(_csv(_MEMBERS), _nothing, _csv_line)
HLEDGER = TextFormat("decimal-mark .\n", _nothing, _hledger)
BEANCOUNT = TextFormat('option "title" "Ledger"\n\n', _beancount_open, _beancount)
