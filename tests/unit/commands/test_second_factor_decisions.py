"""Which codes a login needs and accepts, and which roles a session has without one."""

from collections.abc import Iterable

import pytest

from ledger.commands.caller import Caller
from ledger.commands.command import FactorSecret, StreamEvent
from ledger.commands.second_factors import (
    OTP_REQUIRED,
    WRONG_OTP,
    Code,
    ConfirmSecondFactor,
    OfferSecondFactor,
    RemoveSecondFactor,
)
from ledger.commands.tokens import StartSession
from ledger.commands.users import DeleteUser
from ledger.events import fold
from ledger.events.second_factors import (
    OneTimeCodeUsed,
    RecoveryCodeUsed,
    SecondFactor,
    SecondFactorConfirmed,
    SecondFactorOffered,
    SecondFactorRemoved,
    second_factor_stream,
)
from ledger.events.tokens import TokensIssued
from ledger.events.users import Role, UserDeleted, UserTokensRevoked
from tests.support.ledgers import ALICE, ALICE_EXISTS, SECRET, SESSION, Given, named_id, user_events
from tests.support.token_decisions import SESSION_END, pair

FACTOR, OTHER = named_id("factor"), named_id("another factor")
STREAM = second_factor_stream(ALICE)
OFFERED: list[StreamEvent] = [*ALICE_EXISTS, (STREAM, SecondFactorOffered(ALICE, FACTOR))]
ENROLLED: list[StreamEvent] = [*OFFERED, (STREAM, SecondFactorConfirmed(FACTOR, 10, ("one", "two")))]
SEALED = FactorSecret(FACTOR, STREAM, b"sealed")


def login(code: Code | None, factored: tuple[Role, ...] = ()) -> StartSession:
    return StartSession(
        session_id=SESSION,
        user_id=ALICE,
        credential_id=SECRET,
        pair=pair(1),
        session_expires_at=SESSION_END,
        code=code,
        factored=factored,
    )


@pytest.mark.parametrize(
    ("code", "used"),
    [
        (Code(FACTOR, step=11), OneTimeCodeUsed(FACTOR, 11)),
        (Code(FACTOR, digest="two"), RecoveryCodeUsed(FACTOR, "two")),
    ],
    ids=["a code", "a recovery code"],
)
def test_a_login_uses_the_code_up(code: Code, used: OneTimeCodeUsed | RecoveryCodeUsed) -> None:
    decision = Given(ENROLLED).decide(login(code))

    assert [(STREAM, used)] == decision.events[:1]
    ((_, issued),) = decision.events[1:]
    assert isinstance(issued, TokensIssued)
    assert issued.second_factor
    assert [WRONG_OTP.code] == Given([*ENROLLED, (STREAM, used)]).refuses(login(code))


@pytest.mark.parametrize(
    ("history", "code", "refusal"),
    [
        (ENROLLED, None, OTP_REQUIRED.code),
        (ENROLLED, Code(FACTOR, step=10), WRONG_OTP.code),
        (ENROLLED, Code(FACTOR, step=9), WRONG_OTP.code),
        (ENROLLED, Code(OTHER, step=11), WRONG_OTP.code),
        (ENROLLED, Code(OTHER, digest="one"), WRONG_OTP.code),
        (ENROLLED, Code(FACTOR, digest="three"), WRONG_OTP.code),
        (ENROLLED, Code(FACTOR), WRONG_OTP.code),
    ],
    ids=["none", "the last one", "an earlier one", "of another", "a recovery code of another", "unknown", "empty"],
)
def test_a_login_needs_a_code_that_was_not_used(history: list[StreamEvent], code: Code | None, refusal: str) -> None:
    assert [refusal] == Given(history).refuses(login(code))


@pytest.mark.parametrize(
    "history",
    [ALICE_EXISTS, OFFERED, [*ENROLLED, (STREAM, SecondFactorRemoved(FACTOR))]],
    ids=["none", "offered", "removed"],
)
def test_a_user_without_a_factor_in_force_needs_no_code(history: Iterable[StreamEvent]) -> None:
    ((_, issued),) = Given(history).decide(login(None)).events
    assert isinstance(issued, TokensIssued)
    assert not issued.second_factor


@pytest.mark.parametrize(
    ("roles", "factored", "has"),
    [
        (("admin",), ("admin",), "guest"),
        (("admin", "customer"), ("admin",), "customer"),
        (("customer",), ("admin",), "customer"),
        (("admin",), (), "admin"),
    ],
)
def test_without_a_factor_a_session_lacks_the_roles_that_need_one(
    roles: tuple[Role, ...], factored: tuple[Role, ...], has: str
) -> None:
    decision = Given(user_events(ALICE, "alice", roles=roles)).decide(login(None, factored))

    assert has == decision.result["roles"]


def test_an_offer_replaces_the_one_before_and_no_factor_in_force() -> None:
    offer = OfferSecondFactor(user_id=ALICE, credential_id=SECRET, secret=SEALED)

    assert SEALED == Given(OFFERED).decide(offer).credential
    assert ["second_factor_already_exists"] == Given(ENROLLED).refuses(offer)
    other = OfferSecondFactor(user_id=ALICE, credential_id=OTHER, secret=SEALED)
    assert ["authentication_wrong_credentials"] == Given(ALICE_EXISTS).refuses(other)


def test_only_the_offered_factor_is_confirmed() -> None:
    confirm = ConfirmSecondFactor(user_id=ALICE, code=Code(FACTOR, step=3), recovery_digests=("one",))

    assert [(STREAM, SecondFactorConfirmed(FACTOR, 3, ("one",)))] == Given(OFFERED).decide(confirm).events
    for history in (ALICE_EXISTS, ENROLLED, [*OFFERED, (STREAM, SecondFactorOffered(ALICE, OTHER))]):
        assert ["validation_error"] == Given(history).refuses(confirm)


def test_a_removal_deletes_the_secret_and_ends_all_sessions() -> None:
    by_user = Given(ENROLLED).decide(RemoveSecondFactor(user_id=ALICE, code=Code(FACTOR, step=11)))
    by_admin = Given(ENROLLED).decide(RemoveSecondFactor(user_id=ALICE))

    removed: list[StreamEvent] = [(STREAM, SecondFactorRemoved(FACTOR)), (ALICE, UserTokensRevoked())]
    assert (removed, FactorSecret(FACTOR, STREAM, None)) == (by_admin.events, by_admin.credential)
    assert [(STREAM, OneTimeCodeUsed(FACTOR, 11)), *removed] == by_user.events
    assert ["validation_error"] == Given(ENROLLED).refuses(
        RemoveSecondFactor(user_id=ALICE, code=Code(FACTOR, step=10))
    )
    assert ["resource_not_found"] == Given(OFFERED).refuses(RemoveSecondFactor(user_id=ALICE))


def test_a_deleted_user_leaves_no_secret() -> None:
    delete = DeleteUser(
        user_id=ALICE, known_username="alice", known_email="alice@example.com", account_ids=(), assignments=0
    )

    decision = Given(OFFERED).decide(delete)

    assert (STREAM, SecondFactorRemoved(FACTOR)) in decision.events
    assert (ALICE, UserDeleted()) == decision.events[-1]
    assert FactorSecret(FACTOR, STREAM, None) == decision.credential
    assert None is Given(ALICE_EXISTS).decide(delete).credential


def test_the_state_follows_from_the_events() -> None:
    events = [event for stream, event in ENROLLED if stream == STREAM]
    used = [*events, OneTimeCodeUsed(FACTOR, 12), RecoveryCodeUsed(FACTOR, "one")]

    assert SecondFactor(ALICE, None, FACTOR, 12, ("two",)) == fold(used)
    assert SecondFactor(ALICE) == fold([*used, SecondFactorRemoved(FACTOR)])
    with pytest.raises(ValueError, match="starts with an offer"):
        fold([SecondFactorRemoved(FACTOR)])


def test_a_session_with_the_least_role_is_valid_whatever_the_roles_of_the_user() -> None:
    user = fold([event for stream, event in ALICE_EXISTS if stream == ALICE])
    least, more = (
        Caller(ALICE, frozenset(roles), SESSION, OTHER, enforced=False) for roles in (("guest",), ("guest", "admin"))
    )

    session = fold([event for _, event in Given(ALICE_EXISTS).decide(login(None)).events])
    states = {ALICE: user, SESSION: session}
    assert (True, False) == (least.is_valid(states), more.is_valid(states))
