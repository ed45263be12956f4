"""The rules of journal entries, holds and reversals, and their stored form, without a database."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.commands.accounts import UpdateAccount
from ledger.commands.command import StreamEvent
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.errors import StaleCommandError
from ledger.events import encode
from ledger.events.accounts import (
    Account,
    AccountCredited,
    AccountDebited,
    AccountFrozen,
    FundsHeld,
    FundsReleased,
    IncomingHeld,
    IncomingReleased,
    OverdraftLimitChanged,
)
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    JournalEntryPosted,
    MoneyTransferred,
    Posting,
    ReferenceUsed,
    TransactionReversed,
    reference_stream,
)
from ledger.money import MAX_CENTS
from ledger.projections import transactions
from ledger.store.heads import Head
from ledger.values.derived import derived_id
from ledger.write.group import CommitGroup, Origin, Submission, prepare, streams_of
from tests.support.ledgers import (
    ALICE,
    NOON,
    OTHER_TRANSFER,
    PURSE,
    SAFE,
    TILL,
    TRANSFER,
    TWO_ACCOUNTS,
    WORLD,
    WORLD_EXISTS,
    Given,
    account_events,
    named_id,
    transfer_command,
)

REVERSAL = named_id("reversal")
SOON = NOON + timedelta(seconds=60)
THREE_ACCOUNTS = [*TWO_ACCOUNTS, *account_events(SAFE, ALICE, 50)]
HELD: list[StreamEvent] = [
    *TWO_ACCOUNTS,
    (
        TRANSFER,
        HoldPlaced(
            source_account_id=PURSE,
            destination_account_id=TILL,
            amount_cents=60,
            currency="USD",
            expires_at=SOON,
            is_announced=True,
            reference=None,
        ),
    ),
    (PURSE, FundsHeld(TRANSFER, 60, 60)),
    (TILL, IncomingHeld(TRANSFER, 60, 60)),
]


def ending(kind: type[VoidHold | ExpireHold], now: datetime, source: UUID = PURSE) -> VoidHold | ExpireHold:
    return kind(transaction_id=TRANSFER, source_account_id=source, destination_account_id=TILL, now=now)


def hold(**members: Any) -> PlaceHold:
    return PlaceHold(
        transaction_id=TRANSFER,
        source_account_id=PURSE,
        destination_account_id=TILL,
        amount_cents=60,
        now=NOON,
        expires_at=SOON,
        limit_seconds=60,
        **members,
    )


# Holds.


def test_a_hold_appends_one_event_to_the_transaction_and_one_to_each_account() -> None:
    assert HELD[len(TWO_ACCOUNTS) :] == Given(TWO_ACCOUNTS).when(hold())


def test_a_capture_releases_the_held_amount_and_moves_the_captured_amount() -> None:
    assert [
        (TRANSFER, HoldCaptured(25)),
        (PURSE, FundsReleased(TRANSFER, 60, 0)),
        (TILL, IncomingReleased(TRANSFER, 60, 0)),
        (PURSE, AccountDebited(TRANSFER, 25, 75)),
        (TILL, AccountCredited(TRANSFER, 25, 25)),
    ] == Given(HELD).when(
        CaptureHold(
            transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=25, now=NOON
        )
    )


def test_a_hold_expires_at_its_time_and_not_before() -> None:
    last = SOON - timedelta(microseconds=1)
    assert Given(HELD).when(
        CaptureHold(
            transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=None, now=last
        )
    )
    assert [] == Given(HELD).when(ending(ExpireHold, last))

    assert ["hold_not_pending"] == Given(HELD).refuses(
        CaptureHold(
            transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=None, now=SOON
        )
    )
    expired = [
        (TRANSFER, HoldExpired()),
        (PURSE, FundsReleased(TRANSFER, 60, 0)),
        (TILL, IncomingReleased(TRANSFER, 60, 0)),
    ]
    assert expired == Given(HELD).when(ending(ExpireHold, SOON)) == Given(HELD).when(ending(VoidHold, SOON))


@pytest.mark.parametrize(
    "ended", [HoldCaptured(60), HoldVoided(), HoldExpired()], ids=lambda event: type(event).__name__
)
def test_an_ended_hold_cannot_be_ended_again(ended: Any) -> None:
    released: list[StreamEvent] = [(PURSE, FundsReleased(TRANSFER, 60, 0)), (TILL, IncomingReleased(TRANSFER, 60, 0))]
    given = Given([*HELD, (TRANSFER, ended), *released])
    assert ["hold_not_pending"] == given.refuses(
        CaptureHold(
            transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=None, now=NOON
        )
    )
    if ended == HoldExpired():  # a void asks for what has happened
        assert [] == given.when(ending(VoidHold, NOON))
    else:
        assert ["hold_not_pending"] == given.refuses(ending(VoidHold, NOON))
    assert [] == given.when(ending(ExpireHold, SOON))


def test_a_hold_can_be_captured_from_an_account_that_is_overdrawn_since() -> None:
    """After a forced reversal, a hold still keeps its promise."""
    given = Given([*HELD, (PURSE, AccountDebited(OTHER_TRANSFER, 100, 0))])
    assert (PURSE, AccountDebited(TRANSFER, 60, -60)) in given.when(
        CaptureHold(
            transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=None, now=NOON
        )
    )


@pytest.mark.parametrize(
    "command",
    [
        CaptureHold(
            transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=SAFE, amount_cents=None, now=NOON
        ),
        ending(VoidHold, NOON, TILL),
        ending(ExpireHold, SOON, TILL),
        ReverseTransaction(reversal_id=REVERSAL, transaction_id=OTHER_TRANSFER, account_ids=(PURSE,)),
    ],
    ids=lambda command: command.name,
)
def test_a_command_with_outdated_accounts_is_stale(command: Any) -> None:
    made = MoneyTransferred(
        source_account_id=PURSE,
        destination_account_id=TILL,
        amount_cents=1,
        currency="USD",
        kind="transfer",
        reference=None,
    )
    with pytest.raises(StaleCommandError):
        Given([*HELD, *account_events(SAFE, ALICE), (OTHER_TRANSFER, made)]).decide(command)


def test_the_held_amount_of_world_stays_exact_in_every_json_reader() -> None:
    """Lesson 7."""
    given = Given([*TWO_ACCOUNTS, *WORLD_EXISTS, (WORLD, FundsHeld(OTHER_TRANSFER, 1, MAX_CENTS))])
    assert ["validation_error"] == given.refuses(
        PlaceHold(
            transaction_id=TRANSFER,
            source_account_id=WORLD,
            destination_account_id=TILL,
            amount_cents=1,
            now=NOON,
            expires_at=SOON,
            limit_seconds=60,
        )
    )
    extreme = Account(ALICE, "USD", MAX_CENTS, overdraft_limit_cents=MAX_CENTS)
    assert MAX_CENTS == extreme.funds()["available_cents"]


# Journal entries and reversals.


def test_a_journal_entry_is_one_event_and_one_entry_for_each_leg() -> None:
    legs = (NewPosting(PURSE, -70), NewPosting(SAFE, -30), NewPosting(TILL, 100))
    postings = tuple(Posting(*leg, "USD") for leg in legs)
    assert [
        (TRANSFER, JournalEntryPosted(postings=postings, kind="journal", reference=None)),
        (PURSE, AccountDebited(TRANSFER, 70, 30)),
        (SAFE, AccountDebited(TRANSFER, 30, 20)),
        (TILL, AccountCredited(TRANSFER, 100, 100)),
    ] == Given(THREE_ACCOUNTS).when(PostJournalEntry(transaction_id=TRANSFER, postings=legs))


def test_a_reversal_moves_the_opposite_and_marks_the_original() -> None:
    given = [
        *TWO_ACCOUNTS,
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=TILL,
                amount_cents=30,
                currency="USD",
                kind="transfer",
                reference="rent",
            ),
        ),
        (PURSE, AccountDebited(TRANSFER, 30, 70)),
        (TILL, AccountCredited(TRANSFER, 30, 30)),
    ]
    assert [
        (
            REVERSAL,
            MoneyTransferred(
                source_account_id=TILL,
                destination_account_id=PURSE,
                amount_cents=30,
                currency="USD",
                kind="reversal",
                reference=None,
                reverses=TRANSFER,
            ),
        ),
        (TILL, AccountDebited(REVERSAL, 30, 0)),
        (PURSE, AccountCredited(REVERSAL, 30, 100)),
        (TRANSFER, TransactionReversed(REVERSAL)),
    ] == Given(given).when(ReverseTransaction(reversal_id=REVERSAL, transaction_id=TRANSFER, account_ids=(PURSE, TILL)))


def test_force_does_not_override_a_frozen_account() -> None:
    given = [
        *TWO_ACCOUNTS,
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=TILL,
                amount_cents=30,
                currency="USD",
                kind="transfer",
                reference=None,
            ),
        ),
        (TILL, AccountFrozen("debits")),
    ]
    assert ["account_frozen"] == Given(given).refuses(
        ReverseTransaction(reversal_id=REVERSAL, transaction_id=TRANSFER, account_ids=(PURSE, TILL), force=True)
    )


def test_a_limit_can_be_raised_to_less_than_a_forced_overdraft() -> None:
    given = Given([*TWO_ACCOUNTS, (TILL, AccountDebited(OTHER_TRANSFER, 100, -100))])
    command = UpdateAccount(
        account_id=TILL,
        owner_id=None,
        balance_cents=None,
        currency="USD",
        transaction_id=TRANSFER,
        overdraft_limit_cents=50,
    )
    assert [(TILL, OverdraftLimitChanged(50))] == given.when(command)


# What a plain transfer costs.


def test_the_stored_form_of_a_plain_transfer_has_not_changed() -> None:
    stored = encode(
        MoneyTransferred(
            source_account_id=PURSE,
            destination_account_id=TILL,
            amount_cents=30,
            currency="USD",
            kind="transfer",
            reference=None,
        )
    )
    before = f'{{"source_account_id":"{PURSE}","destination_account_id":"{TILL}","amount_cents":30,"currency":"USD",'
    assert (before + '"kind":"transfer","reference":null}').encode() == stored
    assert f'{{"owner_id":"{ALICE}","currency":"USD","balance_cents":70}}'.encode() == encode(Account(ALICE, "USD", 70))


def test_a_plain_transfer_needs_no_additional_statement() -> None:
    heads = {key: Head(1, Account(ALICE, "USD", 100)) for key in (PURSE, TILL)}
    batch = [Submission(transfer_command(1), Origin(named_id("a command")))]
    prepared = prepare(batch, streams_of(batch), heads)
    written = [statement.sql.split()[2] for statement in prepared.statements if statement.sql.startswith("INSERT")]
    assert ["command_log", "stored_events", "transfers"] == written
    assert 5 == len(prepared.statements)  # including the heads and rows of both accounts
    assert not any("held_cents" in statement.sql for statement in prepared.statements)


def test_in_a_group_plain_and_detailed_transfers_are_inserted_separately() -> None:
    batch = CommitGroup({key: Head(1, Account(ALICE, "USD", 100)) for key in (PURSE, TILL)})
    for number, description in enumerate((None, "rent", None)):
        command = transfer_command(1, transaction_id=named_id(f"transfer {number}"), description=description)
        batch.decide(command, named_id("a command"))
    plain, special, terms = transactions.apply(batch.appended)
    assert ("description" in plain.sql, "description" in special.sql) == (False, True)
    assert "transaction_terms" in terms.sql


# References.


@pytest.mark.parametrize(
    ("first", "second"),
    [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9"), ("INV\u00a01", "INV 1"), ("rent", "rent")],
)
def test_a_reference_can_be_used_once_in_any_spelling(first: str, second: str) -> None:
    used = (reference_stream(first), ReferenceUsed(OTHER_TRANSFER))
    entry = PostJournalEntry(
        transaction_id=TRANSFER, postings=(NewPosting(PURSE, -1), NewPosting(TILL, 1)), reference=second
    )
    for command in (transfer_command(reference=second), hold(reference=second), entry):
        assert ["reference_already_exists"] == Given([*TWO_ACCOUNTS, used]).refuses(command)


@pytest.mark.parametrize("spelling", ["caf\u00e9", "cafe\u0301"])
def test_a_reference_stored_before_normalization_is_still_taken(spelling: str) -> None:
    used = (derived_id("reference", "cafe\u0301"), ReferenceUsed(OTHER_TRANSFER))
    assert ["reference_already_exists"] == Given([*TWO_ACCOUNTS, used]).refuses(transfer_command(reference=spelling))
