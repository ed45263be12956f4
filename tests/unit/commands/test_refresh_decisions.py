"""The rules of sessions and refreshes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec import convert, to_builtins
from msgspec.structs import asdict, replace

from ledger.commands.command import Decision, StreamEvent
from ledger.commands.tokens import (
    RefreshTokens,
)
from ledger.errors import Refused
from ledger.events.tokens import (
    ALL_TOKENS,
    AllTokensRevoked,
    PairReissued,
    RefreshTokenReused,
    Session,
    TokensIssued,
    TokensRotated,
)
from ledger.events.users import (
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserTokensRevoked,
)
from ledger.store.log import Reservation
from ledger.write.group import Origin, Submission, prepare, streams_of
from tests.support.ledgers import (
    ALICE,
    ALICE_EXISTS,
    BOB,
    BOB_EXISTS,
    COMMAND,
    NOBODY,
    SESSION,
    Given,
    commit_group,
    named_id,
    user_events,
)
from tests.support.token_decisions import (
    ACCESS_SECONDS,
    GRACE,
    LOGGED_IN,
    OTHER_SESSION,
    REFRESH_SECONDS,
    REUSES,
    ROTATED,
    ROTATED_TWICE,
    SESSION_END,
    START,
    WRONG,
    after,
    assert_alive,
    assert_dead,
    caller,
    is_caller_valid,
    logged_in_ledger,
    login,
    pair,
    refresh,
    session_in,
)


def session_of(history: Iterable[StreamEvent]) -> Session:
    state = commit_group(history).heads[SESSION].state
    assert isinstance(state, Session)
    return state


def test_a_session_knows_the_roles_and_the_cutoffs_of_its_login() -> None:
    roles: tuple[Any, ...] = ("admin", "auditor")
    cut: list[StreamEvent] = [(ALICE, UserTokensRevoked()), *[(ALL_TOKENS, AllTokensRevoked())] * 2]
    started = Given([*user_events(ALICE, "alice", roles=roles), *cut]).decide(login())
    ((_, issued),) = started.events
    assert isinstance(issued, TokensIssued)
    assert ("admin,auditor", 1, 2) == (issued.roles, issued.user_cutoffs, issued.all_cutoffs)
    assert "admin,auditor" == started.result["roles"]


def test_the_result_has_everything_needed_to_sign_the_tokens() -> None:
    given = pair(0)
    assert {
        "session_id": str(SESSION),
        "user_id": str(ALICE),
        "roles": "customer",
        "access_jti": str(given.access_jti),
        "access_expires_at": START + ACCESS_SECONDS,
        "refresh_jti": str(given.refresh_jti),
        "refresh_expires_at": START + REFRESH_SECONDS,
        "issued_at": START,
    } == Given(ALICE_EXISTS).decide(login()).result


def test_sessions_of_one_user_are_independent() -> None:
    both = after(LOGGED_IN, login(5, session_id=OTHER_SESSION), refresh(5, 6, session_id=OTHER_SESSION))
    ended = after(both, refresh(5, 7, START + 90, session_id=OTHER_SESSION))
    assert (OTHER_SESSION, RefreshTokenReused(pair(5).refresh_jti)) == ended[-1]
    assert_alive(ended, 0)


def test_a_refresh_replaces_the_pair() -> None:
    decision = Given(LOGGED_IN).decide(refresh(0, 1))
    new = pair(1, START + 50)
    rotated = TokensRotated(
        ALICE,
        new.access_jti,
        new.access_expires_at,
        new.refresh_jti,
        new.refresh_expires_at,
        new.issued_at,
        "customer",
        0,
        0,
        "key with refresh 0",
    )
    assert [(SESSION, rotated)] == decision.events
    assert (str(new.refresh_jti), START + 50) == (decision.result["refresh_jti"], decision.result["issued_at"])


def test_after_a_rotation_only_the_new_pair_is_in_force() -> None:
    assert [False, True] == [is_caller_valid(ROTATED, caller(number)) for number in (0, 1)]
    assert [False, False, True] == [is_caller_valid(ROTATED_TWICE, caller(number)) for number in (0, 1, 2)]
    assert_alive(ROTATED, 1)
    assert_alive(ROTATED_TWICE, 2)


@pytest.mark.parametrize("later", [-5, 0, 1, GRACE - 1], ids=str)
def test_within_the_grace_a_retry_gets_the_same_pair_and_is_an_event(later: int) -> None:
    """Lesson 22: a client that lost the response can retry, also if clocks differ."""
    first = Given(LOGGED_IN).decide(refresh(0, 1, START + 50))
    again = Given(ROTATED).decide(refresh(0, 2, START + 50 + later))
    reissued = (SESSION, PairReissued(pair(0).refresh_jti))
    assert Decision([reissued], {**first.result, "reissued": True}) == again
    assert again == Given([*ROTATED, reissued]).decide(refresh(0, 3, START + 50 + later))
    assert_alive([*ROTATED, reissued], 1)


def test_a_session_of_an_earlier_version_knows_no_retry() -> None:
    """Lesson 59: neither its events nor its state have a hash."""
    stored = {**asdict(session_of(ROTATED))}
    del stored["retry_hash"]
    assert replace(session_of(ROTATED), retry_hash=None) == convert(to_builtins(stored), Session)


def test_two_refreshes_at_once_get_one_pair() -> None:
    """Lesson 22: two concurrent refreshes both win and fork the session."""
    batch = commit_group(LOGGED_IN)
    one, two = (batch.decide(refresh(0, number), COMMAND) for number in (1, 2))
    assert isinstance(one, Decision)
    assert isinstance(two, Decision)
    assert {**one.result, "reissued": True} == two.result
    assert [TokensRotated, PairReissued] == [type(row.event) for row in batch.appended]


def test_a_retry_gets_the_pair_as_issued_despite_new_roles() -> None:
    promoted: list[StreamEvent] = [*ROTATED, (ALICE, UserRolesChanged(("customer", "auditor")))]
    assert "customer" == Given(promoted).decide(refresh(0, 2)).result["roles"]


@pytest.mark.parametrize(("history", "command"), REUSES)
def test_reuse_is_refused_and_ends_the_session(history: list[StreamEvent], command: RefreshTokens) -> None:
    """Lesson 22: replaying a stolen token is refused, but the thief's newer tokens stay valid.

    Lesson 23: reuse is detected, but the revocation is rolled back with the error.
    """
    decision = Given(history).decide(command)
    assert [(SESSION, RefreshTokenReused(command.refresh_jti))] == decision.events
    assert WRONG == [refusal.code for refusal in decision.refusals]
    assert {} == decision.result
    assert_dead([*history, *decision.events], 0, 1, 2, 3, 9)


def test_the_end_of_the_session_is_written_and_its_client_is_refused() -> None:
    """Lesson 23: reuse is detected, but the revocation is rolled back with the error."""
    reuse = Submission(refresh(0, 2, START + 50 + GRACE), Origin(COMMAND))
    next_one = Submission(refresh(1, 3, START + 50 + GRACE), Origin(named_id("another command")))
    prepared = prepare([reuse, next_one], streams_of([reuse]), commit_group(ROTATED).heads)
    assert [COMMAND] == prepared.command_ids
    assert frozenset({COMMAND}) == prepared.revoking
    assert session_of(ROTATED) != prepared.heads[SESSION].state

    outcomes = prepared.build_outcomes(Reservation(7, datetime.now(UTC)))
    refused = [outcome.refusals for outcome in outcomes if isinstance(outcome, Refused)]
    assert [WRONG, WRONG] == [[refusal.code for refusal in refusals] for refusals in refused]


def test_the_grace_covers_the_predecessor_only() -> None:
    command = refresh(0, 9, START + 55, grace_seconds=300)
    assert [(SESSION, RefreshTokenReused(pair(0).refresh_jti))] == Given(ROTATED_TWICE).when(command)


def test_an_unknown_session_cannot_be_refreshed() -> None:
    assert WRONG == Given(ALICE_EXISTS).refuses(refresh(0, 1))
    assert WRONG == Given(LOGGED_IN).refuses(refresh(0, 1, session_id=ALICE))


def test_the_session_of_another_user_cannot_be_refreshed() -> None:
    given = Given([*LOGGED_IN, *BOB_EXISTS])
    assert WRONG == given.refuses(refresh(0, 1, user_id=BOB))
    assert WRONG == given.refuses(refresh(0, 1, user_id=BOB, enforced=False))
    assert WRONG == given.refuses(refresh(0, 1, user_id=NOBODY))


def test_a_refresh_uses_the_current_roles() -> None:
    promoted: list[StreamEvent] = [*LOGGED_IN, (ALICE, UserRolesChanged(("auditor", "customer")))]
    decision = Given(promoted).decide(refresh(0, 1))
    ((_, rotated),) = decision.events
    assert isinstance(rotated, TokensRotated)
    assert ("auditor,customer", "auditor,customer") == (rotated.roles, decision.result["roles"])
    assert "auditor,customer" == session_of([*promoted, *decision.events]).roles


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("event", [UserDeactivated(), UserDeleted()], ids=["inactive", "deleted"])
def test_users_who_cannot_log_in_cannot_refresh(event: UserDeactivated | UserDeleted, enforced: bool) -> None:
    """Lesson 27: whether or not there was a cut-off."""
    assert WRONG == Given([*LOGGED_IN, (ALICE, event)]).refuses(refresh(0, 1, enforced=enforced))
    assert WRONG == Given([*ROTATED, (ALICE, event)]).refuses(refresh(0, 2, enforced=enforced))


@pytest.mark.parametrize(
    ("at", "access", "refresh_end"),
    [
        (SESSION_END - REFRESH_SECONDS, SESSION_END - REFRESH_SECONDS + ACCESS_SECONDS, SESSION_END),
        (SESSION_END - REFRESH_SECONDS + 1, SESSION_END - REFRESH_SECONDS + 1 + ACCESS_SECONDS, SESSION_END),
        (SESSION_END - ACCESS_SECONDS, SESSION_END, SESSION_END),
        (SESSION_END - 1, SESSION_END, SESSION_END),
    ],
)
def test_no_token_outlives_its_session(at: int, access: int, refresh_end: int) -> None:
    decision = Given(LOGGED_IN).decide(refresh(0, 1, at))
    ((_, rotated),) = decision.events
    assert isinstance(rotated, TokensRotated)
    assert (access, refresh_end) == (rotated.access_expires_at, rotated.refresh_expires_at)
    assert (access, refresh_end) == (decision.result["access_expires_at"], decision.result["refresh_expires_at"])


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("at", [SESSION_END, SESSION_END + 1])
def test_an_expired_session_cannot_be_refreshed(at: int, enforced: bool) -> None:
    assert WRONG == Given(LOGGED_IN).refuses(refresh(0, 1, at, enforced=enforced))


@hypothesis.given(times=st.lists(st.integers(START - 100, SESSION_END + 100), max_size=8))
def test_rotation_never_extends_a_session(times: list[int]) -> None:
    ledger, shown = logged_in_ledger(), 0
    for wanted, at in enumerate(times, 1):
        result = ledger.execute(refresh(shown, wanted, at))
        assert (at < SESSION_END) == isinstance(result, Decision)
        shown = wanted if at < SESSION_END else shown
    session = session_in(ledger)
    assert SESSION_END == session.expires_at
    assert SESSION_END >= max(session.pair.access_expires_at, session.pair.refresh_expires_at)
