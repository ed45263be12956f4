"""Files of banks: each entry is a transfer between the bank's account and another one."""

from pathlib import Path
from typing import Any

import pytest

from ledger.importing.faults import OptionError
from tests.support.import_files import (
    BANK_OPTIONS,
    BANKS,
    CAMT,
    MT940,
    OFX,
    OFX_2,
    QIF,
    QIF_OPTIONS,
    A,
    B,
    check,
    faults,
    write,
)

OPTIONS: dict[str, dict[str, Any]] = {**dict.fromkeys(BANKS, BANK_OPTIONS), "qif": {**BANK_OPTIONS, **QIF_OPTIONS}}
DAYS = ["2026-05-01T00:00:00.000000Z", "2026-05-02T00:00:00.000000Z"]


@pytest.mark.parametrize("name", BANKS)
def test_entries_are_transfers_in_both_directions(tmp_path: Path, name: str) -> None:
    credit, debit = check(write(tmp_path / f"may.{name}", BANKS[name].replace("\n", "\r\n")), **OPTIONS[name])
    assert (B, A, 125000) == tuple(
        credit[member] for member in ("source_account_id", "destination_account_id", "amount_cents")
    )
    assert (A, B, 1234) == tuple(
        debit[member] for member in ("source_account_id", "destination_account_id", "amount_cents")
    )
    assert DAYS == [entry["effective_at"] for entry in (credit, debit)]
    assert "Rechnung 7" in credit["description"]


@pytest.mark.parametrize("name", ["ofx", "camt", "mt940"])
def test_entries_are_known_by_the_reference_of_the_bank(tmp_path: Path, name: str) -> None:
    """Without a run: the same entry in another download is the same, whatever surrounds it."""
    text = BANKS[name]
    first = check(write(tmp_path / f"may.{name}", text), None, **OPTIONS[name])
    again = check(write(tmp_path / f"june.{name}", text.replace("Rechnung 7", "RECHNUNG  7")), None, **OPTIONS[name])
    assert [entry["id"] for entry in first] == [entry["id"] for entry in again]
    assert ["2026050100001", "2026050200002"] == [entry["metadata"]["bank_reference"] for entry in first]
    assert 1 == len({entry["metadata"]["bank_account"] for entry in first})
    conflict = faults(write(tmp_path / f"odd.{name}", text.replace("2026050200002", "2026050100001")), **OPTIONS[name])
    assert 1 == len(conflict)
    assert "has the same, and says something else" in conflict[0]


def test_another_bank_account_has_other_references(tmp_path: Path) -> None:
    texts = (OFX, OFX.replace("1234567", "7654321"))
    ids = [check(write(tmp_path / "may.ofx", text), **BANK_OPTIONS)[0]["id"] for text in texts]
    assert 2 == len(set(ids))


def test_entries_without_a_reference_need_a_run(tmp_path: Path) -> None:
    (said,) = faults(write(tmp_path / "may.qif", QIF), None, **OPTIONS["qif"])
    assert said.startswith("2:1: the line has neither an id nor a reference: give --run NAME")
    (said,) = faults(write(tmp_path / "may.sta", MT940.replace("//2026050200002", "")), None, **BANK_OPTIONS)
    assert said.startswith("7:1: the line has neither an id nor a reference")


def test_the_encoding_is_the_one_that_the_file_declares(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "old.ofx", OFX, "windows-1252"),
        write(tmp_path / "new.ofx", OFX_2),
        write(tmp_path / "may.xml", CAMT.replace("UTF-8", "ISO-8859-1"), "latin-1"),
    ]
    assert {"M\u00fcller"} == {check(file, **BANK_OPTIONS)[0]["description"].split()[0] for file in files}


def test_a_pending_entry_has_not_happened(tmp_path: Path) -> None:
    assert 2 == len(check(write(tmp_path / "may.xml", CAMT), **BANK_OPTIONS))


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("ofx", "<OFX>", "<QFX>", "1:1: the file is no OFX"),
        ("ofx", "-12.34", "-12.345", "11:42: TRNAMT: has 3 decimal places, and EUR has 2"),
        ("ofx", "20260502", "20260532", "11:24: DTPOSTED: must be a date that exists"),
        ("ofx", "<DTPOSTED>20260502", "", "11:1: the entry must have TRNAMT and DTPOSTED"),
        ("ofx", "Strom</STMTTRN>", "Strom", "11:1: this <STMTTRN> has no end: the file is cut off"),
        ("ofx", "Rechnung 7</STMTTRN>", "Rechnung 7", "9:1: this <STMTTRN> has no end"),
        ("ofx", "<BANKTRANLIST>", "<BANKACCTFROM><ACCTID>2</BANKACCTFROM>", "8:15: a second bank account"),
        ("camt", "</Stmt>", "", "11:3: the file is no XML: mismatched tag"),
        ("camt", "<Document", "<!DOCTYPE d [<!ENTITY a 'b'>]><Document", "2:13: a document type declaration"),
        ("camt", "1250.00", "1250.001", "4:7: Amt: has 3 decimal places, and EUR has 2"),
        ("camt", "CRDT", "OTHR", "4:1: the entry must have Amt with Ccy, CdtDbtInd"),
        ("camt", "<IBAN>DE89370400440532013000</IBAN>", "", "1:1: the file is no CAMT.053"),
        ("mt940", ":20:", ":2O:", "1:1: the file is no MT940"),
        ("mt940", "CR1250,00", "CR1250.00", "5:1: the field :61: is not as MT940 defines it"),
        ("mt940", "1250,00", "1250,01", "1:1: the statement does not add up: the entries make 1337.67"),
        ("mt940", ":62F:", ":64:", "1:1: the statement must have an opening balance"),
        ("qif", "!Type:Bank", "!Type:Invst", "1:1: !Type:Invst cannot be imported"),
        ("qif", "!Type:Bank\n", "", "1:1: the file must begin with !Type:Bank"),
        ("qif", "T-12,34", "T-12.34", "8:2: must be a number in the form 1.234,56"),
        ("qif", "D02.05.2026", "D02.05.26", "7:2: must be a date in the form DD.MM.YYYY"),
        ("qif", "D02.05.2026\n", "", "7:1: the entry must have a date (D) and an amount (T)"),
        ("qif", "PStrom\n^", "PStrom", "10:1: the last entry has no ^ after it: the file is cut off"),
    ],
)
def test_each_fault_names_its_line_and_column(tmp_path: Path, name: str, old: str, new: str, why: str) -> None:
    """Lesson 45."""
    assert old in BANKS[name]
    said = faults(write(tmp_path / f"may.{name}", BANKS[name].replace(old, new, 1)), **OPTIONS[name])
    assert 1 == len(said)
    assert said[0].startswith(why), said


@pytest.mark.parametrize("name", BANKS)
def test_both_accounts_must_be_named(tmp_path: Path, name: str) -> None:
    options = {**OPTIONS[name], "against": None}
    with pytest.raises(OptionError, match=r"give --account, the bank's account in the ledger, and --against"):
        check(write(tmp_path / f"may.{name}", BANKS[name]), **options)


@pytest.mark.parametrize(("option", "value"), [("currency", None), ("date_format", None)])
def test_what_qif_does_not_say_must_be_named(tmp_path: Path, option: str, value: None) -> None:
    said = faults(write(tmp_path / "may.qif", QIF), **{**OPTIONS["qif"], option: value})
    assert ["1:1: QIF names neither a currency nor the form of its dates: give both as options"] == said


def test_an_account_must_be_an_id_or_a_code(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^--account: must be a UUID"):
        check(write(tmp_path / "may.ofx", OFX), account="the bank", against=B)
