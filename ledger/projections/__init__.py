"""Projections: what queries read, one module a question, each with the queries on its own tables.

A projection says what events do to its tables as set-based statements; it has no clock and reads nothing else, so the
same events always give the same rows. The inline ones run in the transaction that appends, so a client always reads
its own writes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ledger.events import Recorded
from ledger.projections import accounts, entries, tokens, transfers, users
from ledger.statements import Statement


class Projection(NamedTuple):
    """A projection's name, the tables that are its own, and what events do to them."""

    name: str
    tables: tuple[str, ...]
    apply: Callable[[Sequence[Recorded]], list[Statement]]


INLINE = (
    Projection("users", ("users",), users.apply),
    Projection("accounts", ("accounts",), accounts.apply),
    Projection("entries", ("entries",), entries.apply),
    Projection("transfers", ("transfers",), transfers.apply),
    Projection("sessions", ("sessions", "cutoffs"), tokens.apply_sessions),
    Projection("tokens", ("tokens",), tokens.apply_tokens),
)


def apply_inline(events: Sequence[Recorded]) -> list[Statement]:
    """All that these events do to the read tables."""
    return [statement for projection in INLINE for statement in projection.apply(events)]
