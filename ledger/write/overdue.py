"""Ends overdue holds in the commit group that needs their money, however late the expiry task is.

A command that is refused may need funds that an overdue hold still holds, an account that one still pays to, or its
reference. Only then are the overdue holds looked up. They end first, and the group is decided again. So it is once the
parties of a transaction are looked up that has the id or the reference of a refused command.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from ledger.commands.holds import ExpireHold
from ledger.projections import holds, transactions
from ledger.projections.holds import DueHold
from ledger.store.connections import Connection
from ledger.store.heads import NO_STREAM, Head, read_heads
from ledger.values.ids import new_id
from ledger.write.group import Origin, OutcomeOrError, PreparedGroup, prepare, streams_of
from ledger.write.pending import Pending

MAX_HOLDS = 1000  # looked up at once

# The arguments are the time, the accounts, the transactions, those to leave out, and the limit.
FindDueHolds: TypeAlias = Callable[
    [Connection, datetime, Collection[UUID], Collection[UUID], Collection[UUID], int], Awaitable[list[DueHold]]
]


class Ending(Pending):
    """The end of an overdue hold. No client waits for it."""

    __slots__ = ()

    def __init__(self, hold: DueHold, now: datetime) -> None:
        super().__init__(expire(hold, now), Origin(new_id()), weight=1, deadline=math.inf)

    def deliver(self, outcome: OutcomeOrError) -> None:
        """Do nothing: the command that needed the end has an outcome of its own."""


def expire(hold: DueHold, now: datetime) -> ExpireHold:
    """Return the command that ends a hold at `now`."""
    return ExpireHold(
        transaction_id=hold.transaction_id,
        source_account_id=hold.source_account_id,
        destination_account_id=hold.destination_account_id,
        hold_reference=hold.reference,
        payer_ids=tuple(hold.payer_ids),
        now=now,
    )


class Source(NamedTuple):
    """Where decisions get their states from: the present, or in a dry run also a past state."""

    read_heads: Callable[[Connection, Collection[UUID]], Awaitable[Mapping[UUID, Head]]]
    find_due_holds: FindDueHolds
    read_clock: Callable[[], datetime]


PRESENT = Source(read_heads, holds.find_due_holds, lambda: datetime.now(UTC))


async def prepare_with_endings(
    connection: Connection, commands: Sequence[Pending], heads: dict[UUID, Head], source: Source = PRESENT
) -> PreparedGroup[Pending]:
    """Decide commands, after the ends of the overdue holds that stop some of them. The commands are the last ones.

    Missing `heads` are read and added.
    """
    group = commands
    prepared = await _prepare(connection, group, heads, source)
    seen: list[UUID] = []
    while prepared.suspects:
        now = source.read_clock()
        suspects = prepared.suspects
        await _look_up_doubts(connection, commands, suspects.doubts)
        due = await source.find_due_holds(
            connection, now, suspects.account_ids, suspects.transaction_ids, seen, MAX_HOLDS
        )
        if not due and not suspects.doubts:
            break
        seen += [hold.transaction_id for hold in due]
        group = [*(Ending(hold, now) for hold in due), *group]
        prepared = await _prepare(connection, group, heads, source)
    return prepared


async def _look_up_doubts(connection: Connection, commands: Sequence[Pending], doubts: Collection[UUID]) -> None:
    """Give the commands what they need to know of these transactions, each of which is looked up once."""
    if doubts:
        parties = dict.fromkeys(doubts) | await transactions.find_parties(connection, doubts)
        for pending in commands:
            pending.command = pending.command.learn(parties)


async def _prepare(
    connection: Connection, commands: Sequence[Pending], heads: dict[UUID, Head], source: Source
) -> PreparedGroup[Pending]:
    streams = streams_of(commands)
    if unknown := streams - heads.keys():
        heads |= {**dict.fromkeys(unknown, NO_STREAM), **await source.read_heads(connection, unknown)}
    return prepare(commands, streams, {stream: heads[stream] for stream in streams})
