"""Whoever asks something that takes long may want to know how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Who wants to know."""

    def begin(self, what: str, rows: int) -> None:
        """A part begins, with about so many rows to read."""

    def advance(self, rows: int) -> None:
        """So many more were read."""
