"""Journals for hledger and beancount, in the form in which `ledger audit export` writes them, and no other."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from ledger.events.accounts import world_account_id
from ledger.importing.draft import Draft, Drafts
from ledger.importing.faults import Fault, FileFaultError, Place
from ledger.importing.forms import NumberForm
from ledger.importing.text import read_lines
from ledger.money import Assets
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

_UNITS = NumberForm("1234.56")
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CODE = r"[A-Z][A-Z0-9._-]*"
_ROOT = "(?:Assets|Liabilities|Equity|Income|Expenses)"
_TRANSACTION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:=[0-9-]{10})? \* ")
_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class Dialect(NamedTuple):
    """How a journal declares accounts, and how it writes the texts of a transaction, and its postings."""

    directives: re.Pattern[str]
    text: re.Pattern[str]
    posting: re.Pattern[str]
    read_texts: Callable[[str], Iterator[tuple[str, str]]]
    opening: re.Pattern[str]
    account_id: re.Pattern[str]


def _read_tags(line: str) -> Iterator[tuple[str, str]]:
    """Yield the tags of a comment: the first three share a line, and each other one has a line of its own."""
    texts = line.split(", ") if line.startswith("id: ") else [line]
    for text in texts:
        name, _, value = text.partition(":")
        yield name.strip(), unquote(value.strip(), errors="strict")


def _read_metadata(line: str) -> Iterator[tuple[str, str]]:
    name, _, value = line.partition(":")
    quoted = _QUOTED.fullmatch(value.strip())
    text = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted["text"]) if quoted else value.strip()
    yield name, text


HLEDGER = Dialect(
    re.compile(r"decimal-mark |commodity |account "),
    re.compile(r"    ; (?P<text>.*)"),
    re.compile(
        rf"    (?P<name>{_ROOT.lower()}:accounts:(?P<id>{_ID})|(?P<world>equity:world:{_CODE})|\S+)"
        rf'  (?P<amount>\S+) (?P<quote>"?)(?P<currency>{_CODE})(?P=quote)'
    ),
    _read_tags,
    re.compile(r"account (?P<name>\S+)"),
    re.compile(rf", account-id: (?P<id>{_ID})(?:,|$)"),  # after the first tag; values have no commas
)
BEANCOUNT = Dialect(
    re.compile(r"option |[0-9-]{10} (?:open|commodity) |  (?:user-id|username|account-id|code|name): "),
    re.compile(r"  (?P<text>[a-z][a-z0-9-]*: .*)"),
    re.compile(
        rf"  (?P<name>{_ROOT}:Accounts:A-(?P<id>{_ID})|(?P<world>Equity:World:[A-Za-z0-9-]+)|[A-Z]\S*:\S+)"
        rf"  (?P<amount>\S+) (?P<currency>{_CODE})"
    ),
    _read_metadata,
    re.compile(r"[0-9-]{10} open (?P<name>\S+)"),
    re.compile(rf'^  account-id: "(?P<id>{_ID})"$'),
)


class _Accounts:
    """The ids of accounts whose names do not contain them, as the journal declares them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._ids: dict[str, str] = {}
        self._last = ""

    def take(self, text: str) -> None:
        """Read a line that declares an account, or says more of the last one."""
        if (opened := self._dialect.opening.match(text)) is not None:
            self._last = opened["name"]
        if (identified := self._dialect.account_id.search(text)) is not None:
            self._ids[self._last] = identified["id"]

    def find(self, posting: re.Match[str]) -> str | None:
        """Return the id of the account of a posting; None if the journal does not declare the account."""
        declared = posting["id"] or self._ids.get(posting["name"])
        return str(world_account_id(posting["currency"])) if declared is None and posting["world"] else declared


class _Block(NamedTuple):
    """A transaction of a journal: the line on which it begins, its texts, and its postings."""

    line: int
    texts: dict[str, str]
    postings: list[dict[str, Any]]


def read_journal(path: Path, encoding: str, dialect: Dialect, assets: Assets) -> Drafts:
    """Yield the transactions of a journal."""
    block: _Block | None = None
    accounts = _Accounts(dialect)
    for number, line in enumerate(read_lines(path, encoding), 1):
        text = line.rstrip("\r\n")
        if _TRANSACTION.match(text):
            if block is not None:
                yield _finish(block)
            block = _Block(number, {}, [])
        elif dialect.directives.match(text):
            accounts.take(text)
        elif text.strip():
            if block is None:
                raise FileFaultError(number, 1, "the journal is not in the form of `ledger audit export`")
            _take(block, number, text, dialect, accounts, assets)
    if block is not None:
        yield _finish(block)


def _take(block: _Block, number: int, text: str, dialect: Dialect, accounts: _Accounts, assets: Assets) -> None:
    if (posting := dialect.posting.fullmatch(text)) is not None:
        currency = posting["currency"]
        account_id = accounts.find(posting)
        if account_id is None:
            raise FileFaultError(number, posting.start("name") + 1, f"no line declares the account {posting['name']}")
        try:
            cents = _UNITS.parse_amount(posting["amount"], currency, assets)
        except ValueError as error:
            raise FileFaultError(number, posting.start("amount") + 1, f"the amount {error}") from None
        block.postings.append({"account_id": account_id, "amount_cents": cents, "currency": currency})
    elif (tagged := dialect.text.fullmatch(text)) is not None:
        block.texts.update(dialect.read_texts(tagged["text"]))
    else:
        raise FileFaultError(number, 1, "the line is neither a posting nor a text in the form of `ledger audit export`")


def _finish(block: _Block) -> Draft | Fault:
    members: dict[str, Any] = {name.replace("-", "_"): text for name, text in block.texts.items()}
    place = Place(block.line, 1)
    if not members.keys() >= {"id", "kind", "recorded_at"}:
        return Fault(place, "the transaction has no id, kind and recorded-at, as `ledger audit export` writes them")
    try:
        if "metadata" in members:
            members["metadata"] = strict_json.decode(members["metadata"].encode())
    except MalformedJsonError as error:
        return Fault(place, f"metadata: {error}")
    members |= _move(block.postings, members["kind"])
    return Draft(block.line, members, lambda _: place, is_export=True)


def _move(postings: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the postings as members: as a transfer if there are two, unless it is a journal entry."""
    if len(postings) != 2 or kind == "journal" or postings[0]["amount_cents"] != -postings[1]["amount_cents"]:  # noqa: PLR2004
        return {"postings": postings}
    source, destination = sorted(postings, key=lambda posting: int(posting["amount_cents"]))
    return {
        "source_account_id": source["account_id"],
        "destination_account_id": destination["account_id"],
        "amount_cents": destination["amount_cents"],
        "currency": destination["currency"],
    }
