"""Tables: separators, encodings, forms of numbers and dates, and the line and column of every fault."""

from pathlib import Path
from typing import Any

import pytest

from ledger.importing.faults import MAX_FAULTS, OptionError
from ledger.importing.forms import NumberForm, parse_date_form
from ledger.importing.rows import parse_separator
from ledger.importing.text import parse_encoding
from ledger.money import CURRENCIES_ALONE
from tests.support.import_files import HEADER, A, B, check, faults, write

ROW = f"{A},{B},5"
TRANSFER = {"source_account_id": A, "destination_account_id": B, "amount_cents": 5}
GERMAN = f"Von;An;Betrag;Text;Datum\r\n{A};{B};1.234,56;Größe;01.05.2026\r\n"
GERMAN_OPTIONS: dict[str, Any] = {
    "map": {
        "source_account_id": "Von",
        "destination_account_id": "An",
        "amount": "Betrag",
        "description": "Text",
        "effective_at": "Datum",
    },
    "currency": "EUR",
    "number_format": "1.234,56",
    "date_format": "DD.MM.YYYY",
}


def without_ids(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in request.items() if name != "id"} for request in requests]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_says_the_same_in_every_form(tmp_path: Path, separator: str, ending: str, encoding: str) -> None:
    """Lesson 45."""
    text = f"{HEADER},description\n{ROW},Größe\n{ROW},\n"
    plain = check(write(tmp_path / "plain.csv", text))
    file = write(tmp_path / "may.csv", text.replace(",", separator).replace("\n", ending), encoding)

    assert plain == check(file)
    assert without_ids(plain) == [{**TRANSFER, "description": "Größe"}, TRANSFER]


def test_a_german_table_is_mapped_and_its_numbers_and_dates_are_read(tmp_path: Path) -> None:
    file = write(tmp_path / "mai.csv", GERMAN, "windows-1252")

    (request,) = without_ids(check(file, encoding="windows-1252", **GERMAN_OPTIONS))

    expected = {"amount_cents": 123456, "description": "Größe", "effective_at": "2026-05-01T00:00:00.000000Z"}
    assert {**TRANSFER, **expected} == request


def test_what_is_not_utf_8_is_asked_for_and_not_guessed(tmp_path: Path) -> None:
    said = faults(write(tmp_path / "mai.csv", GERMAN, "windows-1252"), **GERMAN_OPTIONS)
    assert ["2:86: is not UTF-8; give --encoding, such as windows-1252"] == said


@pytest.mark.parametrize(
    ("encoding", "named", "why"),
    [
        ("utf-16-le", None, "1:1: is no text in UTF-8: give --encoding, such as utf-16-le"),
        ("utf-32", None, "1:1: is in UTF-32; save it as UTF-8"),
        ("utf-8-sig", "windows-1252", "1:1: begins with the byte-order mark of UTF-8, but --encoding says cp1252"),
        ("utf-16", "utf-8", "1:1: begins with the byte-order mark of UTF-16, but --encoding says utf-8"),
        ("latin-1", "utf-8", "2:77: is not UTF-8; give --encoding, such as windows-1252"),
    ],
)
def test_an_encoding_that_is_not_certain_is_a_fault(tmp_path: Path, encoding: str, named: str | None, why: str) -> None:
    file = write(tmp_path / "may.csv", f"{HEADER},description\n{ROW},ä\n", encoding)
    assert [why] == faults(file, encoding=named)


def test_a_named_utf_16_without_a_mark_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "may.csv", f"{HEADER}\n{ROW}\n", "utf-16-le")
    assert [TRANSFER] == without_ids(check(file, encoding="utf-16-le"))


def test_what_spreadsheets_leave_behind_is_no_content(tmp_path: Path) -> None:
    """Blanks after cells, rows without content, trailing columns without a name, and Excel's own first line."""
    text = f"sep=;\n{HEADER.replace(',', ' ; ')};;\n;;;;\n{A} ;{B}\t; 5 ;;\n\n;;;;;;\n"
    assert [TRANSFER] == without_ids(check(write(tmp_path / "may.csv", text)))


def test_a_quoted_cell_may_have_lines(tmp_path: Path) -> None:
    rows = [f'{ROW},"rent,{ending}for ""May"""' for ending in ("\n", "\r\n")]
    first, second = [check(write(tmp_path / "may.csv", f"{HEADER},description\n{row}\n{ROW},x\n")) for row in rows]
    assert first == second
    assert 'rent, for "May"' == first[0]["description"]


def test_metadata_has_a_column_for_each_key(tmp_path: Path) -> None:
    text = f"{HEADER},metadata.flat,metadata.Größe\n{ROW},3,\n{ROW},,x\n"
    assert [{"flat": "3"}, {"Größe": "x"}] == [
        request["metadata"] for request in check(write(tmp_path / "may.csv", text))
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("source_account_id,amount_cents\n", "1:1: no column destination_account_id"),
        (f"{HEADER},refrence\n", "1:55: unknown column 'refrence'; did you mean reference?"),
        (f"{HEADER},amount_cents\n", "1:55: the column amount_cents is there twice"),
        (f"{HEADER}\n{ROW},\n{A},{B}\n", "3:38: the row has 2 cells, and the header 3"),
        (f"{HEADER}\n{ROW},x\n", "2:77: the row has 4 cells, and the header 3"),
        (f'{HEADER},description\n{ROW},"a\nb', "2:77: this quotation mark is not closed"),
        (f'{HEADER},description\n{ROW},"a"b\n', "2:80: a separator must follow the closing quotation mark"),
        ("", "1:1: the file is empty"),
        ("\n\n", "1:1: the file is empty"),
        ("a|b\n1|2\n", "1:1: the header has no known column"),
        (f"{HEADER}\n{A},{B},1.0\n", "2:75: amount_cents: must be an integer, without a fraction"),
        (f"{HEADER}\n{A},{B},1e3\n", "2:75: amount_cents: must be an integer in the form 1234.56"),
        (f"{HEADER}\n{A},{B},\u0661\n", "2:75: amount_cents: must be an integer in the form 1234.56"),
        (f"{HEADER}\n{A},{B},\n", "2:75: amount_cents: must be given"),
        (f"{HEADER}\n{A},{B},0\n", "2:75: amount_cents: must be from 1 to 2^53 - 1"),
        (f"{HEADER}\n{A},{B},{2**53}\n", "2:75: amount_cents: must be at most 2^53 - 1 in the minor unit"),
        (f"{HEADER}\n{A},{B},{10**30}\n", "2:75: amount_cents: must be at most 2^53 - 1 in the minor unit"),
        (f"{HEADER}\n{A},x y,1\n", "2:38: destination_account_id: must be a UUID, such as "),
        (f"{HEADER}\n{A},{A},1\n", "2:38: destination_account_id: must be another account"),
        (f'{HEADER},reference\n"{A}","{B}","5","a\u200bb"\n', "2:83: reference: must not contain characters"),
        (f"{HEADER},description\n{ROW},{'x' * 501}\n", "2:77: description: must have at most 500 characters"),
        (f"{HEADER},effective_at\n{ROW},2026-02-30\n", "2:77: effective_at: must be a date and time that exist"),
        (f"{HEADER},metadata.a\n{ROW},{'x' * 501}\n", "2:77: metadata: a: must have at most 500 characters"),
        (f"{HEADER},currency\n{ROW},XXX\n", "2:77: currency: must be an ISO 4217 code"),
        (f"{HEADER},id\n{ROW},018f0000-0000-8000-8000-000000000001\n", "2:77: id: must not be of version 8"),
        (HEADER.replace("amount_cents", "amount") + "\n", "1:1: amount needs a column currency, or --currency"),
        ("source_account_id,destination_account_id\n", "1:1: no column amount_cents (in the minor unit), nor amount"),
        (f"{HEADER}\n{'x' * (1 << 20)}\n", "2:1: the line has more than 1,048,576 characters"),
    ],
)
def test_each_fault_names_its_line_and_column(tmp_path: Path, text: str, why: str) -> None:
    """Lessons 33 and 45."""
    (said,) = faults(write(tmp_path / "may.csv", text))
    assert said.startswith(why)


def test_faults_after_quoted_lines_are_where_an_editor_shows_them(tmp_path: Path) -> None:
    text = f'{HEADER},description,metadata.a\r\n{ROW},"a\r\nb","{"x" * 501}"\r\n{A},{B},0,,\r\n'
    assert ["3:4", "4:75"] == [said[: said.index(": ")] for said in faults(write(tmp_path / "may.csv", text))]


def test_all_faults_are_named_up_to_a_bound(tmp_path: Path) -> None:
    few = write(tmp_path / "few.csv", f"{HEADER}\n{ROW}\n" + f"{A},x y,0\n" * 3)
    many = write(tmp_path / "many.csv", f"{HEADER}\n" + f"{A},x y,0\n" * 100)
    assert (6, MAX_FAULTS) == (len(faults(few)), len(faults(many)))


def test_a_separator_that_is_not_certain_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "may.csv", "amount,x;currency\n")
    assert ["1:1: the separator is not certain: give --separator"] == faults(file)
    text = f"{HEADER}\n{ROW}\n".replace(",", "|")
    assert [TRANSFER] == without_ids(check(write(tmp_path / "may.csv", text), separator="|"))


def test_unknown_columns_are_left_out_by_name_or_all(tmp_path: Path) -> None:
    file = write(tmp_path / "may.csv", f"{HEADER},Saldo,Art\n{ROW},7,x\n")
    assert [TRANSFER] == without_ids(check(file, ignore=("Saldo", "Art"))) == without_ids(check(file, ignore=("*",)))
    (said,) = faults(file, ignore=("Saldo",))
    assert "1:61: unknown column 'Art': map it with --map MEMBER=Art, or leave it out with --ignore Art" == said


def test_a_mapped_column_must_be_there(tmp_path: Path) -> None:
    (said,) = faults(write(tmp_path / "may.csv", f"{HEADER}\n{ROW}\n"), map={"reference": "Beleg"})
    assert "1:1: no column Beleg, which --map names" == said


def test_a_signed_amount_moves_between_two_accounts(tmp_path: Path) -> None:
    file = write(tmp_path / "bank.csv", "amount,currency,reference\n-12.34,EUR,a\n5,JPY,b\n")
    out, into = check(file, account=A, against=B)
    assert (A, B, 1234) == (out["source_account_id"], out["destination_account_id"], out["amount_cents"])
    assert (B, A, 5) == (into["source_account_id"], into["destination_account_id"], into["amount_cents"])


@pytest.mark.parametrize(
    ("example", "text", "cents"),
    [
        ("1234.56", "1234.5", 123450),
        ("1234.56", "7", 700),
        ("1,234.56", "1,234,567.89", 123456789),
        ("1.234,56", "1.234,56", 123456),
        ("1.234,56", "1234,56", 123456),
        ("1 234,56", "1\u202f234,56", 123456),
        ("1'234.56", "1'234.56", 123456),
        ("1234,56", "-0,05", -5),
        ("1234,56", "\u22120,05", -5),
        ("1234,56", "5,00-", -500),
    ],
)
def test_amounts_are_read_in_the_form_that_is_named(example: str, text: str, cents: int) -> None:
    assert cents == NumberForm(example).parse_amount(text, "EUR", CURRENCIES_ALONE)


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ("1234.56", "1,234.56"),
        ("1234.56", "1.234"),
        ("1.234,56", "1.23,00"),
        ("1.234,56", "12.34.567"),
        ("1.234,56", "1.234.56"),
        ("1234.56", "1."),
        ("1234.56", ".5"),
        ("1234.56", "-5-"),
        ("1234.56", "5 EUR"),
        ("1234.56", ""),
    ],
)
def test_a_number_in_another_form_is_never_guessed(example: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a number in the form|has 3 decimal places"):
        NumberForm(example).parse_amount(text, "EUR", CURRENCIES_ALONE)


@pytest.mark.parametrize(("currency", "text", "cents"), [("JPY", "5", 5), ("EUR", "5", 500), ("BHD", "5.001", 5001)])
def test_an_amount_has_the_places_of_its_currency(currency: str, text: str, cents: int) -> None:
    assert cents == NumberForm().parse_amount(text, currency, CURRENCIES_ALONE)
    with pytest.raises(ValueError, match="decimal places"):
        NumberForm().parse_amount(f"{text}.0000".replace(".001.", "."), currency, CURRENCIES_ALONE)


@pytest.mark.parametrize(
    ("example", "text"),
    [("DD.MM.YYYY", "01.05.2026"), ("D/M/YY", "1/5/26"), ("MM-DD-YYYY", "05-01-2026"), ("YYYYMMDD", "20260501")],
)
def test_dates_are_read_in_the_form_that_is_named(example: str, text: str) -> None:
    assert "2026-05-01T00:00:00.000000Z" == parse_date_form(example).parse(text)


@pytest.mark.parametrize("text", ["2026-05-01", "31.02.2026", "1.5.2026", "01.05.26"])
def test_a_date_in_another_form_is_never_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date"):
        parse_date_form("DD.MM.YYYY").parse(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (NumberForm, "1234"),
        (NumberForm, "1.234.56"),
        (parse_date_form, "DD.MM"),
        (parse_date_form, "DD.MM.YYYY.DD"),
        (parse_separator, ",,"),
        (parse_separator, '"'),
        (parse_encoding, "utf-7"),
        (parse_encoding, "rot13"),
        (parse_encoding, "klingon"),
    ],
)
def test_an_option_that_does_not_fit_is_named(parse: Any, text: str) -> None:
    with pytest.raises(OptionError, match=r"^--(number-format|date-format|separator|encoding): "):
        parse(text)
