"""The opening and closing balances that a bank's file names, each with its day; None where it names none."""

import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from ledger.importing.faults import FileFaultError
from ledger.importing.forms import NumberForm, parse_date_form
from ledger.importing.text import read_text
from ledger.money import Assets

_COMMA, _POINT = NumberForm("1234,56"), NumberForm("1234.56")
_SHORT, _LONG, _DASHED = (parse_date_form(form) for form in ("YYMMDD", "YYYYMMDD", "YYYY-MM-DD"))
_MT940 = re.compile(
    r"^:(?P<tag>60|62)F:(?P<mark>[DC])(?P<day>\d{6})(?P<currency>[A-Z]{3})(?P<amount>\d+,\d*)", re.MULTILINE
)
_OFX = re.compile(r"<LEDGERBAL>\s*<BALAMT>(?P<amount>[^<\s]+).*?<DTASOF>(?P<day>\d{8})", re.DOTALL)
_OFX_CURRENCY = re.compile(r"<CURDEF>([A-Z]{3})")
_CAMT_CODES = {"OPBD": "opening", "PRCD": "opening", "CLBD": "closing"}


class BankBalance(NamedTuple):
    """A balance of the bank account, in the minor unit of a currency, at the end or the beginning of a day."""

    day: date
    cents: int
    currency: str


class Balances(NamedTuple):
    """The first opening balance and the last closing balance of a file."""

    opening: BankBalance | None = None
    closing: BankBalance | None = None


def read_balances(path: Path, format_: str, encoding: str, assets: Assets) -> Balances:
    """Return the balances of a file whose entries could be read. Raises `FileFaultError`."""
    find = _FINDERS.get(format_)
    if find is None:
        return Balances()
    try:
        found = list(find(path, encoding, assets))
    except ValueError as error:
        raise FileFaultError(1, 1, f"a balance of the statement {error}") from None
    openings = [balance for kind, balance in found if kind == "opening"]
    closings = [balance for kind, balance in found if kind == "closing"]
    first = min(openings, key=lambda balance: balance.day, default=None)
    last = max(reversed(closings), key=lambda balance: balance.day, default=None)
    return Balances(first, last)


_Found = Iterator[tuple[str, BankBalance]]


def _find_in_mt940(path: Path, encoding: str, assets: Assets) -> _Found:
    for found in _MT940.finditer(read_text(path, encoding)):
        currency = found["currency"]
        cents = _COMMA.parse_amount(_trim(found["amount"], ","), currency, assets)
        kind = "opening" if found["tag"] == "60" else "closing"
        yield kind, BankBalance(_to_day(_SHORT.parse(found["day"])), _sign(cents, found["mark"] == "D"), currency)


def _find_in_ofx(path: Path, encoding: str, assets: Assets) -> _Found:
    text = read_text(path, encoding)
    currency = _OFX_CURRENCY.search(text)
    found = _OFX.search(text)
    if currency is None or found is None:
        return
    form, mark = (_COMMA, ",") if "," in found["amount"] else (_POINT, ".")
    cents = form.parse_amount(_trim(found["amount"], mark), currency[1], assets)
    yield "closing", BankBalance(_to_day(_LONG.parse(found["day"])), cents, currency[1])


def _find_in_camt(path: Path, _: str, assets: Assets) -> _Found:
    reader = _CamtReader()
    with path.open("rb") as file:
        reader.parser.ParseFile(file)
    for texts in reader.balances:
        kind = _CAMT_CODES.get(texts.get("Tp/CdOrPrtry/Cd", ""))
        day = texts.get("Dt/Dt") or texts.get("Dt/DtTm", "")
        if kind is not None and day:
            currency = texts.get("Amt@Ccy", "")
            cents = _POINT.parse_amount(_trim(texts.get("Amt", ""), "."), currency, assets)
            is_debit = texts.get("CdtDbtInd") == "DBIT"
            yield kind, BankBalance(_to_day(_DASHED.parse(day[:10])), _sign(cents, is_debit), currency)


class _CamtReader:
    """Collects the texts of each balance of a statement, by path below it."""

    def __init__(self) -> None:
        self.balances: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._depth: int | None = None  # of the balance that is being read
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(" ")[2])
        self._text.clear()
        if self._path[-2:] == ["Stmt", "Bal"]:
            self.balances.append({})
            self._depth = len(self._path)
        elif self._depth is not None and "Ccy" in attributes:
            self.balances[-1][f"{self._below(self._depth)}@Ccy"] = attributes["Ccy"]

    def _end(self, _: str) -> None:
        if self._depth is not None and (text := "".join(self._text).strip()):
            self.balances[-1][self._below(self._depth)] = text
        self._text.clear()
        if len(self._path) == self._depth:
            self._depth = None
        self._path.pop()

    def _below(self, depth: int) -> str:
        return "/".join(self._path[depth:])


_FINDERS: dict[str, Callable[[Path, str, Assets], _Found]] = {
    "mt940": _find_in_mt940,
    "ofx": _find_in_ofx,
    "camt": _find_in_camt,
}


def _trim(amount: str, mark: str) -> str:
    """Return an amount without zeros at the end of its fraction, or a fraction of none."""
    whole, _, fraction = amount.partition(mark)
    plain = fraction.rstrip("0")
    return f"{whole}{mark}{plain}" if plain else whole


def _sign(cents: int, is_debit: bool) -> int:
    return -cents if is_debit else cents


def _to_day(midnight: str) -> date:
    return date.fromisoformat(midnight[:10])
