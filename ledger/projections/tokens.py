"""Sessions, cut-offs, and the ids of all tokens that were issued, with when they end and what revoked them.

A token is dead if it was issued at a smaller position than `revoked_below` of its session, or than the cut-off of its
user or of everybody. That one comparison is all that PostgreSQL, the mirror and the decisions of `ledger.commands`
differ in how they come by.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.tokens import (
    CLEANUPS,
    AllTokensRevoked,
    Cleanups,
    RefreshTokenReused,
    RevokedTokensForgotten,
    SessionRevoked,
    TokensIssued,
    TokensRotated,
)
from ledger.events.users import UserTokensRevoked
from ledger.money import MAX_CENTS
from ledger.store.connections import Reader
from ledger.store.log import read_heads
from ledger.store.sql import LOG_END
from ledger.store.statements import Statement, booleans, columns, integers, texts, times, uuids

ACCESS, REFRESH = 0, 1  # the values of the claim `typ`
NEVER = MAX_CENTS  # a position that no log reaches: what was issued before it is dead for good
REVOKING = frozenset({TokensRotated, SessionRevoked, RefreshTokenReused, UserTokensRevoked, AllTokensRevoked})
_OF_SESSIONS = frozenset({TokensIssued, TokensRotated, SessionRevoked, RefreshTokenReused})
HANDLED_BY_SESSIONS = _OF_SESSIONS | {UserTokensRevoked, AllTokensRevoked}
HANDLED_BY_TOKENS = HANDLED_BY_SESSIONS | {RevokedTokensForgotten}
EVERYBODY = UUID(int=0)  # whose cut-off is everybody's


def apply_sessions(events: Sequence[Recorded]) -> list[Statement]:
    """A row a session, written once however much happens to it in these events."""
    rows: dict[UUID, _Session] = {}
    for recorded in events:
        if type(recorded.event) in _OF_SESSIONS:
            rows.setdefault(recorded.stream_id, _Session(recorded.stream_id)).change(recorded)
    started = [row for row in rows.values() if row.started is not None]
    changed = [row for row in rows.values() if row.started is None]
    return [
        *([_insert_sessions(started)] if started else []),
        *([_update_sessions(changed)] if changed else []),
        *_cut_off(events),
    ]


@dataclass(slots=True)
class _Session:
    """What a run of events leaves behind of one session; None is what it does not touch.

    `revoked` is the last event that killed tokens.
    """

    id: UUID
    started: Recorded | None = None
    rotated: Recorded | None = None
    ended: Recorded | None = None
    revoked: Recorded | None = None
    ended_by: str | None = None
    expires_at: int | None = None

    def change(self, recorded: Recorded) -> None:
        match recorded.event:
            case TokensIssued(refresh_expires_at=expires_at):
                self.started, self.expires_at = recorded, expires_at
            case TokensRotated(refresh_expires_at=expires_at):
                self.rotated = self.revoked = recorded
                self.expires_at = max(self.expires_at or 0, expires_at)
            case SessionRevoked(by=by):
                self.ended = self.revoked = recorded
                self.ended_by = by
            case RefreshTokenReused():
                self.ended = self.revoked = recorded
                self.ended_by = "reuse"
            case _:
                pass


def _insert_sessions(rows: Sequence[_Session]) -> Statement:
    started = [(row, row.started, row.started.event) for row in rows if row.started is not None]
    issued = [(row, recorded, event) for row, recorded, event in started if isinstance(event, TokensIssued)]
    kinds = ("uuid", "uuid", "bigint", "timestamptz", *_CHANGED_KINDS[1:])
    return Statement(
        f"""INSERT INTO sessions (id, user_id, position, created_at, refreshed_at, expires_at, revoked_below,
                                  revoked_position, ended_at, ended_by)
            SELECT id, user_id, first_position + number, coalesce(at, recorded_at),
                   coalesce(rotated_at, at, recorded_at), expires_at,
                   CASE WHEN ended THEN {NEVER} ELSE coalesce(first_position + rotated, 0) END,
                   first_position + revoked, CASE WHEN ended THEN coalesce(ended_at, recorded_at) END, ended_by
            FROM {columns(*kinds)}
                 AS new(id, user_id, number, at, {_CHANGED_NAMES}), reserved""",
        (
            uuids(row.id for row, _, _ in issued),
            uuids(event.user_id for _, _, event in issued),
            integers(recorded.position for _, recorded, _ in issued),
            times(recorded.recorded_at for _, recorded, _ in issued),
            *_changed([row for row, _, _ in issued])[1:],
        ),
    )


def _update_sessions(rows: Sequence[_Session]) -> Statement:
    """Change sessions. What has ended stays so, also if it is refreshed where that is not enforced."""
    return Statement(
        f"""UPDATE sessions
            SET refreshed_at = CASE WHEN rotated IS NULL THEN refreshed_at ELSE coalesce(rotated_at, recorded_at) END,
                expires_at = greatest(new.expires_at, sessions.expires_at),
                revoked_below = CASE WHEN ended THEN {NEVER} ELSE greatest(revoked_below, first_position + rotated) END,
                revoked_position = first_position + revoked,
                ended_at = CASE WHEN ended THEN coalesce(new.ended_at, recorded_at) ELSE sessions.ended_at END,
                ended_by = coalesce(new.ended_by, sessions.ended_by)
            FROM {columns(*_CHANGED_KINDS)}
                 AS new(id, {_CHANGED_NAMES}), reserved
            WHERE sessions.id = new.id""",
        _changed(rows),
    )


_CHANGED_NAMES = "expires_at, rotated, rotated_at, revoked, ended, ended_at, ended_by"
_CHANGED_KINDS = ("uuid", "timestamptz", "bigint", "timestamptz", "bigint", "boolean", "timestamptz", "text")


def _changed(rows: Sequence[_Session]) -> tuple[bytes, ...]:
    return (
        uuids(row.id for row in rows),
        times(None if row.expires_at is None else _moment(row.expires_at) for row in rows),
        integers(None if row.rotated is None else row.rotated.position for row in rows),
        times(None if row.rotated is None else row.rotated.recorded_at for row in rows),
        integers(None if row.revoked is None else row.revoked.position for row in rows),
        booleans(row.ended is not None for row in rows),
        times(None if row.ended is None else row.ended.recorded_at for row in rows),
        texts(row.ended_by for row in rows),
    )


def _cut_off(events: Sequence[Recorded]) -> list[Statement]:
    cutoffs = {
        _whose(row): row.position for row in events if isinstance(row.event, UserTokensRevoked | AllTokensRevoked)
    }
    if not cutoffs:
        return []
    return [
        Statement(
            f"""INSERT INTO cutoffs (user_id, position)
                SELECT user_id, first_position + number
                FROM {columns("uuid", "bigint")} AS new(user_id, number), reserved
                ON CONFLICT (user_id) DO UPDATE SET position = excluded.position""",
            (uuids(cutoffs), integers(cutoffs.values())),
        )
    ]


def apply_tokens(events: Sequence[Recorded]) -> list[Statement]:
    """Two rows a pair of tokens, which are marked when something revokes them.

    What is to be forgotten had been revoked before the clean-up was asked for, so no event of the same transaction is
    about it; a rebuild begins a new run of events at each clean-up.
    """
    issued: list[_Token] = []
    living: dict[UUID, list[_Token]] = {}  # by session
    sessions: dict[UUID, int] = {}
    users: dict[UUID, int] = {}
    for row in events:
        match row.event:
            case TokensRotated() | SessionRevoked() | RefreshTokenReused():
                sessions.setdefault(row.stream_id, row.position)
                _kill(living, [row.stream_id], row.position)
            case UserTokensRevoked() | AllTokensRevoked():
                users.setdefault(_whose(row), row.position)
                cut = [session for session, pair in living.items() if _whose(row) in (pair[0].user_id, EVERYBODY)]
                _kill(living, cut, row.position)
            case _:
                pass
        if isinstance(row.event, TokensIssued | TokensRotated):
            living[row.stream_id] = _pair(row, row.event)
            issued += living[row.stream_id]
    forgotten = [row.event for row in events if isinstance(row.event, RevokedTokensForgotten)]
    return [
        *([_insert_tokens(issued)] if issued else []),
        *([_revoke_tokens(sessions, users)] if sessions or users else []),
        *(_forget_tokens(event) for event in forgotten),
    ]


@dataclass(slots=True)
class _Token:
    jti: UUID
    session_id: UUID
    user_id: UUID
    kind: int
    position: int
    expires_at: datetime
    revoked_position: int | None = None


def _pair(row: Recorded, event: TokensIssued | TokensRotated) -> list[_Token]:
    ends = ((event.access_jti, ACCESS, event.access_expires_at), (event.refresh_jti, REFRESH, event.refresh_expires_at))
    return [
        _Token(jti, row.stream_id, event.user_id, kind, row.position, _moment(expires_at))
        for jti, kind, expires_at in ends
    ]


def _kill(living: dict[UUID, list[_Token]], sessions: Iterable[UUID], position: int) -> None:
    for session_id in sessions:
        for token in living.pop(session_id, ()):
            token.revoked_position = position


def _insert_tokens(tokens: Sequence[_Token]) -> Statement:
    kinds = ("uuid", "uuid", "uuid", "bigint", "bigint", "timestamptz", "bigint")
    return Statement(
        f"""INSERT INTO tokens (jti, session_id, user_id, type, position, expires_at, revoked_position)
            SELECT jti, session_id, user_id, type, first_position + number, expires_at, first_position + revoked
            FROM {columns(*kinds)}
                 AS new(jti, session_id, user_id, type, number, expires_at, revoked), reserved""",
        (
            uuids(token.jti for token in tokens),
            uuids(token.session_id for token in tokens),
            uuids(token.user_id for token in tokens),
            integers(token.kind for token in tokens),
            integers(token.position for token in tokens),
            times(token.expires_at for token in tokens),
            integers(token.revoked_position for token in tokens),
        ),
    )


def _revoke_tokens(sessions: dict[UUID, int], users: dict[UUID, int]) -> Statement:
    """Mark what was issued before these events; what killed a token first is what counts."""
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


def _forget_tokens(event: RevokedTokensForgotten) -> Statement:
    """What is forgotten is never counted or looked at again; the row still tells auditors whose token it was."""
    return Statement(
        """UPDATE tokens SET forgotten = true
           WHERE revoked_position <= $1 AND expires_at < $2::timestamptz AND NOT forgotten""",
        (event.as_of_position, _moment(event.expired_before)),
    )


def _whose(row: Recorded) -> UUID:
    return row.stream_id if isinstance(row.event, UserTokensRevoked) else EVERYBODY


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def whose(reader: Reader, some_id: UUID) -> tuple[UUID, datetime, UUID, UUID | None] | None:
    """Of a session's or a token's id: the user, when the session began, its id, and the token's if it is one."""
    row = await reader.fetchrow(
        """SELECT user_id, created_at, id, NULL::uuid FROM sessions WHERE id = $1
           UNION ALL
           SELECT sessions.user_id, created_at, id, jti FROM tokens JOIN sessions ON id = session_id WHERE jti = $1""",
        some_id,
    )
    return (row[0], row[1], row[2], row[3]) if row else None


async def issued_at(reader: Reader, jti: UUID) -> int | None:
    """The position at which a token was issued."""
    position: int | None = await reader.fetchval("SELECT position FROM tokens WHERE jti = $1", jti)
    return position


async def revoked_below(reader: Reader, sessions: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], int]:
    """For each session, with its user, the position below which its tokens are dead."""
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
    """The position of the last event that killed tokens."""
    position: int = await reader.fetchval(
        """SELECT greatest((SELECT max(revoked_position) FROM sessions WHERE revoked_position IS NOT NULL),
                           (SELECT max(position) FROM cutoffs), 0)"""
    )
    return position


async def revocations(reader: Reader, *, after: int, limit: int) -> list[Record]:
    """Up to `limit` revocations after a position, in order: `position`, `session_id`, `user_id`, `below`, `expires_at`.

    `session_id` is null in a cut-off. Of several revocations of one session or user, the last stands for all.
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


async def forgettable(reader: Reader, *, expired_before: int) -> tuple[int, int]:
    """How many revoked tokens ended before a time, and up to which position of the log that was counted."""
    row = await reader.fetchrow(
        f"""SELECT count(*), {LOG_END}
           FROM tokens WHERE revoked_position IS NOT NULL AND NOT forgotten AND expires_at < $1""",
        _moment(expired_before),
    )
    assert row is not None  # noqa: S101 - an aggregate has a row
    return row[0], row[1]


async def cleanups(reader: Reader) -> int:
    """How often revoked tokens were forgotten."""
    heads = await read_heads(reader, [CLEANUPS])
    state = heads[CLEANUPS].state if heads else None
    return state.count if isinstance(state, Cleanups) else 0


async def sessions_of(
    reader: Reader, user_id: UUID | None, *, before: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """Up to `limit` sessions of a user, or of all, that are still in force, newest first, each with its position."""
    rows = await reader.fetch(
        f"""SELECT sessions.* FROM sessions
            LEFT JOIN cutoffs ON cutoffs.user_id = sessions.user_id
            LEFT JOIN cutoffs AS everybody ON everybody.user_id = '{EVERYBODY}'
            WHERE sessions.position < $1 AND ($2::uuid IS NULL OR sessions.user_id = $2) AND ended_at IS NULL
              AND expires_at > now() AND greatest(sessions.position, revoked_below)
                                         >= greatest(cutoffs.position, everybody.position, 0)
            ORDER BY sessions.position DESC LIMIT $3""",
        before,
        user_id,
        limit,
    )
    members = ("id", "user_id", "created_at", "refreshed_at", "expires_at")
    return [(row["position"], {member: row[member] for member in members}) for row in rows]
