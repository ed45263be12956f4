"""Transfers as text: JSON lines, CSV, and journals for hledger and beancount. Pure functions, one text a transfer.

In a journal, users' accounts are assets and the ledger's own `world` is equity, so every balance has the sign and the
amount that it has here. Days are those of UTC.
"""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from ledger.events.accounts import world_account_id
from ledger.money import decimal_text


class Account(NamedTuple):
    """An account that transfers name."""

    id: UUID
    user_id: UUID | None
    currency: str
    created_at: datetime


class Transfer(NamedTuple):
    """A transfer, with both of its sides: money left the source for the destination."""

    id: UUID
    position: int
    recorded_at: datetime
    kind: str
    reference: str | None
    currency: str
    amount_cents: int
    source_account_id: UUID
    destination_account_id: UUID


class TextFormat(NamedTuple):
    """What comes first, and what an account and a transfer are."""

    header: str
    account: Callable[[Account], str]
    transfer: Callable[[Transfer], str]


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
)


def amount(transfer: Transfer) -> str:
    """How much, in units of the currency."""
    return decimal_text(transfer.amount_cents, transfer.currency)


def _nothing(account: Account) -> str:  # noqa: ARG001 - the shape that formats share
    return ""


def _members(transfer: Transfer) -> dict[str, object]:
    known = {**transfer._asdict(), "amount": amount(transfer), "recorded_at": _time(transfer.recorded_at)}
    return {name: known[name] for name in _MEMBERS}


def _json_line(transfer: Transfer) -> str:
    return msgspec.json.encode(_members(transfer)).decode() + "\n"


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
    source, destination = (
        _hledger_account(account_id, transfer.currency)
        for account_id in (transfer.source_account_id, transfer.destination_account_id)
    )
    return (
        f"\n{_day(transfer.recorded_at)} * ({transfer.position}) {description or transfer.kind}\n"
        f"    ; id: {transfer.id}, kind: {transfer.kind}, recorded-at: {_time(transfer.recorded_at)}\n"
        f"    {source}  -{amount(transfer)} {transfer.currency}\n"
        f"    {destination}  {amount(transfer)} {transfer.currency}\n"
    )


def _hledger_account(account_id: UUID, currency: str) -> str:
    is_world = account_id == world_account_id(currency)
    return f"equity:world:{currency}" if is_world else f"assets:accounts:{account_id}"


def _beancount(transfer: Transfer) -> str:
    """A transaction of beancount's format."""
    source, destination = (
        _beancount_account(account_id, transfer.currency)
        for account_id in (transfer.source_account_id, transfer.destination_account_id)
    )
    return (
        f"\n{_day(transfer.recorded_at)} * {_quoted(transfer.reference or transfer.kind)}\n"
        f'  id: "{transfer.id}"\n'
        f"  position: {transfer.position}\n"
        f'  kind: "{transfer.kind}"\n'
        f'  recorded-at: "{_time(transfer.recorded_at)}"\n'
        f"  {source}  -{amount(transfer)} {transfer.currency}\n"
        f"  {destination}  {amount(transfer)} {transfer.currency}\n"
    )


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


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


JSONL = TextFormat("", _nothing, _json_line)
CSV = TextFormat(_csv(_MEMBERS), _nothing, _csv_line)
HLEDGER = TextFormat("decimal-mark .\n", _nothing, _hledger)
BEANCOUNT = TextFormat('option "title" "Ledger"\n\n', _beancount_open, _beancount)
