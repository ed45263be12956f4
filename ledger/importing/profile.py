"""Options of `ledger import` that a file of a source needs each time, kept in a TOML file."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ledger.importing.draft import Reading
from ledger.importing.faults import OptionError
from ledger.importing.forms import NumberForm, parse_date_form
from ledger.importing.members import CHECKS
from ledger.importing.rows import parse_separator
from ledger.importing.text import parse_encoding
from ledger.money import CURRENCIES_ALONE, Assets

MAP, IGNORE = "map", "ignore"
TEXTS = ("format", "separator", "encoding", "number_format", "date_format", "currency", "account", "against")
_MAPPED = frozenset(("id", "amount", "currency", "kind", *(name for checks in CHECKS.values() for name in checks)))


def load_profile(path: Path) -> dict[str, Any]:
    """Return the options in a profile. Raises `OptionError`."""
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: {error}") from None
    for name, value in options.items():
        if name == MAP:
            good = isinstance(value, dict) and all(isinstance(column, str) for column in value.values())
        elif name == IGNORE:
            good = isinstance(value, list) and all(isinstance(column, str) for column in value)
        elif name in TEXTS:
            good = isinstance(value, str)
        else:
            raise OptionError(f"{path}: {name} is unknown; a profile has {', '.join((*TEXTS, MAP, IGNORE))}")
        if not good:
            raise OptionError(f"{path}: {name} is of the wrong type")
    return options


def parse_mapping(texts: Iterable[str]) -> dict[str, str]:
    """Return the column of each member, from texts such as `amount_cents=Betrag`. Raises `OptionError`."""
    columns = {}
    for text in texts:
        member, equals, column = text.partition("=")
        if not (equals and column):
            raise OptionError(f"--map: {text} must be MEMBER=COLUMN")
        columns[member] = column
    return columns


def make_reading(profile: Mapping[str, Any], given: Mapping[str, Any], assets: Assets = CURRENCIES_ALONE) -> Reading:
    """Return how to read a file: by the options given, and else by those of the profile. Raises `OptionError`."""
    options: dict[str, Any] = {**profile, **{name: value for name, value in given.items() if value}}
    columns = {**profile.get(MAP, {}), **given.get(MAP, {})}
    for member in columns:
        if member not in _MAPPED and not member.startswith("metadata."):
            raise OptionError(
                f"--map: {member} is no member of a transaction ({', '.join(sorted(_MAPPED))}, metadata.KEY)"
            )
    if (currency := options.get("currency")) is not None:
        _check_currency(currency, assets)
    separator, encoding, dates = options.get("separator"), options.get("encoding"), options.get("date_format")
    return Reading(
        format=options.get("format"),
        separator=None if separator is None else parse_separator(separator),
        encoding=None if encoding is None else parse_encoding(encoding),
        number_form=NumberForm(options.get("number_format", "1234.56")),
        date_form=None if dates is None else parse_date_form(dates),
        columns=columns,
        ignored=frozenset((*profile.get(IGNORE, ()), *given.get(IGNORE, ()))),
        currency=currency,
        account=options.get("account"),
        against=options.get("against"),
        assets=assets,
    )


def _check_currency(currency: str, assets: Assets) -> None:
    try:
        assets.digits(currency)
    except ValueError as error:
        raise OptionError(f"--currency: {error}") from None
