"""Sessions, cut-offs, and the ids of all issued tokens, each with its expiry and the event that revoked it.

A token is dead if it was issued at a smaller position than `revoked_below` of its session, or than the cut-off of its
user or of everybody. PostgreSQL, the revocation cache and the deciders of `ledger.commands` make the same comparison.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias, assert_never, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.clients import ClientTokensRevoked
from ledger.events.tokens import (
    CLEANUPS,
    AllTokensRevoked,
    Cleanups,
    ClientTokenIssued,
    PairReissued,
    RefreshTokenReused,
    RevokedTokensForgotten,
    SessionEvent,
    SessionRevoked,
    TokensIssued,
    TokensRotated,
)
from ledger.events.users import UserTokensRevoked
from ledger.money import MAX_CENTS
from ledger.projections.table import (
    CHANGE,
    POSITION,
    TIME,
    Column,
    Index,
    Table,
    encode_columns,
    insert,
    update,
    upsert,
)
from ledger.store.connections import Reader
from ledger.store.heads import read_heads
from ledger.store.sql import LOG_END
from ledger.store.statements import Statement, integers, uuids

ACCESS, REFRESH = 0, 1  # the values of the claim `typ`
NEVER = MAX_CENTS  # a position that no log reaches: all tokens issued below it are dead
_Cutoff: TypeAlias = UserTokensRevoked | ClientTokensRevoked | AllTokensRevoked
_CUTOFFS = get_args(_Cutoff)
REVOKING = frozenset({TokensRotated, SessionRevoked, RefreshTokenReused, *_CUTOFFS})
_OF_SESSIONS = frozenset(get_args(SessionEvent))
HANDLED_BY_SESSIONS = _OF_SESSIONS | {*_CUTOFFS, RevokedTokensForgotten}
_Issuing: TypeAlias = TokensIssued | ClientTokenIssued | TokensRotated
_TokenEvent: TypeAlias = SessionEvent | _Cutoff | RevokedTokensForgotten
HANDLED_BY_TOKENS = frozenset(get_args(_TokenEvent))
EVERYBODY = UUID(int=0)  # the user whose cut-off applies to all users

SESSIONS = Table(
    name="sessions",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("user_id", "uuid"),
        Column("position", "bigint", POSITION),
        Column(
            "revoked_below",
            "bigint",
            f"CASE WHEN new.ended_by IS NOT NULL THEN {NEVER} ELSE coalesce({POSITION}, 0) END",
            "greatest({table}.{name}, {new})",
        ),
        Column("revoked_position", "bigint", POSITION, CHANGE, optional=True),
        Column("created_at", "timestamptz", TIME),
        Column(
            "refreshed_at",
            "timestamptz",
            TIME,
            "CASE WHEN new.revoked_below IS NULL THEN {table}.{name} ELSE {new} END",
        ),
        Column("expires_at", "timestamptz", change="greatest({new}, {table}.{name})"),
        Column("ended_at", "timestamptz", f"CASE WHEN new.ended_by IS NOT NULL THEN {TIME} END", optional=True),
        Column("ended_by", "text", optional=True),
    ),
    indexes=(
        Index("sessions_user_idx", '(user_id, "position")'),
        Index("sessions_revoked_idx", "(revoked_position)", where="(revoked_position IS NOT NULL)"),
    ),
    changes="update",
)
CUTOFFS = Table(
    name="cutoffs",
    key=("user_id",),
    stream="user_id",
    columns=(Column("user_id", "uuid"), Column("position", "bigint", POSITION)),
    indexes=(Index("cutoffs_position_idx", '("position")'),),
    changes="upsert",
)
TOKENS = Table(
    name="tokens",
    key=("jti",),
    stream="session_id",
    columns=(
        Column("jti", "uuid"),
        Column("session_id", "uuid"),
        Column("user_id", "uuid"),
        Column("type", "smallint"),
        Column("position", "bigint", POSITION),
        Column("expires_at", "timestamptz"),
        Column("revoked_position", "bigint", POSITION, optional=True),
        Column("forgotten", "boolean", optional=True),
    ),
    indexes=(
        Index("tokens_session_idx", "(session_id)", writes=True),
        Index("tokens_user_idx", "(user_id)", where="(revoked_position IS NULL)", writes=True),
        Index("tokens_revoked_idx", "(expires_at)", where="((revoked_position IS NOT NULL) AND (NOT forgotten))"),
    ),
    changes="update",
)
_CHANGING = tuple(name for name in SESSIONS.names if name not in {"user_id", "position", "created_at"})
_ISSUED = tuple(name for name in TOKENS.names if name != "forgotten")


def apply_sessions(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts and updates of sessions, each row at most once, the cut-offs, and the deletes of clean-ups."""
    rows: dict[UUID, _Session] = {}
    for recorded in events:
        if type(recorded.event) in _OF_SESSIONS:
            row = rows.setdefault(recorded.stream_id, _Session(recorded.stream_id))
            row.change(recorded, cast("SessionEvent", recorded.event))
    started = [row for row in rows.values() if row.position is not None]
    changed = [row for row in rows.values() if row.position is None]
    return [
        *([insert(SESSIONS, encode_columns(SESSIONS, SESSIONS.names, started))] if started else []),
        *([update(SESSIONS, encode_columns(SESSIONS, _CHANGING, changed))] if changed else []),
        *_cut_off(events),
        *(_delete_sessions(row.event) for row in events if isinstance(row.event, RevokedTokensForgotten)),
    ]


@dataclass(slots=True)
class _Session:
    """The values that a run of events gives the columns of one session; None leaves a column unchanged.

    `revoked_below` is the position of the last rotation; it has no effect once the session has ended.
    """

    id: UUID
    user_id: UUID | None = None
    position: int | None = None
    created_at: datetime | None = None
    refreshed_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_below: int | None = None
    revoked_position: int | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None

    def change(self, recorded: Recorded, event: SessionEvent) -> None:
        """Apply one event."""
        match event:
            case TokensIssued(user_id=user_id, refresh_expires_at=expires_at):
                self.user_id, self.position, self.expires_at = user_id, recorded.position, _to_time(expires_at)
                self.created_at = self.refreshed_at = recorded.recorded_at
            case ClientTokenIssued(client_id=client_id, expires_at=expires_at):
                self.user_id, self.position, self.expires_at = client_id, recorded.position, _to_time(expires_at)
                self.created_at = self.refreshed_at = recorded.recorded_at
            case TokensRotated(refresh_expires_at=expires_at):
                self.revoked_below = self.revoked_position = recorded.position
                self.refreshed_at = recorded.recorded_at
                expiry = _to_time(expires_at)
                self.expires_at = expiry if self.expires_at is None else max(self.expires_at, expiry)
            case PairReissued():
                pass
            case SessionRevoked(by=by):
                self._end(recorded, by)
            case RefreshTokenReused():
                self._end(recorded, "reuse")
            case _:
                assert_never(event)

    def _end(self, recorded: Recorded, by: str) -> None:
        self.revoked_position, self.ended_at, self.ended_by = recorded.position, recorded.recorded_at, by


def _delete_sessions(event: RevokedTokensForgotten) -> Statement:
    """Delete the sessions that had ended, and whose tokens had all expired: a session without a row is dead."""
    return Statement(
        """DELETE FROM sessions
           WHERE ended_by IS NOT NULL AND revoked_position <= $1 AND expires_at < $2::timestamptz""",
        (event.as_of_position, _to_time(event.expired_before)),
    )


def _cut_off(events: Sequence[Recorded]) -> list[Statement]:
    cutoffs = {_user_of(row): row.position for row in events if isinstance(row.event, _CUTOFFS)}
    if not cutoffs:
        return []
    return [upsert(CUTOFFS, {"user_id": uuids(cutoffs), "position": integers(cutoffs.values())})]


def apply_tokens(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts of issued tokens, one or two a session, and the updates of those revoked or purged.

    A clean-up purges tokens that were revoked before it was requested, so no event of its database transaction concerns
    them. A rebuild begins a new run of events at each clean-up.
    """
    run = _TokenRun()
    for row in events:
        if type(row.event) in HANDLED_BY_TOKENS:
            run.take(row, cast("_TokenEvent", row.event))
    return [
        *([insert(TOKENS, encode_columns(TOKENS, _ISSUED, run.issued))] if run.issued else []),
        *([_revoke_tokens(run.sessions, run.users)] if run.sessions or run.users else []),
        *(_purge_tokens(event) for event in run.purges),
    ]


@dataclass(slots=True)
class _Token:
    """The columns of an issued token."""

    jti: UUID
    session_id: UUID
    user_id: UUID
    type: int
    position: int
    expires_at: datetime
    revoked_position: int | None = None


@dataclass(slots=True)
class _TokenRun:
    """The effects of a run of events: tokens issued, and the first position that revokes a session or a user.

    `living` has the tokens of the run that are not revoked, by session.
    """

    issued: list[_Token] = field(default_factory=list)
    living: dict[UUID, list[_Token]] = field(default_factory=dict)
    sessions: dict[UUID, int] = field(default_factory=dict)
    users: dict[UUID, int] = field(default_factory=dict)
    purges: list[RevokedTokensForgotten] = field(default_factory=list)

    def take(self, row: Recorded, event: _TokenEvent) -> None:
        """Apply one event."""
        match event:
            case TokensIssued() | ClientTokenIssued():
                self._issue(row, event)
            case TokensRotated():
                self._revoke_session(row)
                self._issue(row, event)
            case PairReissued():
                pass
            case SessionRevoked() | RefreshTokenReused():
                self._revoke_session(row)
            case UserTokensRevoked() | ClientTokensRevoked() | AllTokensRevoked():
                self._revoke_user(_user_of(row), row.position)
            case RevokedTokensForgotten():
                self.purges.append(event)
            case _:
                assert_never(event)

    def _issue(self, row: Recorded, event: _Issuing) -> None:
        self.living[row.stream_id] = _build_tokens(row, event)
        self.issued += self.living[row.stream_id]

    def _revoke_session(self, row: Recorded) -> None:
        self.sessions.setdefault(row.stream_id, row.position)
        _kill(self.living, [row.stream_id], row.position)

    def _revoke_user(self, user_id: UUID, position: int) -> None:
        self.users.setdefault(user_id, position)
        cut = [session for session, pair in self.living.items() if user_id in (pair[0].user_id, EVERYBODY)]
        _kill(self.living, cut, position)


def _build_tokens(row: Recorded, event: _Issuing) -> list[_Token]:
    if isinstance(event, ClientTokenIssued):
        expires_at = _to_time(event.expires_at)
        return [_Token(event.jti, row.stream_id, event.client_id, ACCESS, row.position, expires_at)]
    ends = ((event.access_jti, ACCESS, event.access_expires_at), (event.refresh_jti, REFRESH, event.refresh_expires_at))
    return [
        _Token(jti, row.stream_id, event.user_id, kind, row.position, _to_time(expires_at))
        for jti, kind, expires_at in ends
    ]


def _kill(living: dict[UUID, list[_Token]], sessions: Iterable[UUID], position: int) -> None:
    for session_id in sessions:
        for token in living.pop(session_id, ()):
            token.revoked_position = position


def _revoke_tokens(sessions: dict[UUID, int], users: dict[UUID, int]) -> Statement:
    """Mark the tokens issued before these events as revoked. The first event that revokes a token counts."""
    return Statement(
        f"""UPDATE tokens SET revoked_position = first_position + dead.number
            FROM (SELECT jti, min(number) AS number
                  FROM (SELECT jti, number
                        FROM unnest($1::uuid[], $2::bigint[]) AS ended(session_id, number)
                        JOIN tokens USING (session_id) WHERE revoked_position IS NULL
                        UNION ALL
                        SELECT jti, number
                        FROM unnest($3::uuid[], $4::bigint[]) AS cut(user_id, number)
                        JOIN tokens USING (user_id) WHERE revoked_position IS NULL
                        UNION ALL
                        SELECT jti, number
                        FROM unnest($3::uuid[], $4::bigint[]) AS cut(user_id, number), tokens
                        WHERE cut.user_id = '{EVERYBODY}' AND revoked_position IS NULL) AS killed
                  GROUP BY jti) AS dead, reserved
            WHERE tokens.jti = dead.jti""",
        (uuids(sessions), integers(sessions.values()), uuids(users), integers(users.values())),
    )


def _purge_tokens(event: RevokedTokensForgotten) -> Statement:
    """Delete tokens. Their events stay in the log, and the commands that they sent are found by session."""
    return Statement(
        "DELETE FROM tokens WHERE revoked_position <= $1 AND expires_at < $2::timestamptz",
        (event.as_of_position, _to_time(event.expired_before)),
    )


def _user_of(row: Recorded) -> UUID:
    return EVERYBODY if isinstance(row.event, AllTokensRevoked) else row.stream_id


def _to_time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def issued_at(reader: Reader, jti: UUID) -> int | None:
    """Return the position at which a token was issued, or None."""
    position: int | None = await reader.fetchval("SELECT position FROM tokens WHERE jti = $1", jti)
    return position


async def revoked_below(reader: Reader, sessions: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], int]:
    """Return for each pair of a session and its user the position below which its tokens are dead."""
    pairs = list(sessions)
    rows = await reader.fetch(
        f"""SELECT asked.id, asked.user_id,
                   greatest(coalesce(sessions.revoked_below, {NEVER}), cutoffs.position, everybody.position)
            FROM unnest($1::uuid[], $2::uuid[]) AS asked(id, user_id)
            LEFT JOIN sessions ON sessions.id = asked.id AND sessions.user_id = asked.user_id
            LEFT JOIN cutoffs ON cutoffs.user_id = asked.user_id
            LEFT JOIN cutoffs AS everybody ON everybody.user_id = '{EVERYBODY}'""",
        [session_id for session_id, _ in pairs],
        [user_id for _, user_id in pairs],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def last_revocation(reader: Reader) -> int:
    """Return the position of the last event that revoked tokens, or 0."""
    position: int = await reader.fetchval(
        """SELECT greatest((SELECT max(revoked_position) FROM sessions WHERE revoked_position IS NOT NULL),
                           (SELECT max(position) FROM cutoffs), 0)"""
    )
    return position


async def revocations(reader: Reader, *, after: int, limit: int) -> list[Record]:
    """Return up to `limit` revocations after a position, in order.

    The columns are `position`, `session_id` (null in a cut-off), `user_id`, `below` and `expires_at`. Of several
    revocations of one session or user, only the last is included.
    """
    return await reader.fetch(
        """SELECT * FROM (
               SELECT revoked_position AS position, id AS session_id, user_id, revoked_below AS below, expires_at
               FROM sessions WHERE revoked_position > $1
               UNION ALL
               SELECT position, NULL, user_id, position, NULL FROM cutoffs WHERE position > $1) AS revocations
           ORDER BY position LIMIT $2""",
        after,
        limit,
    )


async def count_purgeable(reader: Reader, *, expired_before: int) -> tuple[int, int]:
    """Return the number of revoked tokens that expired before a time, and the end of the log at that count."""
    row = await reader.fetchrow(
        f"""SELECT count(*), {LOG_END}
           FROM tokens WHERE revoked_position IS NOT NULL AND NOT forgotten AND expires_at < $1""",
        _to_time(expired_before),
    )
    assert row is not None  # noqa: S101 - an aggregate has a row
    return row[0], row[1]


async def count_cleanups(reader: Reader) -> int:
    """Return how often revoked tokens were purged."""
    heads = await read_heads(reader, [CLEANUPS])
    state = heads[CLEANUPS].state if heads else None
    return state.count if isinstance(state, Cleanups) else 0
