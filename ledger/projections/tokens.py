"""The ids of all tokens that were issued, with their session, their user and when they end. Never the tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ledger.events import Recorded
from ledger.events.tokens import TokensIssued
from ledger.statements import Statement, columns, integers, times, uuids

ACCESS, REFRESH = 0, 1  # the values of the claim `typ`


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Two rows a pair of tokens."""
    issued = [(row, row.event) for row in events if isinstance(row.event, TokensIssued)]
    rows = [
        (jti, row.stream_id, event.user_id, kind, row.position, datetime.fromtimestamp(expires_at, UTC))
        for row, event in issued
        for jti, kind, expires_at in (
            (event.access_jti, ACCESS, event.access_expires_at),
            (event.refresh_jti, REFRESH, event.refresh_expires_at),
        )
    ]
    if not rows:
        return []
    return [
        Statement(
            f"""INSERT INTO tokens (jti, session_id, user_id, type, position, expires_at)
                SELECT jti, session_id, user_id, type, first_position + number, expires_at
                FROM {columns("uuid", "uuid", "uuid", "bigint", "bigint", "timestamptz")}
                     AS new(jti, session_id, user_id, type, number, expires_at), reserved""",
            (
                uuids(row[0] for row in rows),
                uuids(row[1] for row in rows),
                uuids(row[2] for row in rows),
                integers(row[3] for row in rows),
                integers(row[4] for row in rows),
                times([row[5] for row in rows]),
            ),
        )
    ]
