"""Transactions, as `/transactions` shows them: transfers, journal entries and holds, and what became of them."""

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import Recorded, encode
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    JournalEntryPosted,
    MoneyTransferred,
    Transfer,
    TransferEvent,
    evolve,
)
from ledger.store.connections import Reader
from ledger.store.pool import Resource
from ledger.store.statements import Statement, columns, documents, integers, texts, times, uuids, words

MAX_COUNTED = 100_000
HANDLED = frozenset(get_args(TransferEvent))
_TYPES = ("uuid", "bigint", "timestamptz", "uuid", "uuid", "bigint", "text", "text", "text")
_BEGINNINGS = MoneyTransferred | JournalEntryPosted | HoldPlaced
_ENDS = HoldCaptured | HoldVoided | HoldExpired
_OTHERS = HANDLED - {MoneyTransferred}


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """A row a transaction, inserted as its last event leaves it; of one that is there, what changes."""
    made = [(row, row.event) for row in events if isinstance(row.event, MoneyTransferred)]
    odd = {row.stream_id for row, event in made if _says_more(event)}
    odd.update(row.stream_id for row in events if type(row.event) in _OTHERS)
    plain = [(row, event) for row, event in made if row.stream_id not in odd] if odd else made
    return [*([_insert_plain(plain)] if plain else []), *(_of_all_kinds(events, odd) if odd else [])]


def _says_more(event: MoneyTransferred) -> bool:
    """Whether it has one of the members that most transfers do not have."""
    return (
        event.description is not None
        or event.metadata is not None
        or event.effective_at is not None
        or event.reverses is not None
    )


def _insert_plain(made: Sequence[tuple[Recorded, MoneyTransferred]]) -> Statement:
    return Statement(
        f"""INSERT INTO transfers (id, position, recorded_at, source_account_id, destination_account_id,
                                   amount_cents, currency, kind, reference)
            SELECT id, first_position + number, coalesce(at, recorded_at), source_id, destination_id, amount_cents,
                   currency, kind, reference
            FROM {columns(*_TYPES)} AS new(id, number, at, source_id, destination_id, amount_cents, currency, kind,
                                           reference), reserved""",
        (
            uuids(row.stream_id for row, _ in made),
            integers(row.position for row, _ in made),
            times([row.recorded_at for row, _ in made]),
            uuids(event.source_account_id for _, event in made),
            uuids(event.destination_account_id for _, event in made),
            integers(event.amount_cents for _, event in made),
            words(event.currency for _, event in made),
            words(event.kind for _, event in made),
            texts(event.reference for _, event in made),
        ),
    )


class _Course(NamedTuple):
    """The events of one transaction in a run: what they add up to, where that begins, ends, and where it settled."""

    state: Transfer
    first: Recorded
    last: Recorded
    settled: Recorded | None


def _of_all_kinds(events: Sequence[Recorded], transfer_ids: set[UUID]) -> list[Statement]:
    runs: dict[UUID, list[Recorded]] = {}
    for row in events:
        if isinstance(row.event, TransferEvent) and row.stream_id in transfer_ids:
            runs.setdefault(row.stream_id, []).append(row)
    courses = [_course(rows) for rows in runs.values()]
    new = [course for course in courses if isinstance(course.first.event, _BEGINNINGS)]
    old = [course for course in courses if not isinstance(course.first.event, _BEGINNINGS)]
    return [*([_insert(new)] if new else []), *([_update(old)] if old else [])]


def _course(rows: Sequence[Recorded]) -> _Course:
    state = None if isinstance(rows[0].event, _BEGINNINGS) else Transfer()
    settled = None
    for row in rows:
        assert isinstance(row.event, TransferEvent)  # noqa: S101 - those were chosen
        state = evolve(state, row.event)
        settled = row if isinstance(row.event, _ENDS) else settled
    assert state is not None  # noqa: S101 - there is one event at least
    return _Course(state, rows[0], rows[-1], settled)


class _Column(NamedTuple):
    name: str
    type: str
    encode: Callable[[Iterable[Any]], bytes]
    value: Callable[[_Course], Any]


def _told(name: str) -> Callable[[_Course], Any]:
    """A member of the event with which a transaction begins, if an event of its kind has it."""
    return lambda course: getattr(course.first.event, name, None)


def _document(name: str) -> Callable[[_Course], bytes | None]:
    told = _told(name)
    return lambda course: None if (value := told(course)) is None else encode(value)


def _kind(course: _Course) -> str:
    match course.first.event:
        case MoneyTransferred(kind=kind) | JournalEntryPosted(kind=kind):
            return kind
        case _:
            return "hold"


_BEGUN = (
    _Column("begun", "bigint", integers, lambda course: course.first.position),
    _Column("begun_at", "timestamptz", times, lambda course: course.first.recorded_at),
)
_TOLD = (
    _Column("kind", "text", words, _kind),
    _Column("source_account_id", "uuid", uuids, _told("source_account_id")),
    _Column("destination_account_id", "uuid", uuids, _told("destination_account_id")),
    _Column("amount_cents", "bigint", integers, _told("amount_cents")),
    _Column("currency", "text", texts, _told("currency")),
    _Column("reference", "text", texts, _told("reference")),
    _Column("postings", "jsonb", documents, _document("postings")),
    _Column("description", "text", texts, _told("description")),
    _Column("metadata", "jsonb", documents, _document("metadata")),
    _Column("effective_at", "timestamptz", times, _told("effective_at")),
    _Column("expires_at", "timestamptz", times, _told("expires_at")),
    _Column("reverses", "uuid", uuids, _told("reverses")),
)
_ID = _Column("id", "uuid", uuids, lambda course: course.first.stream_id)
_BECAME = (
    _Column("version", "bigint", integers, lambda course: course.last.version if course.last.version > 1 else None),
    _Column("status", "text", texts, lambda course: None if course.state.status == "posted" else course.state.status),
    _Column("captured_cents", "bigint", integers, lambda course: course.state.captured_cents),
    _Column("reversed_by", "uuid", uuids, lambda course: course.state.reversed_by),
)
_SETTLED = (
    _Column("settled", "bigint", integers, lambda course: course.settled and course.settled.position),
    _Column("settled_time", "timestamptz", times, lambda course: course.settled and course.settled.recorded_at),
)
_SETTLED_AT = """first_position + settled AS settled_position,
                 CASE WHEN settled IS NOT NULL THEN coalesce(settled_time, recorded_at) END AS settled_at"""


def _insert(courses: Sequence[_Course]) -> Statement:
    same = (_ID, *_TOLD, *_BECAME)
    names = ", ".join(column.name for column in same)
    new, values = _new((*same, *_BEGUN, *_SETTLED), courses)
    return Statement(
        f"""INSERT INTO transfers ({names}, position, recorded_at, settled_position, settled_at)
            SELECT {names}, first_position + begun, coalesce(begun_at, recorded_at), {_SETTLED_AT}
            FROM {new}, reserved""",
        values,
    )


def _update(courses: Sequence[_Course]) -> Statement:
    new, values = _new((_ID, *_BECAME, *_SETTLED), courses)
    changed = (*(column.name for column in _BECAME), "settled_position", "settled_at")
    return Statement(
        f"""UPDATE transfers SET {", ".join(f"{name} = coalesce(new.{name}, transfers.{name})" for name in changed)}
            FROM (SELECT new.*, {_SETTLED_AT} FROM {new}, reserved) AS new
            WHERE transfers.id = new.id""",
        values,
    )


def _new(given: Sequence[_Column], courses: Sequence[_Course]) -> tuple[str, tuple[bytes, ...]]:
    """The table `new` of these columns, and the values that it takes."""
    return (
        f"{columns(*(column.type for column in given))} AS new({', '.join(column.name for column in given)})",
        tuple(column.encode([column.value(course) for course in courses]) for column in given),
    )


class Holds(NamedTuple):
    """How many holds are pending, up to `MAX_COUNTED`, and for how long the first has been due (0: none is)."""

    pending: int
    overdue_seconds: float


async def holds(reader: Reader) -> Holds:
    """How the holds stand."""
    row = await reader.fetchrow(
        """SELECT (SELECT count(*) FROM (SELECT FROM transfers WHERE status = 'pending' LIMIT $1) AS counted),
                  greatest(0, extract(epoch FROM clock_timestamp() - (SELECT min(expires_at) FROM transfers
                                                                      WHERE status = 'pending')))::float8""",
        MAX_COUNTED,
    )
    assert row is not None  # noqa: S101 - it has no FROM
    return Holds(*row)


class Due(NamedTuple):
    """A hold whose time has come, and the account that it holds money of."""

    transfer_id: UUID
    source_account_id: UUID


async def due(reader: Reader, now: datetime, limit: int) -> list[Due]:
    """Up to `limit` pending holds that are not to be held any longer, the oldest first."""
    rows = await reader.fetch(
        """SELECT id, source_account_id FROM transfers
           WHERE status = 'pending' AND expires_at <= $1 ORDER BY expires_at LIMIT $2""",
        now,
        limit,
    )
    return [Due(*row) for row in rows]


async def find(reader: Reader, transfer_id: UUID, *, party_id: UUID | None = None) -> Resource | None:
    """One transaction; with `party_id`, only what that user may see of it."""
    row = await reader.fetchrow(
        f"SELECT transfers.*, {OWN.format('$2')} FROM transfers WHERE id = $1", transfer_id, party_id
    )
    body = None if row is None else visible(row, party_id)
    if row is None or body is None:
        return None
    version = str(row["version"] or 1)
    if party_id is None or "postings" not in body:
        return Resource(body, version)
    seen = encode([posting["account_id"] for posting in body["postings"]])  # which may change with an owner
    return Resource(body, f"{version}.{zlib.crc32(seen):x}")


# The accounts of a transaction that are a user's now.
OWN = """ARRAY(SELECT accounts.id FROM accounts WHERE user_id = {} AND accounts.id = ANY(
    CASE WHEN postings IS NULL THEN ARRAY[source_account_id, destination_account_id]
         ELSE ARRAY(SELECT (posting ->> 'account_id')::uuid FROM jsonb_array_elements(postings) AS posting) END)
) AS own"""


def visible(row: Record, party_id: UUID | None) -> dict[str, Any] | None:
    """A row with `OWN`, as that user sees it, or as all do who see everything (None).

    Who is no party to it sees nothing, and of a journal entry the legs of own accounts: what others got out of it is
    not for everybody.
    """
    if party_id is not None and not row["own"]:
        return None
    body = shown(row)
    if party_id is not None and "postings" in body:
        body["postings"] = [posting for posting in body["postings"] if UUID(posting["account_id"]) in row["own"]]
    return body


async def find_all(reader: Reader, transfer_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Those of these transactions that there are."""
    rows = await reader.fetch("SELECT * FROM transfers WHERE id = ANY($1)", transfer_ids)
    return {row["id"]: shown(row) for row in rows}


def accounts_of(body: Mapping[str, Any]) -> tuple[UUID, ...]:
    """The accounts between which money moves, or may move."""
    if "postings" in body:
        return tuple(UUID(posting["account_id"]) for posting in body["postings"])
    return body["source_account_id"], body["destination_account_id"]


_BETWEEN_TWO = ("source_account_id", "destination_account_id", "amount_cents", "currency")
_IF_ANY = ("description", "effective_at", "expires_at", "captured_cents", "settled_at", "reverses", "reversed_by")


def shown(row: Record) -> dict[str, Any]:
    """A row as clients see it: what a transaction of its kind never has, or this one has not, is left out."""
    between = {member: row[member] for member in _BETWEEN_TWO} if row["postings"] is None else {}
    several = {} if row["postings"] is None else {"postings": msgspec.json.decode(row["postings"])}
    return {
        "id": row["id"],
        **between,
        **several,
        "kind": row["kind"],
        "reference": row["reference"],
        "status": row["status"] or "posted",
        **({} if row["metadata"] is None else {"metadata": msgspec.json.decode(row["metadata"])}),
        **{member: row[member] for member in _IF_ANY if row[member] is not None},
        "created_at": row["recorded_at"],
    }
