"""The parts of the benchmark, and the choice among them on the command line."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from benchmarks.figures import Row
from benchmarks.ledger import Ledger

LIST = "list"


class Part(NamedTuple):
    """A part: its name, what it measures, and about how long that takes.

    It measures on the ledger that parts share, or alone on services that it starts itself.
    """

    name: str
    what: str
    minutes: float
    on_ledger: Callable[[Ledger], Awaitable[list[Row]]] | None = None
    alone: Callable[[], Awaitable[list[Row]]] | None = None


class UnknownPartError(Exception):
    """A name that no part has."""


def choose(parts: Sequence[Part], only: str) -> list[Part]:
    """Return the parts with these names, separated by commas, in their own order; all for an empty text."""
    names = {name.strip() for name in only.split(",")} - {""}
    if unknown := names - {part.name for part in parts}:
        raise UnknownPartError(f"no part is named {', '.join(sorted(unknown))}; ONLY={LIST} prints the names")
    return [part for part in parts if not names or part.name in names]


def describe_part(part: Part) -> str:
    """Return a line about a part."""
    return f"{part.name}: {part.what}; about {part.minutes:g} min"
