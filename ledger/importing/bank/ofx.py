"""OFX, versions 1 (SGML, whose elements need no end) and 2 (XML): the entries of one bank or card account."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ledger.importing.bank.entries import Entry, Sides, make_draft
from ledger.importing.draft import Draft, Drafts, Reading
from ledger.importing.faults import Fault, FileFaultError, Place
from ledger.importing.forms import NumberForm, parse_date_form
from ledger.importing.text import read_text
from ledger.money import Assets

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Z][A-Z0-9.]*)>(?P<value>[^<]*)", re.ASCII)
_ENCODINGS = {"UTF-8": "utf-8", "UNICODE": "utf-16", "1252": "cp1252", "8859-1": "latin-1", "NONE": "ascii"}
_POINT, _COMMA = NumberForm("1234.56"), NumberForm("1234,56")
_DAY = parse_date_form("YYYYMMDD")
_NAMES = ("NAME", "MEMO")


class _Value(NamedTuple):
    text: str
    offset: int


class _Statement(NamedTuple):
    text: str
    account: str | None
    currency: str | None
    assets: Assets


def declared_encoding(head: bytes) -> str | None:
    """Return the encoding that the header of version 1 names, or the declaration of version 2."""
    found = re.search(rb'^CHARSET:\s*([\w-]+)|<\?xml[^>]*\bencoding="([\w-]+)"', head, re.MULTILINE)
    if found is None:
        return None
    name = (found[1] or found[2]).decode().upper()
    return _ENCODINGS.get(name, name.lower())


def read_ofx(path: Path, encoding: str, reading: Reading, sides: Sides) -> Drafts:
    """Yield the entries of a file."""
    text = read_text(path, encoding)
    begin = text.find("<OFX>")
    if begin < 0:
        raise FileFaultError(1, 1, "the file is no OFX: it has no <OFX>")
    tags = list(_TAG.finditer(text, begin))
    account, currency = _find_account(text, tags), _find_currency(tags) or reading.currency
    for entry in _find_entries(text, tags):
        yield _read_entry(_Statement(text, account, currency, reading.assets), entry, sides)


def _find_account(text: str, tags: list["re.Match[str]"]) -> str | None:
    """Return the bank and number of the only account. Raises `FileFaultError` if there are several."""
    accounts: dict[str, int] = {}
    inside, bank = False, ""
    for tag in tags:
        name, value = tag["name"], tag["value"].strip()
        if name in {"BANKACCTFROM", "CCACCTFROM"}:
            inside, bank = not tag["end"], ""
        elif inside and name == "BANKID" and value:
            bank = value
        elif inside and name == "ACCTID" and value:
            accounts.setdefault(f"{bank}/{value}", tag.start())
    if len(accounts) > 1:
        raise FileFaultError(*_place(text, list(accounts.values())[1]), "a second bank account: import one at a time")
    return next(iter(accounts), None)


def _find_currency(tags: list["re.Match[str]"]) -> str | None:
    return next((tag["value"].strip() for tag in tags if tag["name"] == "CURDEF" and not tag["end"]), None)


def _find_entries(text: str, tags: list["re.Match[str]"]) -> Iterator[dict[str, _Value]]:
    entry: dict[str, _Value] | None = None
    for tag in tags:
        if tag["name"] == "STMTTRN":
            if entry is not None and tag["end"]:
                yield entry
            elif entry is not None:
                raise FileFaultError(*_place(text, entry[""].offset), "this <STMTTRN> has no end")
            entry = None if tag["end"] else {"": _Value("", tag.start())}
        elif entry is not None and not tag["end"]:
            entry.setdefault(tag["name"], _Value(html.unescape(tag["value"]).strip(), tag.start()))
    if entry is not None:
        raise FileFaultError(*_place(text, entry[""].offset), "this <STMTTRN> has no end: the file is cut off")


def _read_entry(statement: _Statement, entry: dict[str, _Value], sides: Sides) -> Draft | Fault:
    text, begin = statement.text, entry[""].offset
    members = {"amount_cents": "TRNAMT", "effective_at": "DTPOSTED", "description": "NAME"}
    places = {member: entry[name].offset for member, name in members.items() if name in entry}
    number, currency = entry.get("TRNAMT"), _own_currency(entry) or statement.currency
    if number is None or currency is None or "DTPOSTED" not in entry:
        return Fault(_place(text, begin), "the entry must have TRNAMT and DTPOSTED, and the file CURDEF")
    at = entry["DTPOSTED"]
    try:
        day = _DAY.parse(at.text[:8])
        at = number
        cents = (_COMMA if "," in number.text else _POINT).parse_amount(number.text, currency, statement.assets)
    except ValueError as error:
        return Fault(_place(text, at.offset), f"{'TRNAMT' if at is number else 'DTPOSTED'}: {error}")
    reference = entry["FITID"].text if "FITID" in entry else None
    return make_draft(
        Entry(
            _place(text, begin).line,
            cents,
            currency,
            lambda member: _place(text, places.get(member, begin)),
            statement.account,
            reference or None,
            day,
            " ".join(entry[name].text for name in _NAMES if name in entry),
            {"check_number": entry["CHECKNUM"].text} if "CHECKNUM" in entry else None,
        ),
        sides,
    )


def _own_currency(entry: dict[str, _Value]) -> str | None:
    """Return the currency of an entry that has one of its own: then its amount is in that currency."""
    return entry["CURSYM"].text if "CURRENCY" in entry and "CURSYM" in entry else None


def _place(text: str, offset: int) -> Place:
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))
