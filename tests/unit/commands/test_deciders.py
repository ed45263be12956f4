"""The rules of the ledger, without any world around them: given events, when a command, then events or refusals."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID, uuid5

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from ledger import errors
from ledger.commands.accounts import CloseAccount, OpenAccount, UpdateAccount
from ledger.commands.command import Command, Credential, Decision, StreamEvent
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.journal import Leg, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.tokens import (
    EndSession,
    ForgetTokens,
    LogOut,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser, DeleteUser, UpdateUser
from ledger.errors import Refused, StaleCommandError
from ledger.events import (
    TOPICS,
    Event,
    Recorded,
    State,
    accounts,
    decode_event,
    decode_state,
    encode,
    evolve,
    fold,
    tokens,
    transactions,
    users,
)
from ledger.events.accounts import (
    Account,
    AccountClosed,
    AccountCredited,
    AccountDebited,
    AccountOpened,
    AccountOwnerChanged,
    Freeze,
    world_account_id,
)
from ledger.events.tokens import CLEANUPS, Cleanups, Pair, TokensIssued, TokensRotated
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldVoided,
    MoneyTransferred,
    ReferenceUsed,
    Transaction,
    TransactionReversed,
    reference_stream,
)
from ledger.events.users import (
    AccountAssigned,
    NameClaimed,
    NameReleased,
    PasswordChanged,
    User,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserTokensRevoked,
    UserUpdated,
    email_streams,
    username_stream,
)
from ledger.money import MAX_CENTS
from ledger.store.log import NO_STREAM, Head
from ledger.write.group import Batch


def an_id(name: str) -> UUID:
    """The same id for the same name."""
    return uuid5(UUID(int=0), name)


ALICE, BOB, NOBODY = an_id("alice"), an_id("bob"), an_id("nobody")
PURSE, TILL, SAFE = an_id("purse"), an_id("till"), an_id("safe")
TRANSFER, OTHER_TRANSFER, SESSION, COMMAND = an_id("transfer"), an_id("other"), an_id("session"), an_id("command")
SECRET, NEW_SECRET = an_id("secret"), an_id("new secret")
WORLD, WORLD_OF_EUROS = world_account_id("USD"), world_account_id("EUR")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PAIR = Pair(an_id("access"), 1_000, an_id("refresh"), 2_000, issued_at=500)


# Given.


def a_user(
    user_id: UUID, name: str, *, active: bool = True, roles: tuple[Any, ...] = ("customer",)
) -> list[StreamEvent]:
    email = f"{name}@example.com"
    return [
        (user_id, UserCreated(name, email, active, roles, SECRET)),
        (username_stream(name), NameClaimed(user_id)),
        (email_streams(email)[0], NameClaimed(user_id)),
    ]


def an_account(account_id: UUID, owner_id: UUID, balance_cents: int = 0, currency: str = "USD") -> list[StreamEvent]:
    opened: list[StreamEvent] = [
        (account_id, AccountOpened(owner_id, currency)),
        (owner_id, AccountAssigned(account_id)),
    ]
    return [*opened, (account_id, AccountCredited(OTHER_TRANSFER, balance_cents, balance_cents))][
        : 3 if balance_cents else 2
    ]


ALICE_THERE = a_user(ALICE, "alice")
BOB_THERE = a_user(BOB, "bob")
TWO_ACCOUNTS = [*ALICE_THERE, *BOB_THERE, *an_account(PURSE, ALICE, 100), *an_account(TILL, BOB)]
WORLD_THERE: list[StreamEvent] = [
    (WORLD, AccountOpened(None, "USD")),
    (WORLD, AccountDebited(OTHER_TRANSFER, 100, -100)),
]


@dataclass(frozen=True)
class Given:
    """A history; `when` decides a command after it, from no other streams than the command has named."""

    history: Iterable[StreamEvent] = ()

    def decide(self, command: Command) -> Decision:
        streams: dict[UUID, list[Event]] = defaultdict(list)
        for stream_id, event in self.history:
            streams[stream_id].append(event)
        return command.decide(
            {stream_id: fold(streams[stream_id]) for stream_id in (*command.streams(), *command.creates())}
        )

    def when(self, command: Command) -> list[StreamEvent]:
        return self.decide(command).events

    def refuses(self, command: Command) -> list[str]:
        with pytest.raises(Refused) as refused:
            self.decide(command)
        return [refusal.code for refusal in refused.value.refusals]


# TransferMoney.


def a_transfer(amount_cents: int = 30, **members: Any) -> TransferMoney:
    named = {"transfer_id": TRANSFER, "source_account_id": PURSE, "destination_account_id": TILL, **members}
    return TransferMoney(amount_cents=amount_cents, **named)


def test_a_transfer_is_one_event_and_its_two_entries_with_the_balance_after_each() -> None:
    events = Given(TWO_ACCOUNTS).when(a_transfer(30, reference="rent"))

    assert [
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
        (reference_stream("rent"), ReferenceUsed(TRANSFER)),
    ] == events


def test_all_that_is_there_can_be_transferred() -> None:
    assert (PURSE, AccountDebited(TRANSFER, 100, 0)) in Given(TWO_ACCOUNTS).when(a_transfer(100))


def test_a_cent_more_than_there_is_cannot_be_transferred() -> None:
    assert ["transfer_insufficient_funds"] == Given(TWO_ACCOUNTS).refuses(a_transfer(101))


def test_world_can_be_debited_below_zero() -> None:
    given = Given([*TWO_ACCOUNTS, *WORLD_THERE])
    assert (WORLD, AccountDebited(TRANSFER, 30, -130)) in given.when(a_transfer(30, source_account_id=WORLD))


def test_what_is_wrong_with_both_sides_is_said_at_once_the_source_first() -> None:
    command = a_transfer(source_account_id=NOBODY, destination_account_id=SAFE)
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == Given().refuses(command)


def test_a_transfer_to_the_same_account_is_refused() -> None:
    assert ["transfer_accounts_are_same"] == Given(TWO_ACCOUNTS).refuses(a_transfer(destination_account_id=PURSE))


def test_an_account_that_does_not_exist_is_no_destination_even_to_itself() -> None:
    command = a_transfer(source_account_id=NOBODY, destination_account_id=NOBODY)
    assert ["transfer_source_account_not_found", "transfer_accounts_are_same"] == Given().refuses(command)


def test_an_id_of_another_kind_is_no_account() -> None:
    command = a_transfer(source_account_id=ALICE, destination_account_id=BOB)
    found = Given(TWO_ACCOUNTS).refuses(command)
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == found


@pytest.mark.parametrize("closed", [PURSE, TILL], ids=["source", "destination"])
def test_a_closed_account_takes_part_in_no_transfer(closed: UUID) -> None:
    assert ["account_closed"] == Given([*TWO_ACCOUNTS, (closed, AccountClosed())]).refuses(a_transfer())


def test_money_does_not_change_its_currency_on_the_way() -> None:
    given = Given([*TWO_ACCOUNTS, *an_account(SAFE, BOB, currency="EUR")])
    assert ["currency_mismatch"] == given.refuses(a_transfer(destination_account_id=SAFE))


def test_a_transfer_id_is_taken_once() -> None:
    made = [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=TILL,
                amount_cents=1,
                currency="USD",
                kind="transfer",
                reference=None,
            ),
        )
    ]
    command = a_transfer(id_was_chosen=True)
    assert ["transaction_already_exists"] == Given([*TWO_ACCOUNTS, *made]).refuses(command)


def test_a_customer_moves_money_from_own_accounts() -> None:
    assert 3 == len(Given(TWO_ACCOUNTS).when(a_transfer(only_owner_id=ALICE)))


def test_the_account_of_somebody_else_is_as_good_as_none() -> None:
    """Lesson 35."""
    assert ["transfer_source_account_not_found"] == Given(TWO_ACCOUNTS).refuses(a_transfer(only_owner_id=BOB))


def test_world_is_no_customers_account() -> None:
    command = a_transfer(source_account_id=WORLD, only_owner_id=ALICE)
    assert ["transfer_source_account_not_found"] == Given([*TWO_ACCOUNTS, *WORLD_THERE]).refuses(command)


def test_no_balance_grows_beyond_what_every_json_reader_keeps() -> None:
    """Lesson 7."""
    full = [*a_user(BOB, "bob"), *an_account(SAFE, BOB, MAX_CENTS)]
    command = a_transfer(1, destination_account_id=SAFE)
    assert ["validation_error"] == Given([*TWO_ACCOUNTS, *full]).refuses(command)


def test_world_falls_no_deeper_than_what_every_json_reader_keeps() -> None:
    """Lesson 7."""
    deep: list[StreamEvent] = [
        (WORLD, AccountOpened(None, "USD")),
        (WORLD, AccountDebited(OTHER_TRANSFER, MAX_CENTS, -MAX_CENTS)),
    ]
    command = a_transfer(1, source_account_id=WORLD)
    assert ["validation_error"] == Given([*TWO_ACCOUNTS, *deep]).refuses(command)


# OpenAccount.


def an_opening(balance_cents: int = 0, **members: Any) -> OpenAccount:
    named = {"account_id": PURSE, "owner_id": ALICE, "currency": "USD", "transfer_id": TRANSFER, **members}
    return OpenAccount(balance_cents=balance_cents, **named)


def test_an_empty_account_is_an_opening_and_an_assignment() -> None:
    events = Given(ALICE_THERE).when(an_opening())
    assert [(PURSE, AccountOpened(ALICE, "USD")), (ALICE, AccountAssigned(PURSE))] == events


def test_an_opening_balance_is_a_transfer_from_world() -> None:
    events = Given([*ALICE_THERE, *WORLD_THERE]).when(an_opening(50))
    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=WORLD,
                destination_account_id=PURSE,
                amount_cents=50,
                currency="USD",
                kind="opening",
                reference=None,
            ),
        ),
        (WORLD, AccountDebited(TRANSFER, 50, -150)),
        (PURSE, AccountCredited(TRANSFER, 50, 50)),
    ] == events[2:]


def test_the_first_money_of_a_currency_opens_its_world() -> None:
    assert (WORLD_OF_EUROS, AccountOpened(None, "EUR")) in Given(ALICE_THERE).when(an_opening(50, currency="EUR"))


def test_an_account_needs_an_owner_who_is_there() -> None:
    assert ["user_not_found"] == Given().refuses(an_opening())


def test_a_deleted_user_gets_no_account() -> None:
    assert ["user_not_found"] == Given([*ALICE_THERE, (ALICE, UserDeleted())]).refuses(an_opening())


@pytest.mark.parametrize("taken", [TILL, ALICE], ids=["an account's", "a user's"])
def test_an_account_id_is_taken_once(taken: UUID) -> None:
    assert ["account_already_exists"] == Given(TWO_ACCOUNTS).refuses(an_opening(account_id=taken))


# UpdateAccount.


def an_update(**members: Any) -> UpdateAccount:
    defaults = {"account_id": PURSE, "owner_id": None, "balance_cents": None, "currency": "USD"}
    return UpdateAccount(**{**defaults, "transfer_id": TRANSFER, **members})


def test_a_higher_balance_is_a_transfer_from_world() -> None:
    events = Given([*TWO_ACCOUNTS, *WORLD_THERE]).when(an_update(balance_cents=150))
    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=WORLD,
                destination_account_id=PURSE,
                amount_cents=50,
                currency="USD",
                kind="adjustment",
                reference=None,
            ),
        ),
        (WORLD, AccountDebited(TRANSFER, 50, -150)),
        (PURSE, AccountCredited(TRANSFER, 50, 150)),
    ] == events


def test_a_lower_balance_is_a_transfer_to_world() -> None:
    events = Given([*TWO_ACCOUNTS, *WORLD_THERE]).when(an_update(balance_cents=0))
    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=WORLD,
                amount_cents=100,
                currency="USD",
                kind="adjustment",
                reference=None,
            ),
        ),
        (PURSE, AccountDebited(TRANSFER, 100, 0)),
        (WORLD, AccountCredited(TRANSFER, 100, 0)),
    ] == events


def test_a_new_owner_is_a_change_and_an_assignment() -> None:
    events = Given(TWO_ACCOUNTS).when(an_update(owner_id=BOB))
    assert [(PURSE, AccountOwnerChanged(BOB)), (BOB, AccountAssigned(PURSE))] == events


def test_an_update_to_what_is_so_already_changes_nothing() -> None:
    assert [] == Given(TWO_ACCOUNTS).when(an_update(owner_id=ALICE, balance_cents=100))


def test_the_currency_of_an_account_never_changes() -> None:
    assert ["currency_mismatch"] == Given(TWO_ACCOUNTS).refuses(an_update(balance_cents=1, currency="EUR"))


def test_the_new_owner_must_be_there() -> None:
    assert ["user_not_found"] == Given(TWO_ACCOUNTS).refuses(an_update(owner_id=NOBODY))


def test_an_account_that_does_not_exist_cannot_change() -> None:
    assert ["resource_not_found"] == Given().refuses(an_update(balance_cents=1))


def test_a_closed_account_cannot_change() -> None:
    closed = [*TWO_ACCOUNTS, (TILL, AccountClosed())]
    assert ["account_closed"] == Given(closed).refuses(an_update(account_id=TILL, balance_cents=1))


def test_world_changes_only_by_transfers() -> None:
    given = Given([*TWO_ACCOUNTS, *WORLD_THERE])
    assert ["validation_error"] == given.refuses(an_update(account_id=WORLD, balance_cents=0))


# CloseAccount.


def test_an_account_at_zero_can_be_closed() -> None:
    assert [(TILL, AccountClosed())] == Given(TWO_ACCOUNTS).when(CloseAccount(TILL))


def test_an_account_with_money_cannot_be_closed() -> None:
    assert ["account_not_empty"] == Given(TWO_ACCOUNTS).refuses(CloseAccount(PURSE))


def test_an_account_is_closed_once() -> None:
    assert ["account_closed"] == Given([*TWO_ACCOUNTS, (TILL, AccountClosed())]).refuses(CloseAccount(TILL))


def test_what_does_not_exist_cannot_be_closed() -> None:
    assert ["resource_not_found"] == Given().refuses(CloseAccount(NOBODY))


def test_world_cannot_be_closed() -> None:
    at_zero = [(WORLD, AccountOpened(None, "USD"))]
    assert ["validation_error"] == Given(at_zero).refuses(CloseAccount(WORLD))


# CreateUser.


def a_creation(user_id: UUID = BOB, username: str = "bob", email: str = "bob@example.com") -> CreateUser:
    return CreateUser(
        user_id=user_id,
        username=username,
        email=email,
        active=True,
        roles=("customer",),
        credential=Credential(SECRET, user_id, "a hash"),
    )


def test_a_new_user_claims_both_names() -> None:
    assert BOB_THERE == Given().when(a_creation())


def test_a_new_users_secret_is_beside_the_events_and_not_in_them() -> None:
    decision = Given().decide(a_creation())
    assert Credential(SECRET, BOB, "a hash") == decision.credential
    assert b"a hash" not in b"".join(encode(event) for _, event in decision.events)
    assert "a hash" not in repr(decision)


def test_all_that_is_taken_is_said_at_once() -> None:
    command = a_creation(ALICE, "bob", "bob@example.com")
    with pytest.raises(Refused) as refused:
        Given([*ALICE_THERE, *BOB_THERE]).decide(command)
    assert tuple(map(errors.user_already_exists, ("id", "username", "email"))) == refused.value.refusals


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", "\uff41lice"])
def test_a_name_that_folds_to_a_taken_one_is_taken(spelling: str) -> None:
    assert ["user_already_exists"] == Given(ALICE_THERE).refuses(a_creation(username=spelling))


def test_a_username_and_an_address_do_not_get_in_each_others_way() -> None:
    command = a_creation(username="alice@example.com")
    assert 3 == len(Given(ALICE_THERE).when(command))


def test_a_released_name_is_free_for_another() -> None:
    released = [
        (username_stream("alice"), NameReleased(ALICE)),
        (email_streams("alice@example.com")[0], NameReleased(ALICE)),
    ]
    events = Given([*ALICE_THERE, *released]).when(a_creation(BOB, "alice", "alice@example.com"))
    assert (username_stream("alice"), NameClaimed(BOB)) in events


# Names that look the same.

CYRILLIC, LATIN = "\u0430\u0440\u0435", "ape"
APE_THERE = a_user(BOB, LATIN)


def a_lookalike(user_id: UUID = ALICE) -> list[StreamEvent]:
    """A user whose name looks like another, which it takes as well."""
    return Given().when(a_creation(user_id, CYRILLIC, "alice@example.com"))


def test_a_name_claims_the_one_it_looks_like() -> None:
    assert [
        (username_stream(CYRILLIC), NameClaimed(ALICE)),
        (username_stream(LATIN), NameClaimed(ALICE)),
        (email_streams("alice@example.com")[0], NameClaimed(ALICE)),
    ] == a_lookalike()[1:]


def test_of_two_names_that_look_the_same_only_the_first_can_be_had() -> None:
    assert ["user_already_exists"] == Given(APE_THERE).refuses(a_creation(ALICE, CYRILLIC, "alice@example.com"))
    assert ["user_already_exists"] == Given(a_lookalike()).refuses(a_creation(BOB, LATIN, "bob@example.com"))


def test_a_rename_between_two_names_that_look_the_same_keeps_what_they_share() -> None:
    names = {"known_username": CYRILLIC, "username": LATIN}
    assert [
        (ALICE, UserUpdated(LATIN, "alice@example.com")),
        (username_stream(CYRILLIC), NameReleased(ALICE)),
    ] == Given(a_lookalike()).when(a_change(**names))


def test_a_deleted_user_releases_the_name_that_theirs_looked_like() -> None:
    events = Given(a_lookalike()).when(a_deletion(known_username=CYRILLIC))
    assert {
        (username_stream(CYRILLIC), NameReleased(ALICE)),
        (username_stream(LATIN), NameReleased(ALICE)),
    } <= {event for event in events if isinstance(event[1], NameReleased)}


def test_a_name_from_before_claims_its_look_with_the_next_change() -> None:
    given = Given(a_user(ALICE, CYRILLIC))
    address = f"{CYRILLIC}@example.com"
    change = a_change(known_username=CYRILLIC, username=CYRILLIC, known_email=address, email=address)
    assert (username_stream(LATIN), NameClaimed(ALICE)) in given.when(change)


def test_a_name_from_before_is_kept_when_another_has_its_look_by_now() -> None:
    given = Given([*a_user(ALICE, CYRILLIC), *APE_THERE])
    address = f"{CYRILLIC}@example.com"
    known = {"known_username": CYRILLIC, "username": CYRILLIC, "known_email": address, "email": address}
    assert [(ALICE, UserRolesChanged(("guest",))), (ALICE, UserTokensRevoked())] == [
        event for event in given.when(a_change(**known, roles=("guest",))) if event[0] == ALICE
    ]
    deletion = DeleteUser(user_id=ALICE, known_username=CYRILLIC, known_email=address, account_ids=(), assignments=0)
    assert (username_stream(LATIN), NameReleased(ALICE)) not in given.when(deletion)


@pytest.mark.parametrize("name", ["b\U0001f600b", "al\u200dice", "\u0430lice"])
def test_a_name_from_before_there_were_rules_stays_and_no_other_one_comes(name: str) -> None:
    address = f"{name}@example.com"
    given = Given(a_user(ALICE, name))
    known = {"known_username": name, "known_email": address}
    changed = given.when(a_change(**known, username=name, email=address, roles=("guest",)))
    assert [UserRolesChanged(("guest",)), UserTokensRevoked()] == [event for id_, event in changed if id_ == ALICE]
    assert ["validation_error"] == given.refuses(a_change(**known, username=f"{name}2", email=address))
    assert ["validation_error"] == Given().refuses(a_creation(username=name))


# UpdateUser.


def a_change(**members: Any) -> UpdateUser:
    defaults = {
        "user_id": ALICE,
        "known_username": "alice",
        "known_email": "alice@example.com",
        "username": "alice",
        "email": "alice@example.com",
        "active": None,
        "roles": ("customer",),
        "credential": None,
    }
    return UpdateUser(**{**defaults, **members})


def test_an_update_without_a_difference_is_no_event() -> None:
    assert [] == Given(ALICE_THERE).when(a_change(active=True))


def test_a_rename_releases_the_old_name_and_claims_the_new_one() -> None:
    assert [
        (ALICE, UserUpdated("alicia", "alice@example.com")),
        (username_stream("alice"), NameReleased(ALICE)),
        (username_stream("alicia"), NameClaimed(ALICE)),
    ] == Given(ALICE_THERE).when(a_change(username="alicia"))


def test_another_spelling_of_ones_own_name_claims_nothing() -> None:
    assert [(ALICE, UserUpdated("Alice", "alice@example.com"))] == Given(ALICE_THERE).when(a_change(username="Alice"))


def test_the_name_of_another_cannot_be_had() -> None:
    given = Given([*ALICE_THERE, *BOB_THERE])
    assert ["user_already_exists"] == given.refuses(a_change(username="BOB"))


def test_each_thing_that_changes_is_an_event_of_its_own() -> None:
    command = a_change(roles=("admin",), active=False, credential=Credential(NEW_SECRET, ALICE, "a hash"))
    assert [
        (ALICE, UserRolesChanged(("admin",))),
        (ALICE, UserDeactivated()),
        (ALICE, PasswordChanged(NEW_SECRET)),
        (ALICE, UserTokensRevoked()),
    ] == Given(ALICE_THERE).when(command)


def test_a_deactivated_user_can_be_activated() -> None:
    given = Given(a_user(ALICE, "alice", active=False))
    assert [(ALICE, UserActivated())] == given.when(a_change(active=True))


def test_an_update_made_from_an_old_name_is_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(ALICE_THERE).when(a_change(known_username="al"))


def test_a_user_who_is_not_there_cannot_change() -> None:
    assert ["user_not_found"] == Given().refuses(a_change())


# DeleteUser.


def a_deletion(*account_ids: UUID, assignments: int = 0, known_username: str = "alice") -> DeleteUser:
    return DeleteUser(
        user_id=ALICE,
        known_username=known_username,
        known_email="alice@example.com",
        account_ids=account_ids,
        assignments=assignments,
    )


def test_a_deleted_user_releases_both_names() -> None:
    assert [
        (username_stream("alice"), NameReleased(ALICE)),
        (email_streams("alice@example.com")[0], NameReleased(ALICE)),
        (ALICE, UserTokensRevoked()),
        (ALICE, UserDeleted()),
    ] == Given(ALICE_THERE).when(a_deletion())


def test_a_deleted_users_empty_accounts_are_closed() -> None:
    given = Given([*ALICE_THERE, *an_account(SAFE, ALICE)])
    assert (SAFE, AccountClosed()) == given.when(a_deletion(SAFE, assignments=1))[0]


def test_a_user_with_money_cannot_be_deleted() -> None:
    assert ["account_not_empty"] == Given(TWO_ACCOUNTS).refuses(a_deletion(PURSE, assignments=1))


def test_a_deletion_made_before_another_account_came_is_stale() -> None:
    given = Given([*ALICE_THERE, *an_account(SAFE, ALICE)])
    with pytest.raises(StaleCommandError):
        given.when(a_deletion(assignments=0))


def test_a_deletion_made_from_an_old_name_is_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(ALICE_THERE).when(a_deletion(known_username="al"))


def test_a_user_is_deleted_once() -> None:
    assert ["user_not_found"] == Given([*ALICE_THERE, (ALICE, UserDeleted())]).refuses(a_deletion())


def test_an_account_that_went_to_another_user_is_left_alone() -> None:
    history = [*ALICE_THERE, *BOB_THERE, *an_account(SAFE, ALICE), (SAFE, AccountOwnerChanged(BOB))]
    assert SAFE not in [stream for stream, _ in Given(history).when(a_deletion(SAFE, assignments=1))]


# StartSession. All other commands about tokens are in test_token_deciders.py.

A_LOGIN = StartSession(session_id=SESSION, user_id=ALICE, credential_id=SECRET, pair=PAIR, session_expires_at=9_000)


def test_a_session_starts_with_its_first_tokens() -> None:
    issued = TokensIssued(ALICE, an_id("access"), 1_000, an_id("refresh"), 2_000, 500, 9_000, "customer", 0, 0)
    assert [(SESSION, issued)] == Given(ALICE_THERE).when(A_LOGIN)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [*ALICE_THERE, (ALICE, UserDeleted())],
        [*ALICE_THERE, (ALICE, UserDeactivated())],
        [*ALICE_THERE, (ALICE, PasswordChanged(NEW_SECRET))],
        an_account(ALICE, BOB),
    ],
    ids=["unknown", "deleted", "deactivated", "another password", "no user"],
)
def test_whoever_may_not_log_in_gets_one_and_the_same_answer(history: list[StreamEvent]) -> None:
    """Lesson 30."""
    assert ["authentication_wrong_credentials"] == Given(history).refuses(A_LOGIN)


# A batch: commands after one another.


def a_batch(history: Iterable[StreamEvent]) -> Batch:
    heads: dict[UUID, Head] = {}
    for stream_id, event in history:
        before = heads.get(stream_id, NO_STREAM)
        heads[stream_id] = Head(before.version + 1, evolve(before.state, event))
    return Batch(heads)


def test_a_command_sees_what_the_one_before_it_did() -> None:
    """Lesson 1."""
    batch = a_batch(TWO_ACCOUNTS)
    first = batch.decide(a_transfer(60), COMMAND)
    second = batch.decide(a_transfer(60, transfer_id=OTHER_TRANSFER), COMMAND)
    assert isinstance(first, Decision)
    assert isinstance(second, Refused)
    assert errors.insufficient_funds() == second.refusals[0]


def test_a_fault_of_one_command_leaves_the_batch_as_it_was() -> None:
    """Lesson 5."""
    batch = a_batch(TWO_ACCOUNTS)

    class Broken(TransferMoney, frozen=True):
        def decide(self, states: Any) -> Decision:
            super().decide(states)
            raise ZeroDivisionError

    command = Broken(transfer_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=1)
    assert isinstance(batch.decide(command, COMMAND), ZeroDivisionError)
    assert ({}, []) == (batch.changed, batch.appended)


def test_a_command_cannot_append_to_a_stream_it_did_not_read() -> None:
    batch = a_batch(TWO_ACCOUNTS)

    class Careless(CloseAccount, frozen=True):
        def decide(self, states: Any) -> Decision:
            del states
            return Decision([(SAFE, AccountClosed())], {})

    assert isinstance(batch.decide(Careless(TILL), COMMAND), LookupError)
    assert [] == batch.appended


def test_events_are_appended_in_the_order_of_their_commands() -> None:
    batch = a_batch(TWO_ACCOUNTS)
    batch.decide(a_transfer(60), COMMAND)
    batch.decide(a_transfer(10, transfer_id=OTHER_TRANSFER), an_id("another command"))
    assert [COMMAND] * 3 + [an_id("another command")] * 3 == batch.command_ids
    assert [0, 1, 2, 3, 4, 5] == [row.position for row in batch.appended]
    versions = [(row.stream_id, row.version) for row in batch.appended]
    assert [(TRANSFER, 1), (PURSE, 3), (TILL, 2), (OTHER_TRANSFER, 1), (PURSE, 4), (TILL, 3)] == versions


# Whatever happens, in whatever order.

USERS = [ALICE, BOB, an_id("carol")]
ACCOUNTS = [PURSE, TILL, SAFE, an_id("chest")]
NAMES = ["alice", "Alice", "ALICE", "bob", "stra\u00dfe", "STRASSE", "\ufb01sh", "fish"]


@dataclass
class Ledger:
    """The ledger as a sequence of batches, with every event it ever had."""

    batch: Batch = field(default_factory=lambda: Batch({}))
    history: list[Recorded] = field(default_factory=list)
    verdicts: list[Any] = field(default_factory=list)
    steps: list[tuple[Command, list[Recorded]]] = field(default_factory=list)

    def carry_out(self, command: Command) -> Decision | Refused | Exception:
        before = dict(self.batch.changed), list(self.batch.appended)
        verdict = self.batch.decide(command, COMMAND)
        if not isinstance(verdict, Decision):
            assert before == (self.batch.changed, self.batch.appended)
            assert isinstance(verdict, Refused | StaleCommandError), verdict
        self.steps.append((command, self.batch.appended[len(before[1]) :]))
        self.history += self.steps[-1][1]
        self.verdicts.append(verdict)
        return verdict

    def next_batch(self) -> None:
        self.batch = Batch({**self.batch.heads, **self.batch.changed})

    def states(self) -> dict[UUID, State]:
        heads = {**self.batch.heads, **self.batch.changed}
        return {stream_id: head.state for stream_id, head in heads.items() if head.state is not None}

    def accounts(self) -> dict[UUID, Account]:
        return {key: state for key, state in self.states().items() if isinstance(state, Account)}

    def users(self) -> dict[UUID, User]:
        return {key: state for key, state in self.states().items() if isinstance(state, User)}

    def transfers(self) -> dict[UUID, Transaction]:
        return {key: state for key, state in self.states().items() if isinstance(state, Transaction)}

    def transfer(self, number: int, kind: str = "any") -> tuple[UUID, Transaction]:
        """One of the transactions, 0 is the last; if there is none, one that never was."""
        found = [(key, state) for key, state in self.transfers().items() if kind == "any" or state.hold is not None]
        return found[-1 - number % len(found)] if found else (NOBODY, Transaction())

    def fresh_id(self) -> UUID:
        """An id of the service's own choice, as against those that clients choose."""
        return an_id(f"fresh {len(self.verdicts)}")

    def fresh_pair(self, now: int) -> Pair:
        number = len(self.verdicts)
        return Pair(an_id(f"access {number}"), now + 10, an_id(f"refresh {number}"), now + 50, now)

    def refresh_tokens(self) -> list[tuple[UUID, UUID, UUID]]:
        """Every refresh token that was ever issued, with its session and user."""
        return [
            (row.stream_id, row.event.user_id, row.event.refresh_jti)
            for row in self.history
            if isinstance(row.event, TokensIssued | TokensRotated)
        ]

    def refresh_token(self, number: int) -> tuple[UUID, UUID, UUID]:
        """One of them, 0 is the last; if there is none, one of a session that never was."""
        issued = self.refresh_tokens()
        return issued[-1 - number % len(issued)] if issued else (SESSION, ALICE, NOBODY)

    def names_of(self, user_id: UUID) -> tuple[str, str]:
        user = self.users().get(user_id)
        return (user.username, user.email) if user else ("nobody", "nobody@example.com")


Maker = Callable[[Ledger], Command]  # some commands can be made only once the ledger is known
user_ids, account_ids = st.sampled_from(USERS), st.sampled_from(ACCOUNTS)
any_ids = st.sampled_from([*ACCOUNTS, *ACCOUNTS, ALICE, WORLD, an_id("transfer 1")])
transfer_ids = st.sampled_from([an_id(f"transfer {number}") for number in range(12)])
currencies = st.sampled_from(["USD", "USD", "EUR"])
amounts = st.integers(1, 200) | st.sampled_from([100, MAX_CENTS - 1, MAX_CENTS])
balances = st.integers(0, 300) | st.sampled_from([0, MAX_CENTS])
names = st.sampled_from(NAMES)
roles = st.sampled_from([("customer",), ("admin", "auditor"), ("guest",)])
mostly = st.sampled_from([True, True, True, False])
times = st.sampled_from([0, 5, 20, 60, 99, 100])
token_numbers = st.integers(0, 3)


def a_secret(user_id: UUID) -> Credential:
    return Credential(SECRET, user_id, "a hash")


def making(make: Callable[..., Command], *drawn: st.SearchStrategy[Any]) -> st.SearchStrategy[Maker]:
    """Commands made from a ledger and from what was drawn."""
    return st.tuples(*drawn).map(lambda given: lambda ledger: make(ledger, *given))


def deletion(ledger: Ledger, user_id: UUID, is_fresh: bool) -> Command:
    own = [key for key, account in ledger.accounts().items() if account.owner_id == user_id and not account.closed]
    user = ledger.users().get(user_id)
    username, email = ledger.names_of(user_id)
    return DeleteUser(
        user_id=user_id,
        known_username=username,
        known_email=email,
        account_ids=tuple(own),
        assignments=user.assignments if user and is_fresh else -1,
    )


def change(ledger: Ledger, user_id: UUID, is_fresh: bool, *wanted: Any) -> Command:
    known = ledger.names_of(user_id) if is_fresh else ("stale", "stale")
    username, email, active, role_names, has_secret = wanted
    return UpdateUser(
        user_id=user_id,
        known_username=known[0],
        known_email=known[1],
        username=username or known[0],
        email=email or known[1],
        active=active,
        roles=role_names,
        credential=a_secret(user_id) if has_secret else None,
    )


def login(ledger: Ledger, user_id: UUID, is_right: bool, now: int) -> Command:
    return StartSession(
        session_id=ledger.fresh_id(),
        user_id=user_id,
        credential_id=SECRET if is_right else TILL,
        pair=ledger.fresh_pair(now),
        session_expires_at=now + 100,
    )


def refresh(ledger: Ledger, number: int, now: int, grace_seconds: int, enforced: bool) -> Command:
    session_id, user_id, refresh_jti = ledger.refresh_token(number)
    return RefreshTokens(
        session_id=session_id,
        user_id=user_id,
        refresh_jti=refresh_jti,
        pair=ledger.fresh_pair(now),
        grace_seconds=grace_seconds,
        enforced=enforced,
    )


def forgetting(ledger: Ledger, time: int, count: int, is_fresh: bool) -> Command:
    state = ledger.states().get(CLEANUPS)
    known = state.count if isinstance(state, Cleanups) else 0
    return ForgetTokens(
        expired_before=time, as_of_position=len(ledger.history), count=count, cleanups=known if is_fresh else -1
    )


def journal_entry(
    _: Ledger, transfer_id: UUID, account_ids: list[UUID], cents: list[int], reference: str | None
) -> Command:
    legs = [Leg(*leg) for leg in zip(account_ids[1:], cents, strict=False)]
    legs.append(Leg(account_ids[0], -sum(leg.amount_cents for leg in legs) or 1))
    return PostJournalEntry(
        transfer_id=transfer_id,
        legs=tuple(legs),
        reference=reference,
        only_owner_id=None,
        id_was_chosen=True,
        description="a description",
        metadata={"key": "value"},
        effective_at=NOON,
    )


def placing(_: Ledger, now: int, lasts: int, reference: str | None, *drawn: Any) -> Command:
    moment = NOON + timedelta(seconds=now)
    members: dict[str, Any] = {"now": moment, "expires_at": moment + timedelta(seconds=lasts), "limit_seconds": 100}
    transfer_id, source, destination, cents = drawn
    return PlaceHold(
        transfer_id=transfer_id,
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=cents,
        **members,
        reference=reference,
        id_was_chosen=True,
    )


def capture(ledger: Ledger, number: int, cents: int | None, now: int) -> Command:
    transfer_id, state = ledger.transfer(number, "hold")
    hold = state.hold
    return CaptureHold(
        transfer_id=transfer_id,
        source_account_id=hold.source_account_id if hold else PURSE,
        destination_account_id=hold.destination_account_id if hold else TILL,
        amount_cents=cents,
        now=NOON + timedelta(seconds=now),
    )


def end_of_hold(ledger: Ledger, command: type[VoidHold | ExpireHold], number: int, now: int) -> Command:
    transfer_id, state = ledger.transfer(number, "hold")
    return command(transfer_id, state.hold.source_account_id if state.hold else PURSE, NOON + timedelta(seconds=now))


def reversal(ledger: Ledger, number: int, force: bool) -> Command:
    transfer_id, state = ledger.transfer(number)
    account_ids = tuple(posting.account_id for posting in state.postings)
    return ReverseTransaction(
        reversal_id=ledger.fresh_id(), transfer_id=transfer_id, account_ids=account_ids, force=force
    )


references = st.sampled_from([None, None, None, "rent", "fees"])
numbers = st.integers(0, 5)
transfers_of_any = making(
    lambda _, key, source, destination, cents, reference, owner: TransferMoney(
        transfer_id=key,
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=cents,
        reference=reference,
        only_owner_id=owner,
        id_was_chosen=True,
    ),
    transfer_ids,
    any_ids,
    any_ids,
    amounts,
    references,
    st.sampled_from([None, ALICE]),
)
holds: st.SearchStrategy[Maker] = st.one_of(
    making(placing, times, st.sampled_from([10, 50, 100, 0, 101]), references, transfer_ids, any_ids, any_ids, amounts),
    making(capture, numbers, st.none() | st.integers(1, 100), times),
    making(end_of_hold, st.sampled_from([VoidHold, ExpireHold]), numbers, times),
)
entries_and_reversals: st.SearchStrategy[Maker] = st.one_of(
    making(
        journal_entry,
        transfer_ids,
        st.lists(any_ids, min_size=2, max_size=4, unique=True),
        st.lists(st.integers(-100, 100).filter(bool), min_size=3, max_size=3),
        references,
    ),
    making(reversal, numbers, st.booleans()),
)
policies = making(
    lambda ledger, account_id, limit_cents, frozen: UpdateAccount(
        account_id=account_id,
        owner_id=None,
        balance_cents=None,
        currency="USD",
        transfer_id=ledger.fresh_id(),
        overdraft_limit_cents=limit_cents,
        frozen=frozen,
    ),
    account_ids,
    st.none() | st.sampled_from([0, 50, 1000, MAX_CENTS]),
    st.sampled_from([None, None, "none", "debits", "all"]),
)
token_makers: st.SearchStrategy[Maker] = st.one_of(
    making(refresh, token_numbers, times, st.sampled_from([0, 10]), mostly),
    making(lambda ledger, number: LogOut(*ledger.refresh_token(number)), token_numbers),
    making(
        lambda ledger, number, only: EndSession(ledger.refresh_token(number)[0], only),
        token_numbers,
        st.sampled_from([None, None, ALICE, BOB]),
    ),
    making(
        lambda _, user_id: RevokeUserTokens(user_id) if user_id else RevokeAllTokens(), st.sampled_from([*USERS, None])
    ),
    making(forgetting, times, st.integers(0, 2), mostly),
)
makers: st.SearchStrategy[Maker] = st.one_of(
    transfers_of_any,
    holds,
    holds,
    entries_and_reversals,
    policies,
    making(
        lambda ledger, key, owner, currency, cents: OpenAccount(
            account_id=key, owner_id=owner, currency=currency, balance_cents=cents, transfer_id=ledger.fresh_id()
        ),
        *(account_ids, user_ids, currencies, balances),
    ),
    making(
        lambda ledger, key, owner, cents, currency: UpdateAccount(
            account_id=key, owner_id=owner, balance_cents=cents, currency=currency, transfer_id=ledger.fresh_id()
        ),
        *(account_ids, user_ids, balances, currencies),
    ),
    making(lambda _, account_id: CloseAccount(account_id), account_ids),
    making(
        lambda _, key, name, email, active, role_names: CreateUser(
            user_id=key, username=name, email=email, active=active, roles=role_names, credential=a_secret(key)
        ),
        user_ids,
        names,
        names,
        st.booleans(),
        roles,
    ),
    making(change, user_ids, mostly, *[st.none() | names] * 2, st.none() | st.booleans(), roles, st.booleans()),
    making(deletion, user_ids, mostly),
    making(login, user_ids, mostly, times),
    token_makers,
)


def populated(ledger: Ledger) -> Ledger:
    """A beginning after which most commands succeed."""
    for user_id, name in zip(USERS, ("alice", "bob", "fish"), strict=True):
        ledger.carry_out(
            CreateUser(
                user_id=user_id,
                username=name,
                email=name,
                active=name != "fish",
                roles=("customer",),
                credential=a_secret(user_id),
            )
        )
        ledger.carry_out(login(ledger, user_id, is_right=True, now=0))
        ledger.carry_out(refresh(ledger, 0, now=0, grace_seconds=0, enforced=True))
    for number, account_id in enumerate(ACCOUNTS):
        ledger.carry_out(
            OpenAccount(
                account_id=account_id,
                owner_id=USERS[number % 3],
                currency="USD",
                balance_cents=100 * (number % 3),
                transfer_id=ledger.fresh_id(),
            )
        )
    for number in range(3):
        ledger.carry_out(placing(ledger, 0, 50, None, an_id(f"hold {number}"), TILL, PURSE, 20))
    policies: tuple[tuple[int, Freeze], ...] = ((50, "all"), (60, "none"))
    for limit_cents, frozen in policies:
        ledger.carry_out(
            UpdateAccount(
                account_id=ACCOUNTS[3],
                owner_id=None,
                balance_cents=None,
                currency="USD",
                transfer_id=ledger.fresh_id(),
                overdraft_limit_cents=limit_cents,
                frozen=frozen,
            )
        )
    return ledger


@st.composite
def ledgers(draw: st.DrawFn, at_least: int = 1) -> Ledger:
    """A ledger after any sequence of commands, cut into batches anywhere."""
    ledger = populated(Ledger()) if draw(mostly) else Ledger()
    for make, ends_batch in draw(st.lists(st.tuples(makers, st.booleans()), min_size=at_least, max_size=25)):
        ledger.carry_out(make(ledger))
        if ends_batch:
            ledger.next_batch()
    return ledger


any_ledger = hypothesis.given(ledger=ledgers())


@any_ledger
def test_all_balances_of_a_currency_are_always_zero_together(ledger: Ledger) -> None:
    sums: Counter[str] = Counter()
    for account in ledger.accounts().values():
        sums[account.currency] += account.balance_cents
    assert {0} >= set(sums.values())


@any_ledger
def test_no_command_takes_more_from_a_users_account_than_is_available_unless_it_is_forced(ledger: Ledger) -> None:
    states: dict[UUID, State] = {}
    for command, rows in ledger.steps:
        before = dict(states)
        for row in rows:
            states[row.stream_id] = evolve(states.get(row.stream_id), row.event)
        is_forced = isinstance(command, ReverseTransaction) and command.force
        for stream_id in {row.stream_id for row in rows} - {WORLD, WORLD_OF_EUROS}:
            account, earlier = states[stream_id], before.get(stream_id)
            if isinstance(account, Account) and not is_forced:
                least = earlier.available_cents if isinstance(earlier, Account) else 0
                assert min(0, least) <= account.available_cents


@any_ledger
def test_what_is_held_of_an_account_is_what_its_pending_holds_hold(ledger: Ledger) -> None:
    held: Counter[UUID] = Counter()
    for transfer in ledger.transfers().values():
        if transfer.hold is not None and transfer.status == "pending":
            held[transfer.hold.source_account_id] += transfer.hold.amount_cents
    assert +held == +Counter({key: account.held_cents for key, account in ledger.accounts().items()})
    assert 0 <= min([account.held_cents for account in ledger.accounts().values()], default=0)


@any_ledger
def test_a_hold_ends_once_and_a_transaction_is_reversed_once(ledger: Ledger) -> None:
    """Lesson 8."""
    ended = [row.stream_id for row in ledger.history if isinstance(row.event, HoldCaptured | HoldVoided | HoldExpired)]
    reversed_ = [row.stream_id for row in ledger.history if isinstance(row.event, TransactionReversed)]
    assert len(set(ended)) == len(ended)
    assert len(set(reversed_)) == len(reversed_)


@any_ledger
def test_a_reversal_and_what_it_reverses_name_each_other_and_cancel(ledger: Ledger) -> None:
    known = ledger.transfers()
    forth = {(key, state.reversed_by) for key, state in known.items() if state.reversed_by is not None}
    back = {(state.reverses, key) for key, state in known.items() if state.reverses is not None}
    assert forth == back
    for first, second in forth:
        moved: Counter[UUID] = Counter()
        for posting in (*known[first].postings, *known[second].postings):
            moved[posting.account_id] += posting.amount_cents
        assert {0} == set(moved.values())


@any_ledger
def test_two_transactions_never_share_a_reference(ledger: Ledger) -> None:
    begun = [state.made or state.posted or state.hold for state in ledger.transfers().values()]
    told = [event.reference for event in begun if event is not None and event.reference is not None]
    assert len(set(told)) == len(told)


@any_ledger
def test_the_entries_of_each_transfer_cancel(ledger: Ledger) -> None:
    entries = [
        (
            row.event.transfer_id,
            row.stream_id,
            row.event.amount_cents * (-1 if type(row.event) is AccountDebited else 1),
        )
        for row in ledger.history
        if isinstance(row.event, AccountDebited | AccountCredited)
    ]
    postings = {key: state.postings for key, state in ledger.transfers().items()}
    expected = [(key, leg.account_id, leg.amount_cents) for key, legs in postings.items() for leg in legs]
    assert Counter(expected) == Counter(entries)
    for legs in postings.values():
        sums: Counter[str] = Counter()
        for leg in legs:
            sums[leg.currency] += leg.amount_cents
        assert {0} >= set(sums.values())


@any_ledger
def test_the_balance_in_each_entry_is_the_sum_of_all_entries_up_to_it(ledger: Ledger) -> None:
    sums: Counter[UUID] = Counter()
    for row in ledger.history:
        if isinstance(row.event, AccountDebited | AccountCredited):
            sign = 1 if isinstance(row.event, AccountCredited) else -1
            sums[row.stream_id] += sign * row.event.amount_cents
            assert sums[row.stream_id] == row.event.balance_cents


@any_ledger
def test_two_living_users_never_share_a_name(ledger: Ledger) -> None:
    living = [user for user in ledger.users().values() if not user.deleted]
    assert len(living) == len({username_stream(user.username) for user in living})
    assert len(living) == len({email_streams(user.email)[0] for user in living})


@any_ledger
def test_each_prefix_of_a_history_folds_and_all_of_it_gives_the_heads(ledger: Ledger) -> None:
    """Lesson 17."""
    heads: dict[UUID, Head] = defaultdict(lambda: NO_STREAM)
    for row in ledger.history:
        head = heads[row.stream_id]
        heads[row.stream_id] = Head(head.version + 1, evolve(head.state, row.event))
        assert row.version == head.version + 1
    assert {**ledger.batch.heads, **ledger.batch.changed} == heads


@any_ledger
def test_everything_that_a_ledger_stores_is_read_back_as_it_was(ledger: Ledger) -> None:
    events = [row.event for row in ledger.history]
    states = list(ledger.states().values())
    assert events == [decode_event(TOPICS[type(event)], encode(event)) for event in events]
    assert states == [decode_state(TOPICS[type(state)], encode(state)) for state in states]


def test_the_sequences_above_get_everywhere() -> None:
    """A property that only ever sees refusals guards nothing."""
    seen: set[type[Any]] = set()

    @hypothesis.settings(max_examples=200, derandomize=True, database=None)
    @hypothesis.given(ledger=ledgers(at_least=15))
    def look(ledger: Ledger) -> None:
        seen.update(type(row.event) for row in ledger.history)

    look()
    assert set(EVENTS) == seen


# The closed table of events.


def members(union: Any) -> tuple[Any, ...]:
    return get_args(union) or (union,)


EVENTS: tuple[type[Any], ...] = members(Event)
STATES: tuple[type[Any], ...] = members(State)
FAMILIES: dict[Any, type[Any]] = {
    event: state
    for union, state in (
        (accounts.AccountEvent, accounts.Account),
        (transactions.TransactionEvent, transactions.Transaction),
        (transactions.ReferenceUsed, transactions.Reference),
        (users.UserEvent, users.User),
        (users.NameEvent, users.Name),
        (tokens.SessionEvent, tokens.Session),
        (tokens.AllTokensRevoked, tokens.Cutoffs),
        (tokens.RevokedTokensForgotten, tokens.Cleanups),
    )
    for event in members(union)
}
STORED_INTEGERS = st.integers(-(2**63), 2**63 - 1)


def stored(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of an event or a state."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{name: _value(hints[name]) for name in cls.__struct_fields__})


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if hint is int:
        return STORED_INTEGERS
    if hint is datetime:
        return st.datetimes(timezones=st.just(UTC))
    if isinstance(hint, UnionType):
        return st.one_of([_value(one) for one in get_args(hint)])
    if get_origin(hint) is tuple:
        return st.lists(_value(get_args(hint)[0])).map(tuple)
    return stored(hint) if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else st.from_type(hint)


def test_every_event_is_of_a_stream_whose_state_is_known() -> None:
    """A new kind of stream has to be added to the table of this test, and is then tested by the rest of it."""
    assert (set(EVENTS), set(STATES)) == (set(FAMILIES), set(FAMILIES.values()))


@pytest.mark.parametrize("cls", [*EVENTS, *STATES], ids=lambda cls: cls.__name__)
def test_every_event_and_state_is_read_back_as_it_was(cls: type[Any]) -> None:
    decode: Any = decode_event if cls in EVENTS else decode_state

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stored(cls))
    def check(value: Any) -> None:
        assert value == decode(TOPICS[cls], encode(value))

    check()


@pytest.mark.parametrize("event", EVENTS, ids=lambda cls: cls.__name__)
def test_every_event_folds_into_the_state_of_its_stream(event: type[Any]) -> None:
    """Lesson 17: whatever its values, once there is something to fold into."""
    state = FAMILIES[event]

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stored(state), stored(event))
    def check(before: Any, happened: Any) -> None:
        assert state is type(evolve(before, happened))

    check()


def test_topics_are_plain_names_each_of_one_class() -> None:
    """Lesson 15."""
    assert set(TOPICS) == {*EVENTS, *STATES}
    assert len(TOPICS) == len(set(TOPICS.values()))
    assert [] == [topic for topic in TOPICS.values() if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", topic)]


@pytest.mark.parametrize(
    "topic", ["os.system", "os:system", "turtledemo", "turtledemo.clock:main", "", "accountopened"]
)
@pytest.mark.parametrize("decode", [decode_event, decode_state])
def test_an_unknown_topic_is_an_error_and_imports_nothing(decode: Callable[[str, bytes], Any], topic: str) -> None:
    """Lesson 15."""
    before = set(sys.modules)
    with pytest.raises(ValueError, match="unknown topic"):
        decode(topic, b'{"command": "true"}')
    assert before == set(sys.modules)


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b"{}", b'{"transfer_id": 1}', b"\xff"])
def test_a_stored_event_of_a_wrong_shape_is_an_error(state: bytes) -> None:
    """Lesson 12."""
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode_event("AccountDebited", state)
