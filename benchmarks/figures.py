"""Figures: two things measured in turns, so that a busy machine slows both, and the ratio that is promised."""

from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.load import Measured

ROUNDS = 5
SECONDS = 6


class Row(NamedTuple):
    """A line of the table. `good` says whether the ratio is what the project promises.

    A figure for the record has no yardstick.
    """

    name: str
    ledger: str
    yardstick: str
    ratio: float | None
    wanted: str
    good: bool


async def in_turns(*measures: Callable[[], Awaitable[Measured]]) -> list[Measured]:
    """Return the median of some rounds of each measure."""
    rounds: list[Sequence[Measured]] = [[await measure() for measure in measures] for _ in range(ROUNDS)]
    return [Measured(*(median(figures) for figures in zip(*one, strict=True))) for one in zip(*rounds, strict=True)]


def for_the_record(name: str, value: float) -> Row:
    """Return a row that nothing is promised of."""
    return Row(name, f"{value:.2f}", "", None, "", good=True)


def at_least(name: str, ledger: float, yardstick: float, wanted: float) -> Row:
    """Return a row whose ratio must be at least `wanted`."""
    ratio = ledger / yardstick
    return Row(name, f"{ledger:,.0f}", f"{yardstick:,.0f}", ratio, f"at least {wanted:.2f}", ratio >= wanted)


def at_most(name: str, ledger: float, yardstick: float, wanted: float) -> Row:
    """Return a row whose ratio must be at most `wanted`."""
    ratio = ledger / yardstick
    return Row(name, f"{ledger:.2f}", f"{yardstick:.2f}", ratio, f"at most {wanted:.2f}", ratio <= wanted)
