"""The rules of cut-offs, logouts and callers."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.commands.caller import Caller
from ledger.commands.command import Command, Credential, Decision, StreamEvent
from ledger.commands.tokens import (
    EndSession,
    ForgetTokens,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
)
from ledger.errors import Refused, StaleCallerError, StaleCommandError
from ledger.events.tokens import (
    ALL_TOKENS,
    CLEANUPS,
    AllTokensRevoked,
    PairReissued,
    RefreshTokenReused,
    RevokedTokensForgotten,
    SessionRevoked,
    TokensIssued,
    TokensRotated,
)
from ledger.events.users import (
    PasswordChanged,
    UserActivated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserTokensRevoked,
)
from ledger.write.group import CommitGroup
from tests.support.ledgers import (
    ALICE,
    ALICE_EXISTS,
    BOB,
    BOB_EXISTS,
    COMMAND,
    NEW_SECRET,
    NOBODY,
    SESSION,
    Given,
    Ledger,
    commit_group,
    user_deletion,
    user_events,
    user_update,
)
from tests.support.token_decisions import (
    CUTS,
    EACH_CUT,
    LOGGED_IN,
    OTHER_SESSION,
    REUSES,
    ROTATED,
    ROTATED_TWICE,
    START,
    WRONG,
    after,
    assert_alive,
    assert_dead,
    caller,
    is_caller_valid,
    logged_in_ledger,
    login,
    logout,
    pair,
    refresh,
    session_in,
)

NEW_PASSWORD = Credential(NEW_SECRET, ALICE, "a hash")


ENDS: list[StreamEvent] = [
    (SESSION, SessionRevoked("logout")),
    (SESSION, SessionRevoked("revoked")),
    (SESSION, RefreshTokenReused(pair(0).refresh_jti)),
    (ALICE, UserTokensRevoked()),
    (ALL_TOKENS, AllTokensRevoked()),
]


EVERY_END = pytest.mark.parametrize("end", ENDS, ids=["logout", "revoked", "reuse", "cut off", "all cut off"])


@EVERY_END
def test_an_ended_session_stays_ended(end: StreamEvent) -> None:
    for history in (LOGGED_IN, ROTATED, ROTATED_TWICE):
        assert_dead([*history, end], 0, 1, 2)


@EVERY_END
def test_an_ended_session_stays_ended_when_its_user_is_reactivated(end: StreamEvent) -> None:
    assert_dead([*ROTATED, end, (ALICE, UserDeactivated()), (ALICE, UserActivated())], 0, 1)


@EVERY_END
def test_a_new_login_does_not_revive_an_ended_session(end: StreamEvent) -> None:
    again = after([*ROTATED, end], login(5, session_id=OTHER_SESSION))
    assert_dead(again, 0, 1)
    assert is_caller_valid(again, caller(5, session_id=OTHER_SESSION))


@pytest.mark.parametrize(("command", "event"), CUTS, ids=["of the user", "of all"])
def test_a_cutoff_is_one_event_for_any_number_of_sessions(command: Command, event: StreamEvent) -> None:
    assert [event] == Given(after(LOGGED_IN, login(5, session_id=OTHER_SESSION))).when(command)


@EACH_CUT
def test_a_login_right_after_a_cutoff_is_valid_within_the_same_second(cut: Command) -> None:
    """Lesson 26: only the order in the log matters."""
    assert_alive(after(ALICE_EXISTS, cut, login(at=START)), 0)


@EACH_CUT
def test_a_login_right_before_a_cutoff_is_revoked_within_the_same_second(cut: Command) -> None:
    """Lesson 26."""
    assert_dead(after(ALICE_EXISTS, login(at=START), cut), 0)


@EACH_CUT
def test_a_login_after_a_cutoff_is_valid_even_if_the_clock_was_set_back(cut: Command) -> None:
    """Lesson 26."""
    history = after(ALICE_EXISTS, login(5, START, OTHER_SESSION), cut, login(0, START - 40))
    assert is_caller_valid(history, caller(0))
    assert not is_caller_valid(history, caller(5, session_id=OTHER_SESSION))


@EACH_CUT
def test_two_cutoffs_both_count(cut: Command) -> None:
    """Lesson 26: a login between the two is revoked, even within one second."""
    assert_dead(after(ALICE_EXISTS, cut, login(), cut), 0)
    assert_dead(after(ALICE_EXISTS, login(), cut, cut), 0)
    assert_alive(after(ALICE_EXISTS, cut, cut, login()), 0)


def test_user_and_global_cutoffs_count_separately() -> None:
    """Lesson 26."""
    user, everybody = (command for command, _ in CUTS)
    assert_dead(after(ALICE_EXISTS, user, login(), everybody), 0)
    assert_dead(after(ALICE_EXISTS, everybody, login(), user), 0)
    assert_alive(after(ALICE_EXISTS, everybody, user, login()), 0)


def test_a_user_cutoff_spares_other_users() -> None:
    assert_alive(after([*BOB_EXISTS, *LOGGED_IN], RevokeUserTokens(BOB)), 0)


def test_a_global_cutoff_applies_to_every_user() -> None:
    history = after([*BOB_EXISTS, *LOGGED_IN], login(5, session_id=OTHER_SESSION, user_id=BOB), RevokeAllTokens())
    assert_dead(history, 0)
    assert not is_caller_valid(history, caller(5, user_id=BOB, session_id=OTHER_SESSION))


@EACH_CUT
def test_within_a_commit_group_only_the_order_counts(cut: Command) -> None:
    """Lesson 26."""
    batch = commit_group(ALICE_EXISTS)
    for command in (login(0), cut, login(5, session_id=OTHER_SESSION)):
        assert isinstance(batch.decide(command, COMMAND), Decision)
    assert isinstance(batch.decide(refresh(0, 1), COMMAND, caller(0)), StaleCallerError)
    assert isinstance(batch.decide(refresh(0, 1), COMMAND), Refused)
    accepted = batch.decide(refresh(5, 6, session_id=OTHER_SESSION), COMMAND, caller(5, session_id=OTHER_SESSION))
    assert isinstance(accepted, Decision)
    assert () == accepted.refusals


@pytest.mark.parametrize("history", [[], [*ALICE_EXISTS, (ALICE, UserDeleted())]], ids=["unknown", "deleted"])
def test_tokens_of_an_unknown_user_cannot_be_revoked(history: list[StreamEvent]) -> None:
    assert ["user_not_found"] == Given(history).refuses(RevokeUserTokens(ALICE))


def test_a_logout_ends_the_session() -> None:
    decision = Given(ROTATED).decide(logout(1))
    assert Decision([(SESSION, SessionRevoked("logout"))], {"id": str(SESSION)}) == decision
    assert_dead([*ROTATED, *decision.events], 0, 1)


@pytest.mark.parametrize(("history", "shown"), [(ROTATED, 0), (ROTATED_TWICE, 0), (ROTATED_TWICE, 1), (LOGGED_IN, 9)])
def test_a_logout_with_a_token_that_is_not_in_force_is_refused_and_changes_nothing(
    history: list[StreamEvent], shown: int
) -> None:
    batch = commit_group(history)
    assert isinstance(batch.decide(logout(shown), COMMAND), Refused)
    assert ({}, []) == (batch.changed, batch.appended)


def test_an_unknown_session_cannot_be_logged_out() -> None:
    assert WRONG == Given(ALICE_EXISTS).refuses(logout(0))
    assert WRONG == Given(LOGGED_IN).refuses(logout(0, session_id=ALICE))


@pytest.mark.parametrize("user_id", [BOB, NOBODY], ids=["another", "nobody"])
def test_the_session_of_another_user_cannot_be_logged_out(user_id: UUID) -> None:
    assert WRONG == Given([*LOGGED_IN, *BOB_EXISTS]).refuses(logout(0, user_id=user_id))


@pytest.mark.parametrize("only_user_id", [None, ALICE], ids=["anybody's", "one's own"])
def test_a_session_is_ended_by_its_id(only_user_id: UUID | None) -> None:
    decision = Given(ROTATED).decide(EndSession(SESSION, only_user_id))
    assert Decision([(SESSION, SessionRevoked("revoked"))], {"id": str(SESSION)}) == decision
    assert_dead([*ROTATED, *decision.events], 0, 1)


def test_the_session_of_another_user_looks_unknown() -> None:
    """Lesson 35."""
    somebodys = Given(LOGGED_IN).refuses(EndSession(SESSION, BOB))
    assert ["resource_not_found"] == somebodys == Given(ALICE_EXISTS).refuses(EndSession(SESSION, BOB))
    assert ["resource_not_found"] == Given(ALICE_EXISTS).refuses(EndSession(SESSION))
    assert ["resource_not_found"] == Given(ALICE_EXISTS).refuses(EndSession(ALICE))


@pytest.mark.parametrize("end", ENDS[:3], ids=["logout", "revoked", "reuse"])
def test_a_session_cannot_be_ended_twice(end: StreamEvent) -> None:
    assert Decision([], {"id": str(SESSION)}) == Given([*LOGGED_IN, end]).decide(EndSession(SESSION))


@EVERY_END
def test_without_enforcement_a_revoked_token_can_be_refreshed(end: StreamEvent) -> None:
    for shown in (0, 1):
        events = Given([*ROTATED, end]).when(refresh(shown, 9, enforced=False))
        assert [TokensRotated] == [type(event) for _, event in events]


@pytest.mark.parametrize(("history", "command"), REUSES)
def test_without_enforcement_reuse_ends_no_session(history: list[StreamEvent], command: RefreshTokens) -> None:
    events = Given(history).when(msgspec.structs.replace(command, enforced=False))
    assert [TokensRotated] == [type(event) for _, event in events]


def test_without_enforcement_a_new_password_ends_the_session() -> None:
    changed = after(ROTATED, user_update(credential=NEW_PASSWORD))
    for shown in (0, 1):
        assert WRONG == Given(changed).refuses(refresh(shown, 9, enforced=False))


def test_without_enforcement_a_cutoff_ends_a_session_of_an_earlier_version() -> None:
    """It does not name its password, and the cut-off may come from a new one."""
    ((session, issued),) = [event for event in LOGGED_IN if isinstance(event[1], TokensIssued)]
    early: list[StreamEvent] = [*ALICE_EXISTS, (session, replace(issued, credential_id=None))]
    assert [TokensRotated] == [type(event) for _, event in Given(early).when(refresh(0, 1, enforced=False))]
    assert WRONG == Given(after(early, user_update(credential=NEW_PASSWORD))).refuses(refresh(0, 1, enforced=False))


@pytest.mark.parametrize("end", ENDS[:3], ids=["logout", "revoked", "reuse"])
def test_a_refresh_without_enforcement_does_not_revive_an_ended_session(end: StreamEvent) -> None:
    assert_dead(after([*ROTATED, end], refresh(1, 9, enforced=False)), 0, 1, 9)


PROMOTED: StreamEvent = (ALICE, UserRolesChanged(("auditor", "customer")))


DEMOTED: StreamEvent = (ALICE, UserRolesChanged(("guest",)))


STANDING = [
    pytest.param(LOGGED_IN, caller(), True, id="good"),
    pytest.param(ROTATED, caller(1), True, id="good after a refresh"),
    pytest.param([*LOGGED_IN, PROMOTED], caller(), True, id="with more roles by now"),
    pytest.param(LOGGED_IN, caller(roles=()), True, id="no role"),
    pytest.param([], caller(), False, id="nobody"),
    pytest.param(LOGGED_IN, caller(user_id=SESSION), False, id="no user"),
    pytest.param([*LOGGED_IN, (ALICE, UserDeactivated())], caller(), False, id="inactive"),
    pytest.param([*LOGGED_IN, (ALICE, UserDeleted())], caller(), False, id="deleted"),
    pytest.param([*LOGGED_IN, DEMOTED], caller(), False, id="demoted"),
    pytest.param(LOGGED_IN, caller(roles=("customer", "admin")), False, id="never had that role"),
]


FOREIGN = [
    pytest.param(ALICE_EXISTS, caller(), id="no session"),
    pytest.param(LOGGED_IN, caller(session_id=ALICE), id="another kind of stream"),
    pytest.param([*LOGGED_IN, *BOB_EXISTS], caller(user_id=BOB), id="another's session"),
]
REVOKED = [
    pytest.param(ROTATED, caller(0), id="rotated"),
    pytest.param(LOGGED_IN, caller(jti=pair(0).refresh_jti), id="the refresh token"),
    *(pytest.param([*LOGGED_IN, end], caller(), id=repr(end[1])) for end in ENDS),
    pytest.param(after(ALICE_EXISTS, RevokeAllTokens(), login(), RevokeAllTokens()), caller(), id="the second cut-off"),
    pytest.param([*LOGGED_IN, DEMOTED, (ALICE, UserTokensRevoked()), PROMOTED], caller(), id="had the roles back"),
]


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize(("history", "claimed", "expected"), STANDING)
def test_a_caller_is_valid_while_the_user_has_the_roles(
    history: list[StreamEvent], claimed: Caller, expected: bool, enforced: bool
) -> None:
    assert expected is is_caller_valid(history, msgspec.structs.replace(claimed, enforced=enforced))


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize(("history", "claimed"), FOREIGN)
def test_a_caller_without_a_session_of_this_ledger_is_invalid(
    history: list[StreamEvent], claimed: Caller, enforced: bool
) -> None:
    assert not is_caller_valid(history, msgspec.structs.replace(claimed, enforced=enforced))


@pytest.mark.parametrize(("history", "claimed"), REVOKED)
def test_a_caller_with_a_revoked_token_is_valid_only_without_enforcement(
    history: list[StreamEvent], claimed: Caller
) -> None:
    assert not is_caller_valid(history, claimed)
    assert is_caller_valid(history, msgspec.structs.replace(claimed, enforced=False))


def test_without_enforcement_a_caller_reads_no_cutoffs() -> None:
    assert {ALICE, SESSION} == set(caller(enforced=False).streams())
    assert {ALICE, SESSION, ALL_TOKENS} == set(caller().streams())


def test_a_command_of_an_invalid_caller_does_nothing() -> None:
    batch = commit_group([*LOGGED_IN, (ALICE, UserTokensRevoked())])
    assert isinstance(batch.decide(RevokeAllTokens(), COMMAND, caller()), StaleCallerError)
    assert ({}, []) == (batch.changed, batch.appended)


@pytest.mark.parametrize(
    "command",
    [
        user_update(active=False),
        user_update(roles=("guest",)),
        user_update(roles=("auditor", "admin")),
        user_update(credential=NEW_PASSWORD),
        user_update(credential=NEW_PASSWORD, roles=("customer", "admin"), username="alicia"),
        user_deletion(),
    ],
    ids=["deactivation", "other role", "other roles", "password", "password and more", "deletion"],
)
def test_losing_access_revokes_all_tokens_in_the_same_decision(command: Command) -> None:
    """Lesson 27."""
    events = Given(LOGGED_IN).when(command)
    assert 1 == events.count((ALICE, UserTokensRevoked()))
    assert_dead([*LOGGED_IN, *events], 0)
    assert_dead([*LOGGED_IN, *events, (ALICE, UserActivated()), (ALICE, UserRolesChanged(("customer",)))], 0)


def test_removing_one_role_is_a_demotion() -> None:
    """Lesson 27."""
    two = after(user_events(ALICE, "alice", roles=("customer", "auditor")), login())
    assert_dead(after(two, user_update(roles=("customer",))), 0)


@pytest.mark.parametrize(
    "command",
    [
        user_update(),
        user_update(active=True),
        user_update(roles=("customer", "auditor")),
        user_update(roles=("admin", "customer")),
        user_update(username="alicia", email="alicia@example.com"),
    ],
    ids=["nothing", "active as before", "promotion", "promotion to admin", "renaming"],
)
def test_other_changes_keep_all_tokens(command: Command) -> None:
    """Lesson 27."""
    events = Given(LOGGED_IN).when(command)
    assert (ALICE, UserTokensRevoked()) not in events
    assert_alive([*LOGGED_IN, *events], 0)


def test_activation_revokes_no_tokens() -> None:
    """Lesson 27."""
    inactive = user_events(ALICE, "alice", active=False)
    assert [(ALICE, UserActivated())] == Given(inactive).when(user_update(active=True))
    assert [] == Given(inactive).when(user_update(active=False))


def test_a_new_password_is_needed_for_the_next_login() -> None:
    """Lesson 27."""
    changed = after(LOGGED_IN, user_update(credential=NEW_PASSWORD))
    assert (ALICE, PasswordChanged(NEW_SECRET, NEW_PASSWORD.digest)) in changed
    assert WRONG == Given(changed).refuses(login(5, session_id=OTHER_SESSION))


def test_a_cleanup_records_what_it_purges_and_how_many_tokens() -> None:
    forgotten = (CLEANUPS, RevokedTokensForgotten(START, 7))
    assert Decision([forgotten], {"deleted_tokens": 3}) == Given().decide(
        ForgetTokens(expired_before=START, as_of_position=7, count=3, cleanups=0)
    )
    assert Decision([forgotten], {"deleted_tokens": 1}) == Given([forgotten]).decide(
        ForgetTokens(expired_before=START, as_of_position=7, count=1, cleanups=1)
    )


def test_a_cleanup_of_nothing_appends_nothing() -> None:
    assert Decision([], {"deleted_tokens": 0}) == Given().decide(
        ForgetTokens(expired_before=START, as_of_position=7, count=0, cleanups=0)
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_count_from_before_another_cleanup_is_stale(count: int) -> None:
    once: list[StreamEvent] = [(CLEANUPS, RevokedTokensForgotten(START, 7))]
    for history, known in ((once, 0), (once * 2, 1), ([], 1)):
        with pytest.raises(StaleCommandError):
            Given(history).decide(ForgetTokens(expired_before=START, as_of_position=7, count=count, cleanups=known))


def usable_tokens(ledger: Ledger, numbers: Iterable[int]) -> set[int]:
    """Return the numbers of the pairs whose refresh token can be exchanged now."""
    found = set()
    for number in numbers:
        group = CommitGroup({**ledger.group.heads, **ledger.group.changed})
        decision = group.decide(refresh(number, 999, START, grace_seconds=0), COMMAND)
        if isinstance(decision, Decision) and not decision.refusals:
            found.add(number)
    return found


attempts = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=15)


@hypothesis.given(attempts=attempts, grace_seconds=st.sampled_from([0, 5, 10]))
def test_at_most_one_refresh_token_is_usable_and_none_after_reuse(
    attempts: Sequence[tuple[int, int, bool]], grace_seconds: int
) -> None:
    """Lesson 22. An attempt is the age of a token (0: the newest), the seconds since the last attempt, and a cut."""
    ledger, issued, now = logged_in_ledger(), [0], START
    last_rotation, is_over = START, False
    for wanted, (back, seconds, ends_group) in enumerate(attempts, 1):
        now += seconds
        age = min(back, len(issued) - 1)
        result = ledger.execute(refresh(issued[-1 - age], wanted, now, grace_seconds))
        if is_over:
            assert isinstance(result, Refused)
        elif age == 0:
            assert isinstance(result, Decision)
            assert str(pair(wanted).refresh_jti) == result.result["refresh_jti"]
            issued.append(wanted)
            last_rotation = now
        elif age == 1 and now - last_rotation < grace_seconds:
            assert isinstance(result, Decision)
            assert [PairReissued] == [type(event) for _, event in result.events]
            assert str(pair(issued[-1]).refresh_jti) == result.result["refresh_jti"]
        else:
            assert isinstance(result, Decision)
            assert [RefreshTokenReused] == [type(event) for _, event in result.events]
            is_over = True
        if ends_group:
            ledger.next_group()
        assert (set() if is_over else {issued[-1]}) == usable_tokens(ledger, issued)


@hypothesis.given(attempts=attempts)
def test_only_the_newest_access_token_is_valid_and_none_after_reuse(
    attempts: Sequence[tuple[int, int, bool]],
) -> None:
    """Lesson 22."""
    ledger, issued, now = logged_in_ledger(), [0], START
    for wanted, (back, seconds, _) in enumerate(attempts, 1):
        now += seconds
        ledger.execute(refresh(issued[-1 - min(back, len(issued) - 1)], wanted, now))
        if isinstance(ledger.history[-1].event, TokensRotated) and session_in(ledger).pair == pair(wanted, now):
            issued.append(wanted)
        states = {ALL_TOKENS: None, **ledger.states()}
        in_force = {number for number in issued if caller(number).is_valid(states)}
        assert (set() if session_in(ledger).ended else {issued[-1]}) == in_force
