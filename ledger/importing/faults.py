"""Faults of a file: where each is, and why the file cannot be imported."""

from typing import NamedTuple

MAX_FAULTS = 50  # reported of one file


class Place(NamedTuple):
    """A line and a column of a file, both from 1."""

    line: int
    column: int


class Fault(NamedTuple):
    """A reason why a file cannot be imported, and where it is."""

    place: Place
    why: str


class FileFaultError(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, line: int, column: int, why: str) -> None:
        super().__init__(why)
        self.fault = Fault(Place(line, column), why)


class FaultyFileError(Exception):
    """The file has these faults; `complete` says whether they are all."""

    def __init__(self, faults: list[Fault], *, complete: bool) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults
        self.complete = complete


class OptionError(Exception):
    """An option, or a profile, that does not fit. The message is one sentence for the user."""
