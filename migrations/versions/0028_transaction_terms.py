"""The terms by which searches find transactions: words, metadata, effective times and reversals, with a row for each.

A plain transfer has none. PostgreSQL does not split texts into words as the ledger does, so this migration reads the
events of the transactions that may have terms, and adds the rows that the ledger would have added.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from alembic import op

from ledger.events import Recorded, decode_event
from ledger.projections.transaction_terms import list_rows

revision = "0028"
down_revision = "0027"

STATEMENTS = (
    """
    CREATE TABLE transaction_terms (
        transaction_id uuid   NOT NULL,
        term           bigint NOT NULL,
        position       bigint NOT NULL,
        PRIMARY KEY (transaction_id, term)
    )
    """,
    # Only they have details, or events after the first.
    """
    CREATE TEMPORARY TABLE candidates (number, id) ON COMMIT DROP AS
    SELECT row_number() OVER (), id FROM transfers
    WHERE version IS NOT NULL OR num_nulls(description, metadata, effective_at, reverses, execute_at) < 5
    """,
    "CREATE UNIQUE INDEX ON candidates (number)",
    "UPDATE rebuilds SET kept_position = NULL WHERE projection = 'transfers'",  # it keeps no terms
)
INDEX = "CREATE INDEX transaction_terms_position_idx ON transaction_terms (term, position, transaction_id)"
EVENTS = """
    SELECT notification_id, originator_id, originator_version, recorded_at, topic, state FROM stored_events
    WHERE originator_id IN (SELECT id FROM candidates WHERE number > $1 AND number <= $2)
    ORDER BY originator_id, originator_version
"""
INSERT = "INSERT INTO transaction_terms SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])"
CHUNK = 5000  # transactions at once


def upgrade() -> None:
    """Create the table, with the terms of all transactions."""
    for statement in STATEMENTS:
        op.execute(statement)
    connection = op.get_bind()
    count = connection.exec_driver_sql("SELECT count(*) FROM candidates").scalar_one()
    for first in range(0, count, CHUNK):
        events = connection.exec_driver_sql(EVENTS, (first, first + CHUNK)).all()
        rows = [*_list_terms(events)]
        if rows:
            connection.exec_driver_sql(INSERT, tuple(map(list, zip(*rows, strict=True))))
    op.execute(INDEX)


def _list_terms(events: Sequence[Any]) -> Iterator[tuple[UUID, int, int | None]]:
    for _, stream in groupby(events, key=lambda row: row.originator_id):
        yield from list_rows([_decode(*row) for row in stream])


def _decode(position: int, stream_id: UUID, version: int, recorded_at: datetime, topic: str, state: bytes) -> Recorded:
    return Recorded(position, stream_id, version, recorded_at, decode_event(topic, state))
