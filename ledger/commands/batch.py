"""Many transfers as one command, decided in order by the rules of single transfers: each sees the ones before it.

A client that chose the id of an item may send it again: with the same content it is a replay, which changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, TypeVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, Parties, States, StreamEvent, state_of
from ledger.commands.periods import period_streams
from ledger.commands.transaction import refuse_id
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refusal, Refused
from ledger.events import evolve
from ledger.events.transactions import Transaction

ItemT = TypeVar("ItemT")
SHORT_OF_FUNDS = errors.insufficient_funds().code


class ItemResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one item, without the members of its request: the transfer's id and currency, or its refusals.

    A replay has no currency, because its transfer was made earlier.
    """

    id: UUID | None = None
    currency: str | None = None
    refusals: tuple[Refusal, ...] = ()


class TransferBatch(Command, frozen=True):
    """Make these transfers, in order. With `atomic`, make all or none of them; otherwise, all that are not refused.

    With `seem_new`, nothing had the chosen ids and references shortly before, so their streams are not read. The write
    detects it if something has them by then.

    The result has an `ItemResult` for each, in order. The response combines it with the request, so the command log
    need not repeat the request.
    """

    name: ClassVar[str] = "TransferMany"
    always_appends: ClassVar[bool] = False

    transfers: tuple[TransferMoney, ...]
    atomic: bool = False
    seem_new: bool = False

    def streams(self) -> Iterable[UUID]:
        """Return the streams of all transfers; with `seem_new`, not those to reserve."""
        if self.seem_new:
            return {
                stream
                for each in self.transfers
                for stream in (
                    *(each.source_account_id, each.destination_account_id),
                    *(*each.payer_streams(), *period_streams(each.effective_at)),
                )
            }
        return {stream for transfer in self.transfers for stream in transfer.streams()}

    def creates(self) -> Iterable[UUID]:
        """Return the transfers under fresh ids; with `seem_new`, also chosen ids and references."""
        fresh = [transfer.transaction_id for transfer in self.transfers if not transfer.id_was_chosen]
        return [*fresh, *self.reserves()] if self.seem_new else fresh

    def reserves(self) -> list[UUID]:
        """Return the streams of the ids and references that the client chose."""
        return [stream for transfer in self.transfers for stream in transfer.reserves()]

    def doubt(self) -> "TransferBatch":
        """Return the batch that reads all streams."""
        return msgspec.structs.replace(self, seem_new=False) if self.seem_new else self

    def doubts(self, states: States) -> Iterable[UUID]:
        """Return the doubts of all transfers."""
        return {transaction_id for transfer in self.transfers for transaction_id in transfer.doubts(states)}

    def learn(self, parties: Mapping[UUID, Parties | None]) -> "TransferBatch":
        """Return the batch of which each transfer knows the parties of these transactions."""
        return msgspec.structs.replace(self, transfers=tuple(transfer.learn(parties) for transfer in self.transfers))

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
    """Decide items in order, each on the states after the ones before it. The result has an `ItemResult` for each.

    Raises `Refused` if `atomic`, with the refusals of the first item that is refused.
    """
    now = dict(states)
    events: list[StreamEvent] = []
    results: list[ItemResult] = []
    for number, item in enumerate(items):
        try:
            result, new_events = decide(item, now)
        except Refused as refused:
            if atomic:
                raise Refused(*(refusal.within(f"/items/{number}") for refusal in refused.refusals)) from None
            results.append(ItemResult(refusals=refused.refusals))
            continue
        for stream, event in new_events:
            now[stream] = evolve(now[stream], event)
        events += new_events
        results.append(result)
    is_partly_refused = any(result.refusals for result in results)
    return Decision(events, {"results": results}, states=now, is_partly_refused=is_partly_refused)


def _decide(transfer: TransferMoney, states: States) -> tuple[ItemResult, list[StreamEvent]]:
    if transfer.id_was_chosen and states[transfer.transaction_id] is not None and transfer.may_debit(states):
        check_same_transfer(transfer, states)
        return ItemResult(transfer.transaction_id), []
    try:
        event, events = transfer.decide_transfer(states)
    except Refused as refused:
        raise Refused(*(_name_account(refusal, transfer) for refusal in refused.refusals)) from None
    return ItemResult(transfer.transaction_id, event.currency), events


def _name_account(refusal: Refusal, transfer: TransferMoney) -> Refusal:
    """Return the refusal with the account that is short of funds: of many items, it need not be clear which."""
    return refusal.about(transfer.source_account_id) if refusal.code == SHORT_OF_FUNDS else refusal


def check_same_transfer(transfer: TransferMoney, states: States) -> None:
    """Raise `Refused` unless the same transfer was made under this id, from an account that the caller may debit."""
    if not transfer.sees_taken_id(states):
        raise Refused(refuse_id())
    earlier = state_of(states, transfer.transaction_id, Transaction)
    event = None if earlier is None else earlier.transfer
    if event is None or not transfer.may_debit(states) or event != transfer.to_event(event.currency):
        raise Refused(errors.transaction_id_reused(transfer.transaction_id))
