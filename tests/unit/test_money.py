"""The currencies are those of ISO 4217, list one. `list-one.tsv` is that list without its names of countries."""

from pathlib import Path

from ledger import money

LIST_ONE = Path(__file__).parents[1] / "data" / "iso4217" / "list-one.tsv"
NO_MONEY = {"XAG", "XAU", "XPD", "XPT", "XTS", "XXX"}  # metals, tests, and transactions without a currency
UNITS_OF_ACCOUNT = {"UYW", "XAD", "XBA", "XBB", "XBC", "XBD", "XSU", "XUA"}


def read_list() -> dict[str, tuple[str, bool]]:
    """Return the digits of each code, and whether it is a fund."""
    rows = [line.split("\t") for line in LIST_ONE.read_text().splitlines() if not line.startswith("#")]
    return {code: (digits, bool(fund)) for code, digits, *fund in rows}


def test_the_currencies_are_the_national_ones_of_list_one() -> None:
    wanted = {code for code, (_, is_fund) in read_list().items() if not is_fund}
    assert wanted - NO_MONEY - UNITS_OF_ACCOUNT == money.CURRENT_CURRENCIES


def test_the_digits_are_those_of_list_one() -> None:
    listed = read_list()
    assert "N.A." == listed["XDR"][0]
    for code in money.CURRENT_CURRENCIES - {"XDR"}:
        assert listed[code][0] == str(money.CURRENCIES_ALONE.digits(code)), code


def test_a_withdrawn_currency_is_known_and_not_on_the_list() -> None:
    assert money.WITHDRAWN
    assert money.WITHDRAWN.keys().isdisjoint(read_list())
    assert money.CURRENCIES == money.CURRENT_CURRENCIES | money.WITHDRAWN.keys()
