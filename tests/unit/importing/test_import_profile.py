"""A profile keeps the options that a source needs each time; the options of the command come first."""

from pathlib import Path

import pytest

from ledger.importing.faults import OptionError
from ledger.importing.profile import load_profile, make_reading, parse_mapping
from ledger.importing.readers import find_format
from ledger.money import CURRENCIES_ALONE
from tests.support.import_files import A, write

PROFILE = f"""separator = ";"
encoding = "windows-1252"
number_format = "1.234,56"
date_format = "DD.MM.YYYY"
currency = "EUR"
account = "{A}"
ignore = ["Saldo"]

[map]
amount = "Betrag"
"metadata.iban" = "IBAN"
"""


def test_options_come_before_those_of_the_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / "bank.toml", PROFILE))
    given = {"currency": "CHF", "separator": None, "map": parse_mapping(["amount=Sum=1"]), "ignore": ("Art",)}

    reading = make_reading(profile, given)

    assert ("CHF", ";", "cp1252", A) == (reading.currency, reading.separator, reading.encoding, reading.account)
    assert {"amount": "Sum=1", "metadata.iban": "IBAN"} == reading.columns
    assert {"Saldo", "Art"} == reading.ignored
    assert 123456 == reading.number_form.parse_amount("1.234,56", "EUR", CURRENCIES_ALONE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seperator = ';'", "seperator is unknown; a profile has format"),
        ("separator = 1", "separator is of the wrong type"),
        ("map = 'x'", "map is of the wrong type"),
        ("ignore = [1]", "ignore is of the wrong type"),
        ("= 1", "Invalid statement"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        load_profile(write(tmp_path / "bank.toml", text))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"map": {"amont": "x"}}, "--map: amont is no member of a transaction"),
        ({"currency": "XXX"}, "--currency: must be an ISO 4217 code"),
        ({"separator": "ab"}, "--separator: must be a character, or tab"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        make_reading({}, options)


def test_a_mapping_names_a_member_and_a_column() -> None:
    with pytest.raises(OptionError, match="--map: amount must be MEMBER=COLUMN"):
        parse_mapping(["amount"])


def test_the_format_is_that_of_the_suffix_or_named() -> None:
    assert ["csv", "camt", "qif"] == [find_format(Path(f"a.{suffix}"), None) for suffix in ("TSV", "xml", "qif")]
    assert "jsonl" == find_format(Path("a.log"), "jsonl")
    for path, named in (("a.xlsx", None), ("a.csv", "xlsx")):
        with pytest.raises(OptionError, match=r"give --format|--format: must be one of"):
            find_format(Path(path), named)
