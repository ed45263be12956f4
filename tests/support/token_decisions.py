"""Logins, refreshes and their events, for the tests of token decisions."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from ledger.commands.caller import Caller
from ledger.commands.command import Command, StreamEvent
from ledger.commands.tokens import (
    LogOut,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.events.tokens import (
    ALL_TOKENS,
    AllTokensRevoked,
    Pair,
    Session,
    SessionRevoked,
    TokensRotated,
)
from ledger.events.users import (
    UserTokensRevoked,
)
from ledger.store.heads import NO_STREAM
from tests.support.ledgers import (
    ALICE,
    ALICE_EXISTS,
    SECRET,
    SESSION,
    Given,
    Ledger,
    commit_group,
    named_id,
)

ACCESS_SECONDS, REFRESH_SECONDS = 100, 1_000


START, SESSION_END = 10_000, 12_500


GRACE = 10


OTHER_SESSION = named_id("another session")


WRONG = ["authentication_wrong_credentials"]


def pair(number: int, at: int = START) -> Pair:
    """Return the pair of tokens with this number, not yet limited to the end of the session."""
    ends = at + ACCESS_SECONDS, at + REFRESH_SECONDS
    return Pair(named_id(f"access {number}"), ends[0], named_id(f"refresh {number}"), ends[1], at)


def login(number: int = 0, at: int = START, session_id: UUID = SESSION, user_id: UUID = ALICE) -> StartSession:
    return StartSession(
        session_id=session_id,
        user_id=user_id,
        credential_id=SECRET,
        pair=pair(number, at),
        session_expires_at=at + SESSION_END - START,
    )


def refresh(
    shown: int,
    wanted: int,
    at: int = START + 50,
    grace_seconds: int = GRACE,
    enforced: bool = True,
    session_id: UUID = SESSION,
    user_id: UUID = ALICE,
    key: str | None = "key",
) -> RefreshTokens:
    """Return a command that exchanges the refresh token of one pair for another pair, under this idempotency key."""
    jti = pair(shown).refresh_jti
    return RefreshTokens(
        session_id=session_id,
        user_id=user_id,
        refresh_jti=jti,
        pair=pair(wanted, at),
        grace_seconds=grace_seconds,
        enforced=enforced,
        retry_hash=key and f"{key} with refresh {shown}",
    )


def logout(shown: int, session_id: UUID = SESSION, user_id: UUID = ALICE) -> LogOut:
    return LogOut(session_id, user_id, pair(shown).refresh_jti)


def caller(shown: int = 0, roles: Iterable[str] = ("customer",), **members: Any) -> Caller:
    named = {"user_id": ALICE, "session_id": SESSION, "jti": pair(shown).access_jti, **members}
    return Caller(roles=frozenset(roles), **named)


def after(history: Iterable[StreamEvent], *commands: Command) -> list[StreamEvent]:
    """Return the history, followed by the events of these commands in order."""
    longer = list(history)
    for command in commands:
        longer += Given(longer).when(command)
    return longer


def is_caller_valid(history: Iterable[StreamEvent], claimed: Caller) -> bool:
    heads = commit_group(history).heads
    return claimed.is_valid({stream: heads.get(stream, NO_STREAM).state for stream in claimed.streams()})


def assert_dead(history: Iterable[StreamEvent], *numbers: int) -> None:
    """Assert that these pairs are refused everywhere."""
    given = Given(list(history))
    for number in numbers:
        for at in (START, START + 50, SESSION_END):
            assert WRONG == given.refuses(refresh(number, 99, at))
        assert WRONG == given.refuses(logout(number))
        assert not is_caller_valid(given.history, caller(number))


def assert_alive(history: Iterable[StreamEvent], number: int) -> None:
    given = Given(list(history))
    assert [TokensRotated] == [type(event) for _, event in given.when(refresh(number, 99))]
    assert [(SESSION, SessionRevoked("logout"))] == given.when(logout(number))
    assert is_caller_valid(given.history, caller(number))


LOGGED_IN = after(ALICE_EXISTS, login())


ROTATED = after(LOGGED_IN, refresh(0, 1, START + 50))


ROTATED_TWICE = after(ROTATED, refresh(1, 2, START + 55))


REUSES = [
    pytest.param(ROTATED, refresh(0, 9, START + 50 + GRACE), id="predecessor after the grace"),
    pytest.param(ROTATED, refresh(0, 9, grace_seconds=0), id="predecessor without a grace"),
    pytest.param(ROTATED, refresh(0, 9, key=None), id="without a key"),
    pytest.param(ROTATED, refresh(0, 9, key="another"), id="under another key"),
    pytest.param(after(LOGGED_IN, refresh(0, 1, key=None)), refresh(0, 9), id="the first request had no key"),
    pytest.param(after(LOGGED_IN, refresh(0, 1, key=None)), refresh(0, 9, key=None), id="both without a key"),
    pytest.param(ROTATED, refresh(0, 9, START + 49, grace_seconds=0), id="without a grace, with a slow clock"),
    pytest.param(ROTATED_TWICE, refresh(0, 9, START + 55), id="predecessor after its successor was used"),
    pytest.param(ROTATED_TWICE, refresh(1, 9, START + 55 + GRACE), id="next predecessor after the grace"),
    pytest.param(after(ROTATED_TWICE, refresh(2, 3, START + 55)), refresh(0, 9, START + 55), id="an older ancestor"),
]


CUTS: list[tuple[Command, StreamEvent]] = [
    (RevokeUserTokens(ALICE), (ALICE, UserTokensRevoked())),
    (RevokeAllTokens(), (ALL_TOKENS, AllTokensRevoked())),
]


EACH_CUT = pytest.mark.parametrize("cut", [command for command, _ in CUTS], ids=["of the user", "of all"])


def logged_in_ledger() -> Ledger:
    """Return a ledger in which Alice has just logged in."""
    ledger = Ledger(commit_group(ALICE_EXISTS))
    ledger.execute(login())
    return ledger


def session_in(ledger: Ledger) -> Session:
    state = ledger.states()[SESSION]
    assert isinstance(state, Session)
    return state
