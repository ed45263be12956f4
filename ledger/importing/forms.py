"""The forms of numbers and dates in files. A form is named explicitly: `1.234` is two numbers in two countries."""

import re
from datetime import UTC, date, datetime
from typing import NamedTuple

from ledger.importing.faults import OptionError
from ledger.money import MAX_CENTS, Assets
from ledger.values.timestamps import rfc3339

_NUMBER_FORM = re.compile(r"1(?P<thousands>[., '\u2019\u00a0\u202f]?)234(?P<decimal>[.,])56")
_BLANKS = " \u00a0\u202f"  # a thousands separator that is a blank may be each of these
_SIGNS = str.maketrans("\u2212", "-")
_DATE_PARTS = {"YYYY": r"(?P<year>[0-9]{4})", "YY": r"(?P<short>[0-9]{2})"}
_DATE_PARTS |= {"MM": r"(?P<month>[0-9]{2})", "M": r"(?P<month>[0-9]{1,2})"}
_DATE_PARTS |= {"DD": r"(?P<day>[0-9]{2})", "D": r"(?P<day>[0-9]{1,2})"}
_DATE_PART = re.compile("|".join(_DATE_PARTS))
_CENTURY = 2000
_MAX_DIGITS = 100  # leading zeros included


class NumberForm:
    """How numbers are written, by the example `1.234,56`, `1 234.56`, or `1234.56` without thousands."""

    def __init__(self, example: str = "1234.56") -> None:
        """Take the form of an example. Raises `OptionError`."""
        form = _NUMBER_FORM.fullmatch(example)
        if form is None or form["thousands"] == form["decimal"]:
            raise OptionError("--number-format: write 1234.56 in the form of the file, such as 1.234,56")
        thousands = (
            f"[{_BLANKS}]" if form["thousands"] and form["thousands"] in _BLANKS else re.escape(form["thousands"])
        )
        grouped = rf"[0-9]{{1,3}}(?:{thousands}[0-9]{{3}})+|" if form["thousands"] else ""
        self.example = example
        self._match = re.compile(
            rf"(?P<sign>[+-]?)(?P<whole>{grouped}[0-9]+)(?:{re.escape(form['decimal'])}(?P<fraction>[0-9]*))?(?P<after>-?)",
            re.ASCII,
        ).fullmatch

    def parse_integer(self, text: str) -> int:
        """Parse an integer. Raises `ValueError`."""
        if text.isdigit() and text.isascii():
            return _parse_digits(text)
        return self._parse(text, 0)

    def parse_amount(self, text: str, currency: str, assets: Assets) -> int:
        """Parse an amount in units of a currency; return it in its minor unit. Raises `ValueError`."""
        return self._parse(text, assets.digits(currency), currency)

    def _parse(self, text: str, digits: int, currency: str | None = None) -> int:
        found = self._match(text.translate(_SIGNS))
        if found is None or (found["sign"] and found["after"]) or found["fraction"] == "":
            what = "an integer" if currency is None else "a number"
            raise ValueError(f"must be {what} in the form {self.example}")
        fraction = found["fraction"] or ""
        if len(fraction) > digits:
            raise ValueError(_explain_places(len(fraction), digits, currency))
        cents = _parse_digits(re.sub(r"[^0-9]", "", found["whole"]) + fraction.ljust(digits, "0"))
        return -cents if "-" in (found["sign"], found["after"]) else cents


def _explain_places(places: int, digits: int, currency: str | None) -> str:
    if currency is None:
        return "must be an integer, without a fraction"
    return f"has {places} decimal places, and {currency} has {digits or 'none'}"


def _parse_digits(digits: str) -> int:
    cents = int(digits) if len(digits) <= _MAX_DIGITS else MAX_CENTS + 1
    if cents > MAX_CENTS:
        raise ValueError("must be at most 2^53 - 1 in the minor unit")
    return cents


class DateForm(NamedTuple):
    """How dates are written, such as `DD.MM.YYYY`."""

    example: str
    pattern: "re.Pattern[str]"

    def parse(self, text: str) -> str:
        """Return a date as a timestamp (RFC 3339): its midnight in UTC. Raises `ValueError`."""
        found = self.pattern.fullmatch(text)
        if found is None:
            raise ValueError(f"must be a date in the form {self.example}")
        parts = found.groupdict()
        year = int(parts["year"]) if parts.get("year") else _CENTURY + int(parts["short"])
        try:
            return format_day(date(year, int(parts["month"]), int(parts["day"])))
        except ValueError:
            raise ValueError("must be a date that exists") from None


def parse_date_form(example: str) -> DateForm:
    """Return the form of dates that an option names. Raises `OptionError`."""
    pattern = _DATE_PART.sub(lambda part: _DATE_PARTS[part[0]], re.escape(example))
    names = re.findall(r"\?P<(\w+)>", pattern)
    if sorted("year" if name == "short" else name for name in names) != ["day", "month", "year"]:
        raise OptionError("--date-format: write the form of dates with D, M and Y, such as DD.MM.YYYY")
    return DateForm(example, re.compile(pattern, re.ASCII))


def format_day(day: date) -> str:
    """Return the midnight that begins a day in UTC (RFC 3339)."""
    return rfc3339(datetime(day.year, day.month, day.day, tzinfo=UTC))
