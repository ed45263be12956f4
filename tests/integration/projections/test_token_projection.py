"""The tables of sessions and tokens follow from the events, however these are split into database transactions."""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.commands.caller import Caller
from ledger.commands.command import Command
from ledger.commands.tokens import (
    EndSession,
    ForgetTokens,
    LogOut,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.events import Recorded
from ledger.events.clients import ClientTokensRevoked
from ledger.events.tokens import (
    ALL_TOKENS,
    CLEANUPS,
    AllTokensRevoked,
    Cleanups,
    Pair,
    PairReissued,
    RefreshTokenReused,
    RevokedTokensForgotten,
    SessionRevoked,
    TokensIssued,
    TokensRotated,
)
from ledger.events.users import UserTokensRevoked
from ledger.projections import sessions, tokens
from ledger.projections.tokens import ACCESS, EVERYBODY, NEVER, REFRESH, REVOKING
from ledger.store import log as event_log
from ledger.store.statements import Statement, run_together
from tests.support.ledgers import ALICE, BOB, COMMAND, NOBODY, SECRET, Ledger, commit_group, named_id, user_events

ON_A_CONNECTION_OF_ITS_OWN = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=30,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},  # which would take minutes
)
START = datetime(2020, 1, 1, tzinfo=UTC)
PAST, FUTURE = 1_000_000_000, 4_000_000_000
NOW = 2_000_000_000  # for the model, the past has ended and the future has not
ENDS = [PAST, PAST + 5, FUTURE, FUTURE + 5]
THERE = [*user_events(ALICE, "alice"), *user_events(BOB, "bob")]


class Log:
    """A ledger, and the events that its database transactions appended; positions have gaps between them."""

    def __init__(self, ledger: Ledger, transactions: Sequence[list[Recorded]] = ()) -> None:
        self.ledger = ledger
        self.transactions = list(transactions)

    def __repr__(self) -> str:
        return "\n".join(f"{row.position}: {row.stream_id} {row.event}" for row in self.rows())

    @property
    def last(self) -> int:
        """Return the last position."""
        return self.transactions[-1][-1].position if self.transactions else 0

    def commit(self) -> None:
        appended = self.ledger.group.appended
        self.ledger.next_group()
        if appended:
            first, at = self.last + 3, START + timedelta(minutes=len(self.transactions))
            self.transactions.append([replace(row, position=first + row.position, recorded_at=at) for row in appended])

    def rows(self) -> list[Recorded]:
        return [row for rows in self.transactions for row in rows]

    def a_pair(self, ends: int) -> Pair:
        number = len(self.ledger.results)
        return Pair(named_id(f"access {number}"), ends - 2, named_id(f"refresh {number}"), ends, number)

    def login(self, user_id: UUID, ends: int) -> Command:
        return StartSession(
            session_id=self.ledger.fresh_id(),
            user_id=user_id,
            credential_id=SECRET,
            pair=self.a_pair(ends),
            session_expires_at=FUTURE + 5,
        )

    def refresh(self, number: int, ends: int, grace_seconds: int, enforced: bool) -> Command:
        session_id, user_id, refresh_jti = self.ledger.refresh_token(number)
        return RefreshTokens(
            session_id=session_id,
            user_id=user_id,
            refresh_jti=refresh_jti,
            pair=self.a_pair(ends),
            grace_seconds=grace_seconds,
            enforced=enforced,
            retry_hash=str(refresh_jti),
        )

    def cut_off(self, user_id: UUID | None) -> Command:
        return RevokeUserTokens(user_id) if user_id else RevokeAllTokens()

    def forget(self, ends: int, before_last: int) -> Command:
        state = self.ledger.group.heads.get(CLEANUPS)
        known = state.state.count if state and isinstance(state.state, Cleanups) else 0
        return ForgetTokens(
            expired_before=ends, as_of_position=max(self.last - before_last, 0), count=1, cleanups=known
        )


some_number, some_ends = st.integers(0, 5), st.sampled_from(ENDS)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Generate the events of random commands about tokens, split into database transactions."""
    log = Log(Ledger(commit_group(THERE)))
    refreshes = [  # distinct objects, because `one_of` removes duplicates
        st.tuples(st.just(Log.refresh), some_number, some_ends, st.sampled_from([0, 2]), st.booleans())
        for _ in range(8)
    ]
    makers = st.one_of(
        st.tuples(st.just(Log.login), st.sampled_from([ALICE, BOB]), some_ends),
        *refreshes,
        st.tuples(st.just(lambda log, number: LogOut(*log.ledger.refresh_token(number))), some_number),
        st.tuples(st.just(lambda log, number: EndSession(log.ledger.refresh_token(number)[0])), some_number),
        st.tuples(st.just(Log.cut_off), st.sampled_from([ALICE, BOB, None])),
        st.tuples(st.just(Log.forget), some_ends.map(lambda ends: ends - 1), st.integers(0, 12)),
    )
    for user_id in (ALICE, BOB, ALICE):
        log.ledger.execute(log.login(user_id, draw(some_ends)))
    for (make, *drawn), commits in draw(st.lists(st.tuples(makers, st.booleans()), min_size=8, max_size=25)):
        log.ledger.execute(make(log, *drawn))
        if commits:
            log.commit()
    log.commit()
    return log


# Writing.


class Database:
    """A connection whose `repr` is short, for printed examples."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return "database"

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[Any]:
        """Roll back at the end, so that every example begins with empty tables."""
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            yield self.connection
        finally:
            await transaction.rollback()


@pytest.fixture
def database(connection: Any) -> Database:
    return Database(connection)


async def run(connection: Any, first_position: int, at: datetime, statements: Sequence[Statement]) -> None:
    reserved = Statement("SELECT $1::bigint AS first_position, $2::timestamptz AS recorded_at", (first_position, at))
    await run_together(connection, reserved, statements)


async def append(connection: Any, log: Log) -> None:
    """Write each transaction as the committer does."""
    for transaction in log.transactions:
        first, at = transaction[0].position, transaction[0].recorded_at
        assert at is not None
        rows = [replace(row, position=row.position - first, recorded_at=None) for row in transaction]
        appended = event_log.append_events(rows, [COMMAND for _ in rows])
        await run(connection, first, at, [appended, *tokens.apply_sessions(rows), *tokens.apply_tokens(rows)])


async def rebuild(connection: Any, runs: Iterable[Sequence[Recorded]]) -> None:
    """Project chunks of events that are in the log already."""
    for rows in runs:
        await run(connection, 0, datetime.now(UTC), [*tokens.apply_sessions(rows), *tokens.apply_tokens(rows)])


def split(rows: Sequence[Recorded], cuts: Collection[int]) -> Iterator[list[Recorded]]:
    """Split the rows at these indexes, and before each cleanup."""
    places = {number for number, row in enumerate(rows) if isinstance(row.event, RevokedTokensForgotten)} | set(cuts)
    begins = sorted({0, *(place for place in places if place < len(rows))})
    return (list(rows[begin:end]) for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True))


async def tables(connection: Any) -> dict[str, list[dict[str, Any]]]:
    keys = {"sessions": "id", "cutoffs": "user_id", "tokens": "jti"}
    return {
        name: [dict(row) for row in await connection.fetch(f"SELECT * FROM {name} ORDER BY {key}")]
        for name, key in keys.items()
    }


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs(), cuts=st.sets(st.integers(1, 40), max_size=8))
async def test_the_rows_are_the_same_for_every_split_into_chunks(log: Log, cuts: set[int], database: Database) -> None:
    """Lesson 17."""
    async with database.rolled_back() as connection:
        await append(connection, log)
        expected = await tables(connection)
    for places in (range(len(log.rows())), (), cuts):
        async with database.rolled_back() as connection:
            await rebuild(connection, split(log.rows(), places))
            assert expected == await tables(connection)


# A model that applies one event after another.


@dataclass
class Token:
    session_id: UUID
    user_id: UUID
    kind: int
    position: int
    expires_at: int
    revoked: int | None = None


@dataclass
class Row:
    """The row of a session."""

    user_id: UUID
    position: int
    newest: int
    created_at: datetime | None
    refreshed_at: datetime | None
    expires_at: int
    below: int = 0
    revoked: int | None = None
    ended: bool = False


def is_purged(event: RevokedTokensForgotten, row: Token | Row) -> bool:
    was_revoked = row.revoked is not None and row.revoked <= event.as_of_position
    return was_revoked and row.expires_at < event.expired_before


@dataclass
class Model:
    sessions: dict[UUID, Row] = field(default_factory=dict)
    cutoffs: dict[UUID, int] = field(default_factory=dict)
    tokens: dict[UUID, Token] = field(default_factory=dict)
    cleanups: int = 0

    def apply(self, row: Recorded) -> None:
        match row.event:
            case TokensIssued() as event:
                expires_at = event.refresh_expires_at
                self.sessions[row.stream_id] = Row(
                    event.user_id, row.position, row.position, row.recorded_at, row.recorded_at, expires_at
                )
                self.issue(row, event)
            case TokensRotated() as event:
                session = self.kill_session(row)
                session.below, session.newest = max(session.below, row.position), row.position
                session.refreshed_at = row.recorded_at
                session.expires_at = max(session.expires_at, event.refresh_expires_at)
                self.issue(row, event)
            case PairReissued():
                pass
            case SessionRevoked() | RefreshTokenReused():
                session = self.kill_session(row)
                session.below, session.ended = NEVER, True
            case UserTokensRevoked() | ClientTokensRevoked():
                self.cutoffs[row.stream_id] = row.position
                self.kill(row.position, [token for token in self.tokens.values() if token.user_id == row.stream_id])
            case AllTokensRevoked():
                self.cutoffs[EVERYBODY] = row.position
                self.kill(row.position, self.tokens.values())
            case RevokedTokensForgotten() as event:
                self.cleanups += 1
                self.tokens = {jti: row for jti, row in self.tokens.items() if not is_purged(event, row)}
                self.sessions = {
                    session_id: row
                    for session_id, row in self.sessions.items()
                    if not (row.ended and is_purged(event, row))
                }
            case other:
                raise AssertionError(other)

    def issue(self, row: Recorded, event: TokensIssued | TokensRotated) -> None:
        issued = (
            (event.access_jti, ACCESS, event.access_expires_at),
            (event.refresh_jti, REFRESH, event.refresh_expires_at),
        )
        for jti, kind, expires_at in issued:
            self.tokens[jti] = Token(row.stream_id, event.user_id, kind, row.position, expires_at)

    def kill_session(self, row: Recorded) -> Row:
        session = self.sessions.get(row.stream_id) or Row(NOBODY, 0, 0, None, None, 0)  # purged: nothing changes it
        session.revoked = row.position
        self.kill(row.position, [token for token in self.tokens.values() if token.session_id == row.stream_id])
        return session

    @staticmethod
    def kill(position: int, some: Iterable[Token]) -> None:
        for token in some:
            token.revoked = token.revoked or position

    def cutoff(self, user_id: UUID) -> int:
        return max(self.cutoffs.get(user_id, 0), self.cutoffs.get(EVERYBODY, 0))

    def revoked_below(self, session_id: UUID, user_id: UUID) -> int:
        session = self.sessions.get(session_id)
        return max(session.below if session and session.user_id == user_id else NEVER, self.cutoff(user_id))

    def revocations(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = [
            (row.revoked, session_id, row.user_id, row.below, moment(row.expires_at))
            for session_id, row in self.sessions.items()
            if row.revoked is not None
        ]
        found += [(position, None, user_id, position, None) for user_id, position in self.cutoffs.items()]
        return sorted(found, key=lambda row: row[0])

    def forgettable(self, expired_before: int) -> int:
        return sum(token.revoked is not None and token.expires_at < expired_before for token in self.tokens.values())

    def sessions_of(self, user_id: UUID | None) -> list[tuple[int, dict[str, Any]]]:
        """Return the sessions whose newest token can still be used, newest first."""
        found = [
            (
                row.position,
                {
                    "id": session_id,
                    "user_id": row.user_id,
                    "created_at": row.created_at,
                    "refreshed_at": row.refreshed_at,
                    "expires_at": moment(row.expires_at),
                },
            )
            for session_id, row in self.sessions.items()
            if user_id in (None, row.user_id)
            and row.expires_at > NOW
            and row.newest >= self.revoked_below(session_id, row.user_id)
        ]
        return sorted(found, key=lambda session: -session[0])


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def modelled(log: Log) -> Model:
    model = Model()
    for row in log.rows():
        model.apply(row)
    return model


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs())
async def test_each_token_has_what_revoked_it_first(log: Log, database: Database) -> None:
    async with database.rolled_back() as connection:
        await append(connection, log)
        rows = {row["jti"]: row for row in (await tables(connection))["tokens"]}
        positions = {jti: await tokens.issued_at(connection, jti) for jti in [*rows, NOBODY]}
    expected = modelled(log).tokens
    assert expected == {
        jti: Token(
            row["session_id"],
            row["user_id"],
            row["type"],
            row["position"],
            int(row["expires_at"].timestamp()),
            row["revoked_position"],
        )
        for jti, row in rows.items()
    }
    assert {**{jti: token.position for jti, token in expected.items()}, NOBODY: None} == positions


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs())
async def test_queries_and_decisions_agree_on_revoked_tokens(log: Log, database: Database) -> None:
    """Comparing a token's position with one number gives the same answer as the states of its streams."""
    issued = [(row, row.event) for row in log.rows() if isinstance(row.event, TokensIssued | TokensRotated)]
    states = {ALL_TOKENS: None, **log.ledger.states()}
    async with database.rolled_back() as connection:
        await append(connection, log)
        below = await tokens.revoked_below(connection, {(row.stream_id, event.user_id) for row, event in issued})
    for row, event in issued:
        caller = Caller(event.user_id, frozenset(), row.stream_id, event.access_jti)
        assert caller.is_valid(states) == (row.position >= below[row.stream_id, event.user_id])


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs())
async def test_every_session_has_the_position_below_which_tokens_are_revoked(log: Log, database: Database) -> None:
    model = modelled(log)
    asked = {(session_id, user_id) for session_id in [*model.sessions, NOBODY] for user_id in (ALICE, BOB, NOBODY)}
    async with database.rolled_back() as connection:
        await append(connection, log)
        found = await tokens.revoked_below(connection, asked)
        assert {} == await tokens.revoked_below(connection, [])
    assert {session: model.revoked_below(*session) for session in asked} == found


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs(), back=st.integers(0, 30), limit=st.integers(1, 6))
async def test_revocations_are_read_in_order_from_any_position(
    log: Log, back: int, limit: int, database: Database
) -> None:
    model, after = modelled(log), max(log.last - back, 0)
    killing = [row.position for row in log.rows() if type(row.event) in REVOKING]
    async with database.rolled_back() as connection:
        await append(connection, log)
        assert max(killing, default=0) == await tokens.last_revocation(connection)
        found: list[tuple[Any, ...]] = []
        while rows := await tokens.revocations(connection, after=found[-1][0] if found else after, limit=limit):
            assert limit >= len(rows)
            found += [tuple(row) for row in rows]
    assert [row for row in model.revocations() if row[0] > after] == found


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs(), user_id=st.sampled_from([ALICE, BOB, NOBODY, None]), limit=st.integers(1, 3))
async def test_the_usable_sessions_of_a_user_are_listed_newest_first(
    log: Log, user_id: UUID | None, limit: int, database: Database
) -> None:
    found: list[tuple[int, dict[str, Any]]] = []
    before = NEVER
    async with database.rolled_back() as connection:
        await append(connection, log)
        while page := await sessions.list_sessions(connection, user_id, before=before, limit=limit):
            assert limit >= len(page)
            found += page
            before = page[-1][0]
    assert modelled(log).sessions_of(user_id) == found


# Forgetting.


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs(), expired_before=some_ends)
async def test_tokens_to_purge_are_counted_at_the_end_of_the_log(
    log: Log, expired_before: int, database: Database
) -> None:
    model = modelled(log)
    async with database.rolled_back() as connection:
        await append(connection, log)
        found = await tokens.count_purgeable(connection, expired_before=expired_before)
        assert model.cleanups == await tokens.count_cleanups(connection)
    assert (model.forgettable(expired_before), log.last) == found


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(log=logs(), expired_before=some_ends, is_in_time=st.booleans())
async def test_a_purge_removes_the_counted_tokens_in_spite_of_later_revocations(
    log: Log, expired_before: int, is_in_time: bool, database: Database
) -> None:
    async with database.rolled_back() as connection:
        await append(connection, log)
        before = {row["jti"] for row in (await tables(connection))["tokens"]}
        count, as_of = await tokens.count_purgeable(connection, expired_before=expired_before)
        known = await tokens.count_cleanups(connection)
        later = Log(log.ledger, log.transactions)
        later.ledger.execute(RevokeAllTokens())
        if is_in_time:
            later.commit()
        later.ledger.execute(
            ForgetTokens(expired_before=expired_before, as_of_position=as_of, count=count, cleanups=known)
        )
        later.commit()
        await append(connection, Log(later.ledger, later.transactions[len(log.transactions) :]))
        after = {row["jti"] for row in (await tables(connection))["tokens"]}
        assert known + (count > 0) == await tokens.count_cleanups(connection)
    assert count == len(before - after)
    assert after <= before


async def test_an_empty_ledger_has_nothing_revoked_and_nothing_to_purge(connection: Any) -> None:
    assert 0 == await tokens.last_revocation(connection)
    assert [] == await tokens.revocations(connection, after=0, limit=10)
    assert (0, 0) == await tokens.count_purgeable(connection, expired_before=FUTURE)
    assert 0 == await tokens.count_cleanups(connection)
    assert [] == await sessions.list_sessions(connection, None, before=NEVER, limit=10)
    assert {(NOBODY, ALICE): NEVER} == await tokens.revoked_below(connection, [(NOBODY, ALICE)])


def test_the_generated_logs_reach_every_event() -> None:
    """A property that sees only refusals proves nothing."""
    seen: set[type[Any]] = set()

    @hypothesis.settings(max_examples=100, derandomize=True, database=None)
    @hypothesis.given(log=logs())
    def look(log: Log) -> None:
        seen.update(type(row.event) for row in log.rows())

    look()
    of_users = {*REVOKING} - {ClientTokensRevoked}
    assert {*of_users, TokensIssued, PairReissued, RevokedTokensForgotten} == seen
