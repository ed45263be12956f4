"""Statements of banks: lines with their signs and references, and the balances that a file names."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ledger.importing.bank.balances import Balances, BankBalance
from ledger.importing.faults import FaultyFileError, OptionError
from ledger.importing.profile import make_reading
from ledger.importing.statements import FileStatement, identify_file, read_statement
from tests.support.import_files import BANKS, CAMT, FITIDS, MT940, OFX, QIF_OPTIONS, write

FIRST, SECOND = date(2026, 5, 1), date(2026, 5, 2)
BALANCE = """<Bal><Tp><CdOrPrtry><Cd>{}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{}</Amt><CdtDbtInd>{}</CdtDbtInd>
<Dt><{}>2026-05-{}</{}></Dt></Bal>"""


def read(path: Path, text: str, **options: Any) -> FileStatement:
    return read_statement(write(path, text), make_reading({}, options))


def faults(path: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(FaultyFileError) as raised:
        read(path, text, **options)
    return [f"{place.line}:{place.column}: {why}" for place, why in raised.value.faults]


@pytest.mark.parametrize("name", BANKS)
def test_lines_have_signs_days_and_references(tmp_path: Path, name: str) -> None:
    statement = read(tmp_path / f"may.{name}", BANKS[name], **(QIF_OPTIONS if name == "qif" else {}))
    assert [(FIRST, 125_000), (SECOND, -1_234)] == [(line.day, line.amount_cents) for line in statement.lines]
    references = (None, None) if name == "qif" else FITIDS
    assert references == tuple(line.reference for line in statement.lines)
    assert [("INV-7" if name == "camt" else None), None] == [line.end_to_end_id for line in statement.lines]
    assert ("EUR", identify_file(tmp_path / f"may.{name}")) == (statement.currency, statement.source)
    assert statement.source.startswith("sha256:")
    assert "Rechnung 7" in statement.lines[0].description


def test_tables_need_one_signed_amount_and_a_day(tmp_path: Path) -> None:
    table = "effective_at,amount_cents,reference\n2026-05-01,5,a\n2026-05-02T23:59:00Z,-7,\n"
    lines = read(tmp_path / "may.csv", table).lines
    assert [(FIRST, 5, "a"), (SECOND, -7, None)] == [(one.day, one.amount_cents, one.reference) for one in lines]
    assert ["2:1: effective_at: must be given, the day of the line"] == faults(
        tmp_path / "may.csv", "amount_cents,reference\n5,a\n"
    )
    sides = "source_account_id,destination_account_id,amount_cents,effective_at\na,b,5,2026-05-01\n"
    assert ["2:1: the line is no line of a bank's statement"] == faults(tmp_path / "may.csv", sides)
    for name in ("books.jsonl", "books.journal"):
        with pytest.raises(OptionError, match="no format of banks"):
            read(tmp_path / name, "")


def test_lines_of_two_currencies_are_no_statement(tmp_path: Path) -> None:
    table = "effective_at,amount_cents,currency\n2026-05-01,5,EUR\n2026-05-02,7,USD\n"
    assert ["3:1: currency: USD, and lines before are in EUR"] == faults(tmp_path / "may.csv", table)


def test_all_faults_are_reported(tmp_path: Path) -> None:
    table = "effective_at,amount_cents\n2026-05-41,5\n2026-05-01,x\n2026-05-02,7\n"
    assert 2 == len(faults(tmp_path / "may.csv", table))
    assert 1 == len(faults(tmp_path / "may.xml", CAMT[:700]))


@pytest.mark.parametrize("name", ["qif", "camt", "ofx"])
def test_a_file_need_not_name_balances(tmp_path: Path, name: str) -> None:
    options = QIF_OPTIONS if name == "qif" else {}
    assert Balances() == read(tmp_path / f"may.{name}", BANKS[name], **options).balances


def test_balances_of_camt_are_the_first_and_the_last(tmp_path: Path) -> None:
    balances = [
        BALANCE.format("CLBD", "1337.660", "CRDT", "Dt", "02", "Dt"),
        BALANCE.format("PRCD", "100.00", "DBIT", "Dt", "01", "Dt"),
        BALANCE.format("ITBD", "5.00", "CRDT", "Dt", "03", "Dt"),
        BALANCE.format("CLBD", "1300", "CRDT", "DtTm", "01T23:00:00", "DtTm"),
    ]
    text = CAMT.replace("</Acct>", "</Acct>" + "".join(balances), 1)
    expected = Balances(BankBalance(FIRST, -10_000, "EUR"), BankBalance(SECOND, 133_766, "EUR"))
    assert expected == read(tmp_path / "may.xml", text).balances
    wrong = text.replace("1337.660", "1337.669")
    assert ["1:1: a balance of the statement has 3 decimal places, and EUR has 2"] == faults(
        tmp_path / "may.xml", wrong
    )


def test_balances_of_mt940_span_all_statements_of_the_file(tmp_path: Path) -> None:
    june = MT940.replace(":60F:C260430EUR100,00", ":60F:C260502EUR1337,66").replace(":2605", ":2606")
    june = (
        june.replace("C260502EUR1337,66\n-", "C260602EUR2575,32\n-")
        .replace("0502DR", "0602DR")
        .replace("0501CR", "0601CR")
    )
    balances = read(tmp_path / "may.sta", MT940 + june).balances
    assert BankBalance(date(2026, 4, 30), 10_000, "EUR") == balances.opening
    assert BankBalance(date(2026, 6, 2), 257_532, "EUR") == balances.closing


def test_ofx_has_a_closing_balance(tmp_path: Path) -> None:
    closing = "<LEDGERBAL><BALAMT>-37.66<DTASOF>20260502120000</LEDGERBAL></STMTRS>"
    balances = read(tmp_path / "may.ofx", OFX.replace("</STMTRS>", closing)).balances
    assert Balances(None, BankBalance(SECOND, -3_766, "EUR")) == balances
