"""Many transfers as one command: decided in order, each seeing what those before it did, by the rules of a single one.

An item whose client chose its id may come again: with the same content it is a replay, which changes nothing.
"""

from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.transfers import TransferMoney, hide_others_account
from ledger.errors import Refusal, Refused
from ledger.events import evolve
from ledger.events.accounts import Account
from ledger.events.transactions import Transaction

ItemT = TypeVar("ItemT")


class ItemResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item, beyond what it said itself: the transfer's id and currency, or why there is none.

    A replay has no currency: its transfer was made before.
    """

    id: UUID | None = None
    currency: str | None = None
    refusals: tuple[Refusal, ...] = ()


class TransferBatch(Command, frozen=True):
    """Make these transfers, in order. With `atomic`, all of them or none; else each that is not refused.

    The result has an `ItemResult` for each, in order: with what the request says it makes the answer, so the command
    log need not say everything twice.
    """

    name: ClassVar[str] = "TransferMany"
    always_appends: ClassVar[bool] = False

    transfers: tuple[TransferMoney, ...]
    atomic: bool = False

    def streams(self) -> Iterable[UUID]:
        """Return the streams of all transfers."""
        return {stream for transfer in self.transfers for stream in transfer.streams()}

    def creates(self) -> Iterable[UUID]:
        """Return the transfers under fresh ids."""
        return [transfer.transaction_id for transfer in self.transfers if not transfer.id_was_chosen]

    def decide(self, states: States) -> Decision:
        """Return the events of all transfers. Raises `Refused` if `atomic`, with the first transfer's refusals."""
        return decide_each(self.transfers, states, _decide, atomic=self.atomic)


def decide_each(
    items: Iterable[ItemT],
    states: States,
    decide: Callable[[ItemT, States], tuple[ItemResult, list[StreamEvent]]],
    *,
    atomic: bool = False,
) -> Decision:
    """Decide items in order, each from the states that those before it left. The result has an `ItemResult` for each.

    Raises `Refused` if `atomic`, with the refusals of the first item that is refused.
    """
    now = dict(states)
    events: list[StreamEvent] = []
    results: list[ItemResult] = []
    for number, item in enumerate(items):
        try:
            result, happened = decide(item, now)
        except Refused as refused:
            if atomic:
                raise Refused(*(refusal.within(f"/items/{number}") for refusal in refused.refusals)) from None
            results.append(ItemResult(refusals=refused.refusals))
            continue
        for stream, event in happened:
            now[stream] = evolve(now[stream], event)
        events += happened
        results.append(result)
    return Decision(events, {"results": results}, states=now)


def _decide(transfer: TransferMoney, states: States) -> tuple[ItemResult, list[StreamEvent]]:
    if transfer.id_was_chosen and states[transfer.transaction_id] is not None:
        check_same_transfer(transfer, states)
        return ItemResult(transfer.transaction_id), []
    made, events = transfer.decide_transfer(states)
    return ItemResult(transfer.transaction_id, made.currency), events


def check_same_transfer(transfer: TransferMoney, states: States) -> None:
    """Raise `Refused` unless this very transfer was made under its id, from an account that the caller may debit."""
    known = state_of(states, transfer.transaction_id, Transaction)
    source = hide_others_account(state_of(states, transfer.source_account_id, Account), transfer.only_owner_id)
    if known is None or known.made is None or source is None or known.made != transfer.to_event(known.made.currency):
        raise Refused(errors.transaction_id_reused(transfer.transaction_id))
