"""Projections: what queries read, one module a question, each with the queries on its own tables.

A projection says what events do to its tables as set-based statements; it has no clock and reads nothing else, so the
same events always give the same rows. The inline ones run in the transaction that appends, so a client always reads
its own writes.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from ledger.events import Recorded
from ledger.projections import accounts, entries, tokens, users
from ledger.projections import transactions as transfers
from ledger.store.statements import Statement


class Projection(NamedTuple):
    """A projection's name, the tables that are its own, the events it handles, and what those do to the tables."""

    name: str
    tables: tuple[str, ...]
    handles: AbstractSet[type]
    apply: Callable[[Sequence[Recorded]], list[Statement]]


INLINE = (
    Projection("users", ("users",), users.HANDLED, users.apply),
    Projection("accounts", ("accounts",), accounts.HANDLED, accounts.apply),
    Projection("entries", ("entries",), entries.HANDLED, entries.apply),
    Projection("transfers", ("transfers",), transfers.HANDLED, transfers.apply),
    Projection("sessions", ("sessions", "cutoffs"), tokens.HANDLED_BY_SESSIONS, tokens.apply_sessions),
    Projection("tokens", ("tokens",), tokens.HANDLED_BY_TOKENS, tokens.apply_tokens),
)


def apply_all(projections: Iterable[Projection], events: Sequence[Recorded]) -> list[Statement]:
    """All that these events do to the tables of these projections."""
    types = {type(row.event) for row in events}
    return [
        statement
        for projection in projections
        if not types.isdisjoint(projection.handles)
        for statement in projection.apply(events)
    ]
