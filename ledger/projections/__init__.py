"""Projections: the read tables, in modules that also have the queries on them.

A projection turns events into set-based statements on its tables. It has no clock and reads nothing else, so the same
events always give the same rows. Inline projections run in the transaction that appends: a client reads its own writes.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from ledger.events import Recorded
from ledger.projections import (
    account_labels,
    account_owners,
    accounts,
    assets,
    captures,
    clients,
    dated_entries,
    monitors,
    reconciliations,
    schedules,
    tokens,
    transactions,
    users,
    webhooks,
)
from ledger.projections.table import Table
from ledger.store.statements import Statement


class Projection(NamedTuple):
    """A name, the description of each of its tables, the events that it handles, and their effect on the tables."""

    name: str
    tables: tuple[Table, ...]
    handles: AbstractSet[type]
    apply: Callable[[Sequence[Recorded]], list[Statement]]

    @property
    def table_names(self) -> tuple[str, ...]:
        """Return the names of the tables."""
        return tuple(table.name for table in self.tables)


INLINE = (
    Projection("users", (users.USERS,), users.HANDLED, users.apply),
    Projection("accounts", (accounts.ACCOUNTS,), accounts.HANDLED, accounts.apply),
    Projection("account_owners", (account_owners.ACCOUNT_OWNERS,), account_owners.HANDLED, account_owners.apply),
    Projection("account_labels", account_labels.TABLES, account_labels.HANDLED, account_labels.apply),
    Projection("assets", (assets.ASSETS,), assets.HANDLED, assets.apply),
    Projection("transfers", transactions.TABLES, transactions.HANDLED, transactions.apply),
    Projection("captures", (captures.CAPTURES,), captures.HANDLED, captures.apply),
    Projection("dated_entries", (dated_entries.DATED_ENTRIES,), dated_entries.HANDLED, dated_entries.apply),
    Projection("schedules", (schedules.SCHEDULES, schedules.SCHEDULED_ACCOUNTS), schedules.HANDLED, schedules.apply),
    Projection("monitors", (monitors.MONITORS,), monitors.HANDLED, monitors.apply),
    Projection(
        "reconciliations",
        (reconciliations.RECONCILIATIONS, reconciliations.RECONCILED_ENTRIES),
        reconciliations.HANDLED,
        reconciliations.apply,
    ),
    Projection("webhooks", webhooks.TABLES, webhooks.HANDLED, webhooks.apply),
    Projection("clients", (clients.CLIENTS,), clients.HANDLED, clients.apply),
    Projection("sessions", (tokens.SESSIONS, tokens.CUTOFFS), tokens.HANDLED_BY_SESSIONS, tokens.apply_sessions),
    Projection("tokens", (tokens.TOKENS,), tokens.HANDLED_BY_TOKENS, tokens.apply_tokens),
)
TABLES = tuple(table for projection in INLINE for table in projection.tables)


def apply_all(projections: Iterable[Projection], events: Sequence[Recorded]) -> list[Statement]:
    """Return the statements that apply these events to the tables of these projections."""
    types = {type(row.event) for row in events}
    return [
        statement
        for projection in projections
        if not types.isdisjoint(projection.handles)
        for statement in projection.apply(events)
    ]
