"""The rules of users and their names: given events, when a command, then events or a refusal."""

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger import errors
from ledger.commands.command import Credential, StreamEvent
from ledger.commands.tokens import (
    StartSession,
)
from ledger.commands.users import CreateUser, DeleteUser, RehashPassword, UpdateUser
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
    PasswordRehashed,
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


def creation(user_id: UUID = BOB, username: str = "bob", email: str = "bob@example.com") -> CreateUser:
    return CreateUser(
        user_id=user_id,
        username=username,
        email=email,
        active=True,
        roles=("customer",),
        credential=Credential(SECRET, user_id, "a hash"),
    )


def test_a_new_user_reserves_both_names() -> None:
    assert BOB_EXISTS == Given().when(creation())


def test_the_secret_of_a_new_user_is_not_in_the_events() -> None:
    decision = Given().decide(creation())
    assert Credential(SECRET, BOB, "a hash") == decision.credential
    assert b"a hash" not in b"".join(encode(event) for _, event in decision.events)
    assert "a hash" not in repr(decision)


def test_all_taken_names_are_reported_together() -> None:
    command = creation(ALICE, "bob", "bob@example.com")
    with pytest.raises(Refused) as refused:
        Given([*ALICE_EXISTS, *BOB_EXISTS]).decide(command)
    assert tuple(map(errors.user_already_exists, ("id", "username", "email"))) == refused.value.refusals


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", "\uff41lice"])
def test_a_name_that_folds_to_a_taken_one_is_taken(spelling: str) -> None:
    assert ["user_already_exists"] == Given(ALICE_EXISTS).refuses(creation(username=spelling))


def test_usernames_and_addresses_are_reserved_separately() -> None:
    command = creation(username="alice@example.com")
    assert 3 == len(Given(ALICE_EXISTS).when(command))


def test_a_released_name_is_free_for_another() -> None:
    released = [
        (username_stream("alice"), NameReleased(ALICE)),
        (email_streams("alice@example.com")[0], NameReleased(ALICE)),
    ]
    events = Given([*ALICE_EXISTS, *released]).when(creation(BOB, "alice", "alice@example.com"))
    assert (username_stream("alice"), NameClaimed(BOB)) in events


CYRILLIC, LATIN = "\u0430\u0440\u0435", "ape"


APE_THERE = user_events(BOB, LATIN)


def lookalike(user_id: UUID = ALICE) -> list[StreamEvent]:
    """Return the events of a user whose name also reserves its Latin lookalike."""
    return Given().when(creation(user_id, CYRILLIC, "alice@example.com"))


def test_a_name_also_reserves_its_lookalike() -> None:
    assert [
        (username_stream(CYRILLIC), NameClaimed(ALICE)),
        (username_stream(LATIN), NameClaimed(ALICE)),
        (email_streams("alice@example.com")[0], NameClaimed(ALICE)),
    ] == lookalike()[1:]


def test_a_lookalike_of_a_taken_name_is_refused() -> None:
    assert ["user_already_exists"] == Given(APE_THERE).refuses(creation(ALICE, CYRILLIC, "alice@example.com"))
    assert ["user_already_exists"] == Given(lookalike()).refuses(creation(BOB, LATIN, "bob@example.com"))


def test_a_rename_between_lookalikes_keeps_the_shared_stream() -> None:
    names = {"known_username": CYRILLIC, "username": LATIN}
    assert [
        (ALICE, UserUpdated(LATIN, "alice@example.com")),
        (username_stream(CYRILLIC), NameReleased(ALICE)),
    ] == Given(lookalike()).when(user_update(**names))


def test_a_deleted_user_releases_the_lookalike() -> None:
    events = Given(lookalike()).when(user_deletion(known_username=CYRILLIC))
    assert {
        (username_stream(CYRILLIC), NameReleased(ALICE)),
        (username_stream(LATIN), NameReleased(ALICE)),
    } <= {event for event in events if isinstance(event[1], NameReleased)}


def test_an_old_name_reserves_its_lookalike_with_the_next_change() -> None:
    given = Given(user_events(ALICE, CYRILLIC))
    address = f"{CYRILLIC}@example.com"
    change = user_update(known_username=CYRILLIC, username=CYRILLIC, known_email=address, email=address)
    assert (username_stream(LATIN), NameClaimed(ALICE)) in given.when(change)


def test_an_old_name_is_kept_if_its_lookalike_is_taken() -> None:
    given = Given([*user_events(ALICE, CYRILLIC), *APE_THERE])
    address = f"{CYRILLIC}@example.com"
    known = {"known_username": CYRILLIC, "username": CYRILLIC, "known_email": address, "email": address}
    assert [(ALICE, UserRolesChanged(("guest",))), (ALICE, UserTokensRevoked())] == [
        event for event in given.when(user_update(**known, roles=("guest",))) if event[0] == ALICE
    ]
    deletion = DeleteUser(user_id=ALICE, known_username=CYRILLIC, known_email=address, account_ids=(), assignments=0)
    assert (username_stream(LATIN), NameReleased(ALICE)) not in given.when(deletion)


@pytest.mark.parametrize("name", ["b\U0001f600b", "al\u200dice", "\u0430lice"])
def test_an_old_invalid_name_is_kept_but_cannot_be_taken_again(name: str) -> None:
    address = f"{name}@example.com"
    given = Given(user_events(ALICE, name))
    known = {"known_username": name, "known_email": address}
    changed = given.when(user_update(**known, username=name, email=address, roles=("guest",)))
    assert [UserRolesChanged(("guest",)), UserTokensRevoked()] == [event for id_, event in changed if id_ == ALICE]
    assert ["validation_error"] == given.refuses(user_update(**known, username=f"{name}2", email=address))
    assert ["validation_error"] == Given().refuses(creation(username=name))


def test_an_update_without_a_difference_appends_nothing() -> None:
    assert [] == Given(ALICE_EXISTS).when(user_update(active=True))


def test_a_rename_releases_the_old_name_and_reserves_the_new_one() -> None:
    assert [
        (ALICE, UserUpdated("alicia", "alice@example.com")),
        (username_stream("alice"), NameReleased(ALICE)),
        (username_stream("alicia"), NameClaimed(ALICE)),
    ] == Given(ALICE_EXISTS).when(user_update(username="alicia"))


def test_another_spelling_of_the_own_name_reserves_nothing() -> None:
    assert [(ALICE, UserUpdated("Alice", "alice@example.com"))] == Given(ALICE_EXISTS).when(
        user_update(username="Alice")
    )


def test_the_name_of_another_user_is_taken() -> None:
    given = Given([*ALICE_EXISTS, *BOB_EXISTS])
    assert ["user_already_exists"] == given.refuses(user_update(username="BOB"))


def test_each_change_appends_its_own_event() -> None:
    credential = Credential(NEW_SECRET, ALICE, "a hash")
    command = user_update(roles=("admin",), active=False, credential=credential)
    assert [
        (ALICE, UserRolesChanged(("admin",))),
        (ALICE, UserDeactivated()),
        (ALICE, PasswordChanged(NEW_SECRET, credential.digest)),
        (ALICE, UserTokensRevoked()),
    ] == Given(ALICE_EXISTS).when(command)


ADMINS = [*user_events(ALICE, "alice", roles=("admin", "customer")), *user_events(BOB, "bob", roles=("admin",))]
ENDS_OF_ALICE = [user_update(roles=("customer",)), user_update(roles=None, active=False), user_deletion()]
EACH_END = pytest.mark.parametrize("end", ENDS_OF_ALICE, ids=["demotion", "deactivation", "deletion"])


@EACH_END
def test_the_last_active_admin_stays(end: UpdateUser | DeleteUser) -> None:
    assert ["last_admin"] == Given(ADMINS[:3]).refuses(replace(end, other_admins=()))


@EACH_END
@pytest.mark.parametrize(
    ("event", "other_admins"),
    [
        (UserRolesChanged(("customer",)), (BOB,)),
        (UserDeactivated(), (BOB,)),
        (UserDeleted(), (BOB,)),
        (UserActivated(), None),  # Alice was no admin when the command was made
    ],
    ids=["demoted", "deactivated", "deleted", "unknown"],
)
def test_an_end_is_stale_if_the_admin_who_remains_has_changed(
    end: UpdateUser | DeleteUser, event: Any, other_admins: tuple[UUID, ...] | None
) -> None:
    with pytest.raises(StaleCommandError):
        Given([*ADMINS, (BOB, event)]).when(replace(end, other_admins=other_admins))


@EACH_END
def test_one_of_two_admins_can_be_ended(end: UpdateUser | DeleteUser) -> None:
    command = replace(end, other_admins=(BOB,))
    assert BOB in command.streams()
    assert (ALICE, UserTokensRevoked()) in Given(ADMINS).when(command)


def test_a_deactivated_user_can_be_activated() -> None:
    given = Given(user_events(ALICE, "alice", active=False))
    assert [(ALICE, UserActivated())] == given.when(user_update(active=True))


def test_an_update_made_from_an_old_name_is_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(ALICE_EXISTS).when(user_update(known_username="al"))


def test_an_unknown_user_cannot_be_changed() -> None:
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


def test_a_deletion_from_before_another_account_was_assigned_is_stale() -> None:
    given = Given([*ALICE_EXISTS, *account_events(SAFE, ALICE)])
    with pytest.raises(StaleCommandError):
        given.when(user_deletion(assignments=0))


def test_a_deletion_made_from_an_old_name_is_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(ALICE_EXISTS).when(user_deletion(known_username="al"))


def test_a_user_cannot_be_deleted_twice() -> None:
    assert ["user_not_found"] == Given([*ALICE_EXISTS, (ALICE, UserDeleted())]).refuses(user_deletion())


def test_an_account_given_to_another_user_stays_open() -> None:
    history = [*ALICE_EXISTS, *BOB_EXISTS, *account_events(SAFE, ALICE), (SAFE, AccountOwnerChanged(BOB))]
    assert SAFE not in [stream for stream, _ in Given(history).when(user_deletion(SAFE, assignments=1))]


A_LOGIN = StartSession(session_id=SESSION, user_id=ALICE, credential_id=SECRET, pair=PAIR, session_expires_at=9_000)


def test_a_session_starts_with_its_first_tokens() -> None:
    issued = TokensIssued(
        ALICE, named_id("access"), 1_000, named_id("refresh"), 2_000, 500, 9_000, "customer", 0, 0, SECRET
    )
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
def test_every_failed_login_gets_the_same_refusal(history: list[StreamEvent]) -> None:
    """Lesson 30."""
    assert ["authentication_wrong_credentials"] == Given(history).refuses(A_LOGIN)


def test_another_hash_of_the_same_password_ends_no_session() -> None:
    rehashed = Credential(SECRET, ALICE, "another hash of the password")

    events = Given(ALICE_EXISTS).when(RehashPassword(ALICE, rehashed))

    assert [(ALICE, PasswordRehashed(SECRET, rehashed.digest))] == events


@pytest.mark.parametrize("since", [PasswordChanged(NEW_SECRET), UserDeleted()])
def test_a_hash_of_a_password_that_was_replaced_since_is_dropped(since: Any) -> None:
    given = Given([*ALICE_EXISTS, (ALICE, since)])

    assert [] == given.when(RehashPassword(ALICE, Credential(SECRET, ALICE, "another hash of the password")))
    assert [] == Given([]).when(RehashPassword(ALICE, Credential(SECRET, ALICE, "another hash of the password")))
