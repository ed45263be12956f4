"""How much of each fault a run does: all of it under `make faults`, a few seconds of it under `make check`."""

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("FAULTS") == "full"


def times(full: int) -> int:
    """Return how often a fault happens: as often as this in the full suite, else once."""
    return full if FULL else 1


def seconds(full: float, *, short: float) -> float:
    """Return how long a fault lasts."""
    return full if FULL else short


def variants(*full: T) -> Sequence[T]:
    """Return the variants of a fault: all in the full suite, else the first."""
    return full if FULL else full[:1]
