"""The rules of users and their names: given events, when a command, then events or a refusal."""

from uuid import UUID

import pytest

from ledger import errors
from ledger.commands.command import Credential, StreamEvent
from ledger.commands.tokens import (
    StartSession,
)
from ledger.commands.users import CreateUser, DeleteUser
from ledger.errors import Refused, StaleCommandError
from ledger.events import (
    encode,
)
from ledger.events.accounts import (
    AccountClosed,
    AccountOwnerChanged,
)
from ledger.events.tokens import Pair, TokensIssued
from ledger.events.users import (
    NameClaimed,
    NameReleased,
    PasswordChanged,
    UserActivated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserTokensRevoked,
    UserUpdated,
    email_streams,
    username_stream,
)
from tests.support.ledgers import (
    ALICE,
    ALICE_EXISTS,
    BOB,
    BOB_EXISTS,
    NEW_SECRET,
    PURSE,
    SAFE,
    SECRET,
    SESSION,
    TWO_ACCOUNTS,
    Given,
    account_events,
    named_id,
    user_deletion,
    user_events,
    user_update,
)

PAIR = Pair(named_id("access"), 1_000, named_id("refresh"), 2_000, issued_at=500)


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
    assert BOB_EXISTS == Given().when(a_creation())


def test_a_new_users_secret_is_beside_the_events_and_not_in_them() -> None:
    decision = Given().decide(a_creation())
    assert Credential(SECRET, BOB, "a hash") == decision.credential
    assert b"a hash" not in b"".join(encode(event) for _, event in decision.events)
    assert "a hash" not in repr(decision)


def test_all_that_is_taken_is_said_at_once() -> None:
    command = a_creation(ALICE, "bob", "bob@example.com")
    with pytest.raises(Refused) as refused:
        Given([*ALICE_EXISTS, *BOB_EXISTS]).decide(command)
    assert tuple(map(errors.user_already_exists, ("id", "username", "email"))) == refused.value.refusals


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", "\uff41lice"])
def test_a_name_that_folds_to_a_taken_one_is_taken(spelling: str) -> None:
    assert ["user_already_exists"] == Given(ALICE_EXISTS).refuses(a_creation(username=spelling))


def test_a_username_and_an_address_do_not_get_in_each_others_way() -> None:
    command = a_creation(username="alice@example.com")
    assert 3 == len(Given(ALICE_EXISTS).when(command))


def test_a_released_name_is_free_for_another() -> None:
    released = [
        (username_stream("alice"), NameReleased(ALICE)),
        (email_streams("alice@example.com")[0], NameReleased(ALICE)),
    ]
    events = Given([*ALICE_EXISTS, *released]).when(a_creation(BOB, "alice", "alice@example.com"))
    assert (username_stream("alice"), NameClaimed(BOB)) in events


CYRILLIC, LATIN = "\u0430\u0440\u0435", "ape"


APE_THERE = user_events(BOB, LATIN)


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
    ] == Given(a_lookalike()).when(user_update(**names))


def test_a_deleted_user_releases_the_name_that_theirs_looked_like() -> None:
    events = Given(a_lookalike()).when(user_deletion(known_username=CYRILLIC))
    assert {
        (username_stream(CYRILLIC), NameReleased(ALICE)),
        (username_stream(LATIN), NameReleased(ALICE)),
    } <= {event for event in events if isinstance(event[1], NameReleased)}


def test_a_name_from_before_claims_its_look_with_the_next_change() -> None:
    given = Given(user_events(ALICE, CYRILLIC))
    address = f"{CYRILLIC}@example.com"
    change = user_update(known_username=CYRILLIC, username=CYRILLIC, known_email=address, email=address)
    assert (username_stream(LATIN), NameClaimed(ALICE)) in given.when(change)


def test_a_name_from_before_is_kept_when_another_has_its_look_by_now() -> None:
    given = Given([*user_events(ALICE, CYRILLIC), *APE_THERE])
    address = f"{CYRILLIC}@example.com"
    known = {"known_username": CYRILLIC, "username": CYRILLIC, "known_email": address, "email": address}
    assert [(ALICE, UserRolesChanged(("guest",))), (ALICE, UserTokensRevoked())] == [
        event for event in given.when(user_update(**known, roles=("guest",))) if event[0] == ALICE
    ]
    deletion = DeleteUser(user_id=ALICE, known_username=CYRILLIC, known_email=address, account_ids=(), assignments=0)
    assert (username_stream(LATIN), NameReleased(ALICE)) not in given.when(deletion)


@pytest.mark.parametrize("name", ["b\U0001f600b", "al\u200dice", "\u0430lice"])
def test_a_name_from_before_there_were_rules_stays_and_no_other_one_comes(name: str) -> None:
    address = f"{name}@example.com"
    given = Given(user_events(ALICE, name))
    known = {"known_username": name, "known_email": address}
    changed = given.when(user_update(**known, username=name, email=address, roles=("guest",)))
    assert [UserRolesChanged(("guest",)), UserTokensRevoked()] == [event for id_, event in changed if id_ == ALICE]
    assert ["validation_error"] == given.refuses(user_update(**known, username=f"{name}2", email=address))
    assert ["validation_error"] == Given().refuses(a_creation(username=name))


def test_an_update_without_a_difference_is_no_event() -> None:
    assert [] == Given(ALICE_EXISTS).when(user_update(active=True))


def test_a_rename_releases_the_old_name_and_claims_the_new_one() -> None:
    assert [
        (ALICE, UserUpdated("alicia", "alice@example.com")),
        (username_stream("alice"), NameReleased(ALICE)),
        (username_stream("alicia"), NameClaimed(ALICE)),
    ] == Given(ALICE_EXISTS).when(user_update(username="alicia"))


def test_another_spelling_of_ones_own_name_claims_nothing() -> None:
    assert [(ALICE, UserUpdated("Alice", "alice@example.com"))] == Given(ALICE_EXISTS).when(
        user_update(username="Alice")
    )


def test_the_name_of_another_cannot_be_had() -> None:
    given = Given([*ALICE_EXISTS, *BOB_EXISTS])
    assert ["user_already_exists"] == given.refuses(user_update(username="BOB"))


def test_each_thing_that_changes_is_an_event_of_its_own() -> None:
    command = user_update(roles=("admin",), active=False, credential=Credential(NEW_SECRET, ALICE, "a hash"))
    assert [
        (ALICE, UserRolesChanged(("admin",))),
        (ALICE, UserDeactivated()),
        (ALICE, PasswordChanged(NEW_SECRET)),
        (ALICE, UserTokensRevoked()),
    ] == Given(ALICE_EXISTS).when(command)


def test_a_deactivated_user_can_be_activated() -> None:
    given = Given(user_events(ALICE, "alice", active=False))
    assert [(ALICE, UserActivated())] == given.when(user_update(active=True))


def test_an_update_made_from_an_old_name_is_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(ALICE_EXISTS).when(user_update(known_username="al"))


def test_a_user_who_is_not_there_cannot_change() -> None:
    assert ["user_not_found"] == Given().refuses(user_update())


def test_a_deleted_user_releases_both_names() -> None:
    assert [
        (username_stream("alice"), NameReleased(ALICE)),
        (email_streams("alice@example.com")[0], NameReleased(ALICE)),
        (ALICE, UserTokensRevoked()),
        (ALICE, UserDeleted()),
    ] == Given(ALICE_EXISTS).when(user_deletion())


def test_a_deleted_users_empty_accounts_are_closed() -> None:
    given = Given([*ALICE_EXISTS, *account_events(SAFE, ALICE)])
    assert (SAFE, AccountClosed()) == given.when(user_deletion(SAFE, assignments=1))[0]


def test_a_user_with_money_cannot_be_deleted() -> None:
    assert ["account_not_empty"] == Given(TWO_ACCOUNTS).refuses(user_deletion(PURSE, assignments=1))


def test_a_deletion_made_before_another_account_came_is_stale() -> None:
    given = Given([*ALICE_EXISTS, *account_events(SAFE, ALICE)])
    with pytest.raises(StaleCommandError):
        given.when(user_deletion(assignments=0))


def test_a_deletion_made_from_an_old_name_is_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(ALICE_EXISTS).when(user_deletion(known_username="al"))


def test_a_user_is_deleted_once() -> None:
    assert ["user_not_found"] == Given([*ALICE_EXISTS, (ALICE, UserDeleted())]).refuses(user_deletion())


def test_an_account_that_went_to_another_user_is_left_alone() -> None:
    history = [*ALICE_EXISTS, *BOB_EXISTS, *account_events(SAFE, ALICE), (SAFE, AccountOwnerChanged(BOB))]
    assert SAFE not in [stream for stream, _ in Given(history).when(user_deletion(SAFE, assignments=1))]


A_LOGIN = StartSession(session_id=SESSION, user_id=ALICE, credential_id=SECRET, pair=PAIR, session_expires_at=9_000)


def test_a_session_starts_with_its_first_tokens() -> None:
    issued = TokensIssued(ALICE, named_id("access"), 1_000, named_id("refresh"), 2_000, 500, 9_000, "customer", 0, 0)
    assert [(SESSION, issued)] == Given(ALICE_EXISTS).when(A_LOGIN)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [*ALICE_EXISTS, (ALICE, UserDeleted())],
        [*ALICE_EXISTS, (ALICE, UserDeactivated())],
        [*ALICE_EXISTS, (ALICE, PasswordChanged(NEW_SECRET))],
        account_events(ALICE, BOB),
    ],
    ids=["unknown", "deleted", "deactivated", "another password", "no user"],
)
def test_whoever_may_not_log_in_gets_one_and_the_same_answer(history: list[StreamEvent]) -> None:
    """Lesson 30."""
    assert ["authentication_wrong_credentials"] == Given(history).refuses(A_LOGIN)
