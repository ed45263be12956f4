"""Captures and reversals in parts, and holds of earlier versions, of which the payee and the reference know less."""

from datetime import timedelta
from typing import Any

from ledger.commands.accounts import CloseAccount
from ledger.commands.command import StreamEvent
from ledger.commands.holds import CaptureHold, ExpireHold, VoidHold
from ledger.commands.reversals import ReverseTransaction
from ledger.events.accounts import (
    AccountCredited,
    AccountDebited,
    FundsHeld,
    FundsReleased,
    IncomingHeld,
    IncomingReleased,
)
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    MoneyTransferred,
    ReferenceReleased,
    ReferenceUsed,
    TransactionReversed,
    reference_stream,
)
from tests.support.ledgers import NOON, PURSE, TILL, TRANSFER, TWO_ACCOUNTS, Given, named_id

SOON = NOON + timedelta(seconds=60)
REVERSAL = named_id("reversal")
PLACED = HoldPlaced(
    source_account_id=PURSE,
    destination_account_id=TILL,
    amount_cents=60,
    currency="USD",
    expires_at=SOON,
    is_announced=True,
    reference="room",
)
ROOM = reference_stream("room")
USED: StreamEvent = (ROOM, ReferenceUsed(TRANSFER))
HELD: list[StreamEvent] = [
    *TWO_ACCOUNTS,
    (TRANSFER, PLACED),
    (PURSE, FundsHeld(TRANSFER, 60, 60)),
    (TILL, IncomingHeld(TRANSFER, 60, 60)),
    USED,
]
HELD_BEFORE: list[StreamEvent] = [
    *TWO_ACCOUNTS,
    (
        TRANSFER,
        HoldPlaced(
            source_account_id=PURSE,
            destination_account_id=TILL,
            amount_cents=60,
            currency="USD",
            expires_at=SOON,
            reference="room",
        ),
    ),
    (PURSE, FundsHeld(TRANSFER, 60, 60)),
    USED,
]
OF_HOLD: dict[str, Any] = {
    "transaction_id": TRANSFER,
    "source_account_id": PURSE,
    "destination_account_id": TILL,
    "hold_reference": "room",
    "now": NOON,
}


def test_a_capture_that_is_not_final_releases_what_it_moves() -> None:
    assert [
        (TRANSFER, HoldCaptured(25, 0, final=False)),
        (PURSE, FundsReleased(TRANSFER, 25, 35)),
        (TILL, IncomingReleased(TRANSFER, 25, 35)),
        (PURSE, AccountDebited(TRANSFER, 25, 75)),
        (TILL, AccountCredited(TRANSFER, 25, 25)),
    ] == Given(HELD).when(CaptureHold(**OF_HOLD, amount_cents=25, final=False))


def test_a_void_after_a_capture_keeps_the_reference() -> None:
    given = Given([*HELD, *Given(HELD).when(CaptureHold(**OF_HOLD, amount_cents=25, final=False))])
    assert [
        (TRANSFER, HoldVoided(25)),
        (PURSE, FundsReleased(TRANSFER, 35, 0)),
        (TILL, IncomingReleased(TRANSFER, 35, 0)),
    ] == given.when(VoidHold(**OF_HOLD))


def test_the_end_of_a_hold_that_moved_nothing_frees_its_reference() -> None:
    assert (ROOM, ReferenceReleased(TRANSFER)) == Given(HELD).when(VoidHold(**OF_HOLD))[-1]
    assert (ROOM, ReferenceReleased(TRANSFER)) == Given(HELD).when(ExpireHold(**{**OF_HOLD, "now": SOON}))[-1]


def test_a_hold_of_an_earlier_version_releases_nothing_that_was_not_announced() -> None:
    assert [
        (TRANSFER, HoldVoided()),
        (PURSE, FundsReleased(TRANSFER, 60, 0)),
        (ROOM, ReferenceReleased(TRANSFER)),
    ] == Given(HELD_BEFORE).when(VoidHold(**OF_HOLD))


def test_the_reference_of_a_hold_that_an_earlier_version_ended_is_freed_on_demand() -> None:
    ended: list[StreamEvent] = [(TRANSFER, HoldExpired()), (PURSE, FundsReleased(TRANSFER, 60, 0))]
    released = [(ROOM, ReferenceReleased(TRANSFER))]
    assert released == Given([*HELD_BEFORE, *ended]).when(ExpireHold(**OF_HOLD))
    assert [] == Given([*HELD_BEFORE, *ended, *released]).when(ExpireHold(**OF_HOLD))


def test_an_account_that_expects_money_cannot_be_closed() -> None:
    assert ["account_not_empty"] == Given(HELD).refuses(CloseAccount(TILL))
    assert ["account_not_empty"] == Given(HELD_BEFORE).refuses(CloseAccount(TILL, expects_money=True))
    assert Given(HELD_BEFORE).when(CloseAccount(TILL))


def test_partial_reversals_add_up_to_the_whole() -> None:
    transfer = MoneyTransferred(
        source_account_id=PURSE,
        destination_account_id=TILL,
        amount_cents=30,
        currency="USD",
        kind="transfer",
        reference=None,
    )
    history: list[StreamEvent] = [
        *TWO_ACCOUNTS,
        (TRANSFER, transfer),
        (PURSE, AccountDebited(TRANSFER, 30, 70)),
        (TILL, AccountCredited(TRANSFER, 30, 30)),
    ]
    reversal: dict[str, Any] = {"reversal_id": REVERSAL, "transaction_id": TRANSFER, "account_ids": (PURSE, TILL)}

    part = Given(history).when(ReverseTransaction(**reversal, amount_cents=10))
    assert (TRANSFER, TransactionReversed(REVERSAL, 10, is_partial=True)) == part[-1]
    rest = Given([*history, *part]).when(ReverseTransaction(**{**reversal, "reversal_id": named_id("rest")}))
    assert (TRANSFER, TransactionReversed(named_id("rest"), 30)) == rest[-1]
    assert ["transaction_already_reversed"] == Given([*history, *part, *rest]).refuses(
        ReverseTransaction(**{**reversal, "reversal_id": named_id("more")}, amount_cents=1)
    )
    assert (TRANSFER, TransactionReversed(REVERSAL, 30)) == Given(history).when(
        ReverseTransaction(**reversal, amount_cents=30)
    )[-1]
