"""Progress reporting for queries that take long."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a query."""

    def begin(self, what: str, rows: int) -> None:
        """Start a part of the query, with about `rows` rows to read."""

    def advance(self, rows: int) -> None:
        """Report that `rows` more rows were read."""
