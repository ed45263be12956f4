"""How much of each fault a run does: all of it under `make faults`, a few seconds of it under `make check`."""

import os

FULL = os.environ.get("FAULTS") == "full"


def times(full: int) -> int:
    """Return how often a fault happens: as often as this in the full suite, else once."""
    return full if FULL else 1


def seconds(full: float, *, short: float) -> float:
    """Return how long a fault lasts."""
    return full if FULL else short
