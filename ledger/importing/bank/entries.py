"""Entries of a bank's statement, whatever its format, as transfers between two accounts of the ledger."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ledger.importing.draft import Draft
from ledger.importing.faults import Place
from ledger.values.text import MAX_DESCRIPTION_LENGTH

_BLANKS = re.compile(r"\s+")


class Sides(NamedTuple):
    """The account of the ledger that stands for the bank account, and the one on the other side of every entry."""

    account: str
    against: str


class Entry(NamedTuple):
    """An entry: its signed amount, positive if it is a credit for the holder of the account.

    `reference` is the bank's own, which no other entry of this bank account has.
    """

    line: int
    cents: int | None
    currency: str | None
    locate: Callable[[str], Place]
    bank_account: str | None = None
    reference: str | None = None
    day: str | None = None
    description: str = ""
    metadata: Mapping[str, str] | None = None
    members: Mapping[str, Any] | None = None

    @classmethod
    def of_members(cls, line: int, members: Mapping[str, Any], locate: Callable[[str], Place]) -> "Entry":
        """Return the entry in a row of a table, whose other members stay as they are."""
        return cls(line, members.get("amount_cents"), members.get("currency"), locate, members=members)


def make_draft(entry: Entry, sides: Sides) -> Draft:
    """Return the transfer of an entry: money that comes in goes to the account of the bank."""
    cents = entry.cents
    receives = cents is None or cents > 0
    members: dict[str, Any] = {
        **(entry.members or {}),
        "source_account_id": sides.against if receives else sides.account,
        "destination_account_id": sides.account if receives else sides.against,
        "amount_cents": None if cents is None else abs(cents),
        "currency": entry.currency,
    }
    if entry.members is None:
        members |= {"effective_at": entry.day, "description": clean(entry.description) or None}
        metadata = {"bank_account": entry.bank_account, "bank_reference": entry.reference, **(entry.metadata or {})}
        members["metadata"] = {key: text for key, value in metadata.items() if value and (text := clean(value))} or None
    key = None if entry.reference is None else f"{entry.bank_account or ''}\n{entry.reference}"
    return Draft(entry.line, members, entry.locate, key=key)


def clean(text: str) -> str:
    """Return a text of a bank on one line, without control characters, and not too long for a description."""
    visible = "".join(" " if unicodedata.category(each) in {"Cc", "Zl", "Zp"} else each for each in text)
    plain = re.sub("[\u202a-\u202e\u2066-\u2069]", "", visible)
    return _BLANKS.sub(" ", plain).strip()[:MAX_DESCRIPTION_LENGTH].strip()
