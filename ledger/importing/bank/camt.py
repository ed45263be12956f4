"""CAMT.053 (ISO 20022): the booked entries of one account.

A document type declaration is refused, because the entities that it may define can grow without bound.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from ledger.importing.bank.entries import Entry, Sides, make_draft
from ledger.importing.draft import Draft, Drafts, Reading
from ledger.importing.faults import Fault, FileFaultError, Place
from ledger.importing.forms import NumberForm, parse_date_form
from ledger.money import Assets

_NUMBER, _DAY = NumberForm("1234.56"), parse_date_form("YYYY-MM-DD")
_REFERENCES = ("AcctSvcrRef", "NtryDtls/TxDtls/Refs/AcctSvcrRef")  # `NtryRef` begins at 1 in each statement
_DETAILS = "NtryDtls/TxDtls"


class _Text(NamedTuple):
    text: str
    place: Place


class _Reader:
    """Collects the texts of each entry, by path below it; and those of the account."""

    def __init__(self) -> None:
        self.entries: list[dict[str, list[_Text]]] = []
        self.account = ""
        self._path: list[str] = []
        self._places: list[Place] = []
        self._text: list[str] = []
        self._entry: dict[str, list[_Text]] | None = None
        self._depth = 0
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append
        self.parser.StartDoctypeDeclHandler = self._refuse

    @property
    def place(self) -> Place:
        return Place(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)

    def _refuse(self, *_: object) -> None:
        raise FileFaultError(*self.place, "a document type declaration is not allowed")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        self._path.append(local)
        self._places.append(self.place)
        self._text.clear()
        if local == "Ntry":
            self._entry, self._depth = {"": [_Text("", self.place)]}, len(self._path)
        elif self._entry is not None and "Ccy" in attributes:
            self._keep(f"{self._below()}@Ccy", attributes["Ccy"])

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        if name.endswith(" Ntry") or name == "Ntry":
            if self._entry is not None:
                self.entries.append(self._entry)
            self._entry = None
        elif self._entry is not None and text:
            self._keep(self._below(), text)
        elif "/".join(self._path).endswith(("Stmt/Acct/Id/IBAN", "Stmt/Acct/Id/Othr/Id")) and text:
            self._take_account(text)
        self._path.pop()
        self._places.pop()

    def _below(self) -> str:
        return "/".join(self._path[self._depth :])

    def _keep(self, path: str, text: str) -> None:
        if self._entry is not None:
            self._entry.setdefault(path, []).append(_Text(text, self._places[-1]))

    def _take_account(self, text: str) -> None:
        if self.account not in ("", text):
            raise FileFaultError(*self.place, "a second bank account: import one at a time")
        self.account = text


def read_camt(path: Path, _: str, reading: Reading, sides: Sides) -> Drafts:
    """Yield the booked entries of a file, in the encoding that its declaration names."""
    reader = _Reader()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 16):
                reader.parser.Parse(block, False)
                yield from _take(reader, reading, sides)
            reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        why = f"the file is no XML: {expat.errors.messages[error.code]}"
        raise FileFaultError(error.lineno, error.offset + 1, why) from None
    if not reader.account:
        raise FileFaultError(1, 1, "the file is no CAMT.053: it has no account of a statement (Stmt/Acct)")


def _take(reader: _Reader, reading: Reading, sides: Sides) -> Iterator[Draft | Fault]:
    for entry in reader.entries:
        if _find(entry, "Sts/Cd", "Sts") in (None, "BOOK"):
            yield _read_entry(entry, reader.account, reading.assets, sides)
    reader.entries.clear()


def _read_entry(entry: dict[str, list[_Text]], account: str, assets: Assets, sides: Sides) -> Draft | Fault:
    begin = entry[""][0].place
    amount, currency = _find(entry, "Amt"), _find(entry, "Amt@Ccy")
    mark = _find(entry, "CdtDbtInd")
    day = _find(entry, "BookgDt/Dt", "BookgDt/DtTm", "ValDt/Dt", "ValDt/DtTm")
    if amount is None or currency is None or mark not in {"CRDT", "DBIT"} or day is None:
        return Fault(begin, "the entry must have Amt with Ccy, CdtDbtInd (CRDT or DBIT) and BookgDt")
    place = begin
    try:
        at = _DAY.parse(day[:10])
        place = entry["Amt"][0].place
        cents = _NUMBER.parse_amount(_without_zeros(amount), currency, assets)
    except ValueError as error:
        return Fault(place, f"{'BookgDt' if place is begin else 'Amt'}: {error}")
    texts = entry.get(f"{_DETAILS}/RmtInf/Ustrd", []) or entry.get("AddtlNtryInf", [])
    return make_draft(
        Entry(
            begin.line,
            cents if mark == "CRDT" else -cents,
            currency,
            lambda _: begin,
            account,
            _find_reference(entry),
            at,
            " ".join([_find_name(entry, mark), *(text.text for text in texts)]),
            {"end_to_end_id": _only(entry, f"{_DETAILS}/Refs/EndToEndId")},
        ),
        sides,
    )


def _without_zeros(amount: str) -> str:
    """Return an amount without the zeros that some banks write after the places of the currency."""
    whole, _, fraction = amount.partition(".")
    plain = fraction.rstrip("0")
    return f"{whole}.{plain}" if plain else whole


def _find_reference(entry: dict[str, list[_Text]]) -> str | None:
    """Return the reference of the bank; one of a detail only if the entry has no other detail."""
    return next((text for path in _REFERENCES if (text := _only(entry, path))), None)


def _find_name(entry: dict[str, list[_Text]], mark: str) -> str:
    party = "Dbtr" if mark == "CRDT" else "Cdtr"
    below = f"{_DETAILS}/RltdPties/{party}"
    return _only(entry, f"{below}/Nm") or _only(entry, f"{below}/Pty/Nm")


def _only(entry: dict[str, list[_Text]], path: str) -> str:
    found = entry.get(path, [])
    return found[0].text if len(found) == 1 and found[0].text != "NOTPROVIDED" else ""


def _find(entry: dict[str, list[_Text]], *paths: str) -> str | None:
    return next((entry[path][0].text for path in paths if path in entry), None)
