"""The formats of files, and the reader of each."""

from collections.abc import Callable
from pathlib import Path

from ledger.importing.bank.camt import read_camt
from ledger.importing.bank.entries import Sides
from ledger.importing.bank.ofx import declared_encoding, read_ofx
from ledger.importing.bank.qif import read_qif
from ledger.importing.columns import read_table
from ledger.importing.draft import Drafts, Reading
from ledger.importing.faults import OptionError
from ledger.importing.journals import BEANCOUNT, HLEDGER, read_journal
from ledger.importing.jsonl import read_json_lines
from ledger.importing.members import CHECKS
from ledger.importing.parquet import read_parquet
from ledger.importing.text import detect_encoding, parse_encoding

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".ofx": "ofx",
    ".qfx": "ofx",
    ".xml": "camt",
    ".camt": "camt",
    ".sta": "mt940",
    ".mt940": "mt940",
    ".940": "mt940",
    ".qif": "qif",
    ".journal": "hledger",
    ".hledger": "hledger",
    ".beancount": "beancount",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
_DIALECTS = {"hledger": HLEDGER, "beancount": BEANCOUNT}
_HEAD_BYTES = 4096


def find_format(path: Path, named: str | None) -> str:
    """Return the format of a file: the one that the user names, or that of its suffix. Raises `OptionError`."""
    if named is not None and named not in FORMATS:
        raise OptionError(f"--format: must be one of {', '.join(FORMATS)}")
    found = named or SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise OptionError(f"{path} has no known suffix ({', '.join(SUFFIXES)}): give --format")
    return found


def open_reader(path: Path, reading: Reading) -> Drafts:
    """Return the lines of a file. Raises `FileFaultError` and `OptionError`, also during the iteration."""
    _check_sides(reading)
    format_ = find_format(path, reading.format)
    if format_ == "parquet":
        return read_parquet(path)
    encoding = find_encoding(path, format_, reading)
    if format_ == "csv":
        return read_table(path, encoding, reading)
    if format_ == "jsonl":
        return read_json_lines(path, encoding, reading)
    if format_ in _DIALECTS:
        return read_journal(path, encoding, _DIALECTS[format_], reading.assets)
    if reading.account is None or reading.against is None:
        raise OptionError(f"{format_}: give --account, the bank's account in the ledger, and --against, the other one")
    return _bank_reader(format_)(path, encoding, reading, Sides(reading.account, reading.against))


def find_encoding(path: Path, format_: str, reading: Reading) -> str:
    """Return the encoding of a file; none for CAMT.053, which declares it. Raises `FileFaultError`."""
    named = reading.encoding
    if format_ == "ofx" and named is None:
        named = _declared(path)
    return "" if format_ == "camt" else detect_encoding(path, named)


def _bank_reader(format_: str) -> Callable[[Path, str, Reading, Sides], Drafts]:
    if format_ == "mt940":
        from ledger.importing.bank.mt940 import read_mt940  # noqa: PLC0415 - only MT940 needs its package

        return read_mt940
    return {"ofx": read_ofx, "camt": read_camt, "qif": read_qif}[format_]


def _declared(path: Path) -> str | None:
    with path.open("rb") as file:
        name = declared_encoding(file.read(_HEAD_BYTES))
    return None if name in (None, "utf-8", "ascii") else parse_encoding(str(name))


def _check_sides(reading: Reading) -> None:
    for option, account in (("--account", reading.account), ("--against", reading.against)):
        if account is not None:
            try:
                CHECKS["transfer"]["source_account_id"](account)
            except ValueError as error:
                raise OptionError(f"{option}: {error}") from None
