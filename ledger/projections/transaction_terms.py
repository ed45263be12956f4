"""The terms of transactions, by which searches find them: a row for each, with the position from which it counts.

A term stands for a word of a description, a value of the metadata, the transaction that is reversed, or the day, month
or year of an effective time. Those of captures and amendments are added, and none is removed: terms find candidates,
which are then compared with what the transaction says now. A plain transfer has no terms.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple
from uuid import UUID

import msgspec

from ledger.events import Recorded
from ledger.events.amendments import TransactionAmended
from ledger.events.transactions import (
    Details,
    HoldCaptured,
    JournalEntryPosted,
    MoneyTransferred,
    ReversibleDetails,
    TransactionScheduled,
)
from ledger.projections.dated_entries import number_month
from ledger.projections.table import POSITION, Column, Index, Table, encode_columns, insert
from ledger.store.statements import Statement, integers, uuids
from ledger.values.words import split_words

_MONTHS, _DAYS = 100_000, 1_000_000  # where the terms of months and of days begin; hashes are negative
_MOVING = (MoneyTransferred, JournalEntryPosted, HoldCaptured)

# A hold counts from its last capture, once it has one, and any other transaction from its beginning.
COUNTED = "CASE WHEN captured_cents IS NULL THEN position ELSE settled_position END"
# An amendment does not know where its transaction counts from.
_KNOWN_POSITION = f"coalesce({POSITION}, (SELECT {COUNTED} FROM transfers WHERE transfers.id = new.transaction_id))"

TRANSACTION_TERMS = Table(
    name="transaction_terms",
    key=("transaction_id", "term"),
    stream="transaction_id",
    columns=(
        Column("transaction_id", "uuid"),
        Column("term", "bigint"),
        Column("position", "bigint", _KNOWN_POSITION),
    ),
    indexes=(Index("transaction_terms_position_idx", '(term, "position", transaction_id)'),),
    changes="update",
)


class Row(NamedTuple):
    """A row of the table; the position is None if it does not change, as by an amendment."""

    transaction_id: UUID
    term: int
    position: int | None


def apply(runs: Iterable[Sequence[Recorded]]) -> list[Statement]:
    """Return the inserts of terms, and the update of their positions; each run has events of one transaction."""
    new: list[Row] = []
    more: list[Row] = []
    moved: dict[UUID, int] = {}
    for run in runs:
        begins, position = run[0].version == 1, _counted_position(run)
        (new if begins else more).extend(list_rows(run))
        if not begins and position is not None:
            moved[run[0].stream_id] = position
    return [
        *([_insert(new)] if new else []),
        *([_insert_missing(more)] if more else []),
        *([_move(moved)] if moved else []),
    ]


def list_rows(run: Sequence[Recorded]) -> Iterator[Row]:
    """Yield the rows that events of one transaction add."""
    position = _counted_position(run)
    for term in dict.fromkeys(chain.from_iterable(_list_terms(row.event) for row in run)):
        yield Row(run[0].stream_id, term, position)


def _counted_position(run: Sequence[Recorded]) -> int | None:
    """Return the position from which the transaction counts, or None if these events do not say."""
    begins = [run[0].position] if run[0].version == 1 else []
    return next((row.position for row in reversed(run) if isinstance(row.event, _MOVING)), next(iter(begins), None))


def _insert(rows: Sequence[Row]) -> Statement:
    return insert(TRANSACTION_TERMS, encode_columns(TRANSACTION_TERMS, TRANSACTION_TERMS.names, rows))


def _insert_missing(rows: Sequence[Row]) -> Statement:
    """Return the insert of the rows that do not exist."""
    statement = _insert(rows)
    return Statement(f"{statement.sql} ON CONFLICT ({', '.join(TRANSACTION_TERMS.key)}) DO NOTHING", statement.values)


def _move(positions: Mapping[UUID, int]) -> Statement:
    """Return the update of the positions of all terms of transactions."""
    return Statement(
        f"""UPDATE transaction_terms SET position = {POSITION.format(name="position")}
            FROM unnest($1::uuid[], $2::bigint[]) AS new(transaction_id, position), reserved
            WHERE transaction_terms.transaction_id = new.transaction_id""",
        (uuids(positions), integers(positions.values())),
    )


def _list_terms(event: object) -> Iterator[int]:
    if isinstance(event, TransactionScheduled):
        yield from _list_terms(event.planned)
        yield from date_terms(event.execute_at)
    if isinstance(event, Details | TransactionAmended):
        yield from word_terms(split_words(event.description or ""))
        yield from metadata_terms(event.metadata or {})
    if isinstance(event, Details) and event.effective_at is not None:
        yield from date_terms(event.effective_at)
    if isinstance(event, ReversibleDetails) and event.reverses is not None:
        yield reversal_term(event.reverses)


def word_terms(words: Iterable[str]) -> Iterator[int]:
    """Yield the term of each word."""
    return (_hash("word", word) for word in words)


def metadata_terms(metadata: Mapping[str, str]) -> Iterator[int]:
    """Yield the term of each value, with its key."""
    return (_hash("metadata", key, value) for key, value in metadata.items())


def reversal_term(transaction_id: UUID) -> int:
    """Return the term of the reversals of a transaction."""
    return _hash("reverses", str(transaction_id))


def _hash(*parts: str) -> int:
    digest = blake2b(msgspec.json.encode(parts), digest_size=8).digest()
    return -1 - (int.from_bytes(digest) >> 1)


def date_terms(time: datetime) -> tuple[int, int, int]:
    """Return the terms of the year, the month and the day of a time, in UTC."""
    utc = time.astimezone(UTC)
    return utc.year, _MONTHS + number_month(utc), _DAYS + utc.toordinal()


class Cover(NamedTuple):
    """The terms of each day of a period, once: those of its whole years, from the first to the last, and others."""

    years: range
    others: Sequence[int]


def cover_days(first: date, last: date) -> Cover:
    """Return the terms that cover the days from the first to the last, both included."""
    years = range(first.year + ((first.month, first.day) != (1, 1)), last.year + ((last.month, last.day) == (12, 31)))
    if not years:
        return Cover(range(0), _cover_by_months(first, last) if first <= last else [])
    before = _cover_by_months(first, date(years[0] - 1, 12, 31)) if years[0] > first.year else []
    after = _cover_by_months(date(years[-1] + 1, 1, 1), last) if years[-1] < last.year else []
    return Cover(years, [*before, *after])


def _cover_by_months(first: date, last: date) -> list[int]:
    months = range(
        number_month(first) + (first.day > 1), number_month(last) + (last.day == monthrange(last.year, last.month)[1])
    )
    if not months:
        return [*_cover_by_days(first.toordinal(), last.toordinal())]
    begin, end = _first_day(months[0]).toordinal(), last.replace(day=1).toordinal()
    return [
        *_cover_by_days(first.toordinal(), begin - 1),
        *(_MONTHS + month for month in months),
        *(_cover_by_days(end, last.toordinal()) if months[-1] < number_month(last) else ()),
    ]


def _cover_by_days(first: int, last: int) -> range:
    return range(_DAYS + first, _DAYS + last + 1)


def _first_day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)
