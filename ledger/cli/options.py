"""Options and arguments that several commands share, and how their texts are parsed."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from ledger.audit.limited import MAX_FINDINGS
from ledger.cli.shell import fail

T = TypeVar("T")


class Order(StrEnum):
    """Which times of transactions count."""

    RECORDED = "recorded"
    EFFECTIVE = "effective"


EffectiveAt = Annotated[
    str | None,
    typer.Option(help="Effective time by which entries count, such as 2026-03-31 for the end of that day (UTC)."),
]
By = Annotated[Order, typer.Option(help="Order and dates: those of recording, or effective times.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AllFindings = Annotated[
    bool,
    typer.Option("--all", help=f"Print all findings, instead of the first {MAX_FINDINGS:,} and the number of others."),
]
AsDryRun = Annotated[bool, typer.Option("--dry-run", help="Check and decide, and write nothing.")]


def parse_option(option: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    """Return the value of an option, or None if it was not given; end the program with status 2 if it is invalid."""
    return None if text is None else parse_value(option, text, parse)


def parse_value(name: str, text: str, parse: Callable[[str], T]) -> T:
    """Return the parsed text; if `parse` raises `ValueError`, end the program with status 2 and say what is wrong."""
    try:
        return parse(text)
    except ValueError as error:
        fail(f"{name}: {error}", 2)
