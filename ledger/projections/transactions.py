"""Transactions, as `/transactions` shows them: transfers, journal entries and holds, with their current state."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, cast, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.commands.command import Parties
from ledger.events import Recorded, encode
from ledger.events.amendments import AMENDABLE
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    JournalEntryPosted,
    MoneyTransferred,
    ScheduleCancelled,
    ScheduleFailed,
    Transaction,
    TransactionEvent,
    TransactionScheduled,
    evolve,
)
from ledger.projections import captures, details
from ledger.projections.account_owners import belonged_to, owner_at
from ledger.projections.resource import Resource
from ledger.projections.table import CHANGE, POSITION, TIME, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION
from ledger.store.sql import Party
from ledger.store.statements import Statement, integers, texts, times, uuids, words

BANDS = tuple(digit * 10**power for power in range(16) for digit in (1, 2, 5))  # lower bounds of the bands of amounts
BANDS_SQL = f"'{{{','.join(map(str, BANDS))}}}'::bigint[]"
HANDLED = frozenset(get_args(TransactionEvent))
_Moving: TypeAlias = MoneyTransferred | JournalEntryPosted
_OTHERS = HANDLED - {MoneyTransferred}


DETAILS = details.DETAILS
_SETTLED_TIME = f"CASE WHEN new.settled_position IS NOT NULL THEN {TIME} END"
_SCHEDULED_TIME = f"CASE WHEN new.execute_at IS NOT NULL THEN {TIME} END"
# A transaction that has moved its money is posted, and has no status, whether or not it was scheduled.
_STATUS_VALUE = "nullif(new.status, 'posted')"
_STATUS_CHANGE = "CASE WHEN new.status IS NULL THEN {table}.status ELSE {new} END"

TRANSFERS = Table(
    name="transfers",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("source_account_id", "uuid", optional=True),
        Column("destination_account_id", "uuid", optional=True),
        Column("amount_cents", "bigint", optional=True),
        Column("currency", "text", optional=True),
        Column("kind", "text"),
        Column("position", "bigint", POSITION),
        Column("recorded_at", "timestamptz", TIME),
        Column("postings", "jsonb", optional=True),
        *(column._replace(change=CHANGE) for column in DETAILS),
        Column("status", "text", _STATUS_VALUE, _STATUS_CHANGE, optional=True),
        Column("version", "bigint", optional=True),
        Column("expires_at", "timestamptz", optional=True),
        Column("captured_cents", "bigint", optional=True),
        Column("settled_position", "bigint", POSITION, optional=True),
        Column("settled_at", "timestamptz", _SETTLED_TIME, optional=True),
        Column("reverses", "uuid", optional=True),
        Column("reversed_by", "uuid", optional=True),
        Column("reversed_cents", "bigint", optional=True),
        Column("execute_at", "timestamptz", optional=True),
        Column("scheduled_at", "timestamptz", _SCHEDULED_TIME, optional=True),
        Column("failure_codes", "jsonb", optional=True),
    ),
    indexes=(
        Index("transfers_due_idx", "(expires_at)", where="(status = 'pending'::text)"),
        Index("transfers_reference_idx", '(reference, "position")', where="(reference IS NOT NULL)"),
        Index("transfers_kind_idx", '(kind, "position")', where="(kind <> 'transfer'::text)"),
        Index("transfers_status_idx", '(status, "position")', where="(status IS NOT NULL)"),
        Index("transfers_held_of_idx", '(source_account_id, "position")', where="(kind = 'hold'::text)"),
        Index("transfers_held_for_idx", '(destination_account_id, "position")', where="(kind = 'hold'::text)"),
        Index("transfers_amount_idx", f'(currency, width_bucket(amount_cents, {BANDS_SQL}), "position")'),
        Index("transfers_pending_of_idx", "(source_account_id, expires_at)", where="(status = 'pending'::text)"),
        Index("transfers_pending_for_idx", "(destination_account_id, expires_at)", where="(status = 'pending'::text)"),
        Index("transfers_captured_idx", "(settled_position)", where="(captured_cents IS NOT NULL)"),
        Index("transfers_postings_idx", '("position")', where="(postings IS NOT NULL)"),
    ),
)
_PLAIN = ("source_account_id", "destination_account_id", "amount_cents", "currency", "kind", "reference")
# A hold is over when it expires, and not when its expiry is recorded.
_STATUS = """CASE WHEN status = 'pending' AND expires_at <= now()
                 THEN CASE WHEN captured_cents IS NULL THEN 'expired' ELSE 'captured' END
                 ELSE coalesce(status, 'posted') END"""
# A hold counts from its last capture, once it has one, and any other transaction from its beginning.
COUNTED = "CASE WHEN captured_cents IS NULL THEN position ELSE settled_position END"
ROW = f"transfers.*, {_STATUS} AS status_now"
# A plain transfer has only the members of `_PLAIN`: its row needs neither the fold nor the other columns.
_rare_members = attrgetter(*(name for name in MoneyTransferred.__struct_fields__ if name not in _PLAIN))
_NO_RARE_MEMBERS = (None,) * (len(MoneyTransferred.__struct_fields__) - len(_PLAIN))
_CHANGING = (
    *("id", "version", "status", "captured_cents", "reversed_by", "reversed_cents"),
    *("settled_position", "settled_at", "failure_codes"),
)
_POSTING = ("position", "recorded_at")


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts of new transactions, in the state after their last event, and the updates of others."""
    transfers = [(row, row.event) for row in events if isinstance(row.event, MoneyTransferred)]
    others = {row.stream_id for row, event in transfers if row.version > 1 or _rare_members(event) != _NO_RARE_MEMBERS}
    others.update(row.stream_id for row in events if type(row.event) in _OTHERS)
    plain = [(row, event) for row, event in transfers if row.stream_id not in others] if others else transfers
    return [*([_insert_plain(plain)] if plain else []), *(_write_folded(events, others) if others else [])]


def _insert_plain(transfers: Sequence[tuple[Recorded, MoneyTransferred]]) -> Statement:
    values = {
        "id": uuids([row.stream_id for row, _ in transfers]),
        "position": integers([row.position for row, _ in transfers]),
        "recorded_at": times([row.recorded_at for row, _ in transfers]),
        "source_account_id": uuids([event.source_account_id for _, event in transfers]),
        "destination_account_id": uuids([event.destination_account_id for _, event in transfers]),
        "amount_cents": integers([event.amount_cents for _, event in transfers]),
        "currency": words([event.currency for _, event in transfers]),
        "kind": words([event.kind for _, event in transfers]),
        "reference": texts([event.reference for _, event in transfers]),
    }
    return insert(TRANSFERS, values)


def _write_folded(events: Sequence[Recorded], transaction_ids: set[UUID]) -> list[Statement]:
    runs: dict[UUID, list[Recorded]] = {}
    for row in events:
        if isinstance(row.event, TransactionEvent) and row.stream_id in transaction_ids:
            runs.setdefault(row.stream_id, []).append(row)
    rows = [_Row(run) for run in runs.values()]
    new = [row for row in rows if row.begins]
    changed: dict[tuple[str, ...], list[_Row]] = {}
    for known in rows:
        if not known.begins:
            changed.setdefault(known.changing, []).append(known)
    return [
        *([insert(TRANSFERS, encode_columns(TRANSFERS, TRANSFERS.names, new))] if new else []),
        *(update(TRANSFERS, encode_columns(TRANSFERS, names, some)) for names, some in changed.items()),
    ]


def _settles(event: object) -> bool:
    """Return whether a hold counts from this event: from its last capture, or from its end if it has none.

    A scheduled transaction ends with such an event if it moves no money.
    """
    match event:
        case HoldCaptured() | ScheduleFailed() | ScheduleCancelled():
            return True
        case HoldVoided(captured_cents=captured) | HoldExpired(captured_cents=captured):
            return not captured
        case _:
            return False


class _Row:
    """The values that a run of events gives the columns of one transaction; None leaves a column unchanged.

    A column that is not named here has the value of the member of its name in the first event, or in what that plans. A
    scheduled transaction that was posted has the position and the time at which it was posted.
    """

    def __init__(self, run: Sequence[Recorded]) -> None:
        self._first, last = run[0], run[-1]
        self.id = self._first.stream_id
        self.begins = self._first.version == 1
        state = None if self.begins else Transaction()
        settled, posted = None, self._first
        for row in run:
            state = evolve(state, cast("TransactionEvent", row.event))
            settled = row if _settles(row.event) else settled
            posted = row if isinstance(row.event, _Moving) else posted
        assert state is not None  # noqa: S101 - a run has at least one event
        self.is_posted_later = isinstance(posted.event, _Moving) and posted.version > 1
        self.position, self.recorded_at = posted.position, posted.recorded_at
        self.version = last.version if last.version > 1 else None
        self.amended = state.amended
        self.status = None if state.status == "posted" and not self.is_posted_later else state.status
        self.captured_cents = state.captured_cents
        self.reversed_by, self.reversed_cents = state.reversed_by, state.reversed_cents
        self.settled_position = None if settled is None else settled.position
        self.settled_at = None if settled is None else settled.recorded_at
        failed = next((row.event for row in run if isinstance(row.event, ScheduleFailed)), None)
        self.failure_codes = None if failed is None else encode(failed.failure_codes)
        self.scheduled_at = self._first.recorded_at if self._first_member("execute_at") else None

    @property
    def changing(self) -> tuple[str, ...]:
        """Return the columns to change in a row that exists."""
        return (
            *_CHANGING,
            *(_POSTING if self.is_posted_later else ()),
            *(AMENDABLE if self.amended is not None else ()),
        )

    @property
    def kind(self) -> str:
        """Return the kind of the transaction."""
        return "hold" if isinstance(self._first.event, HoldPlaced) else self._first_member("kind")

    def __getattr__(self, name: str) -> Any:
        value = self._first_member(name)
        return encode(value) if value is not None and TRANSFERS.by_name[name].type == "jsonb" else value

    def _first_member(self, name: str) -> Any:
        event: object = self._first.event
        if isinstance(event, TransactionScheduled) and not hasattr(event, name):
            event = event.planned
        return getattr(self.amended if self.amended and name in AMENDABLE else event, name, None)


def fold_row(run: Sequence[Recorded]) -> dict[str, Any]:
    """Return the row that all events of a transaction up to some position give, for `format_transaction`."""
    row = _Row(run)
    return {**{name: getattr(row, name) for name in TRANSFERS.names}, "status_now": row.status or "posted"}


async def find_parties(reader: Reader, transaction_ids: Collection[UUID]) -> dict[UUID, Parties]:
    """Return the parties of each of these transactions that exists: its accounts, and who owned them when it was made.

    A hold is also visible to those who owned its accounts when it was last captured, or ended.
    """
    parties: dict[UUID, Parties] = {}
    for transaction_id, pays, *sides in await reader.fetch(_SIDES_WITH_OWNERS, transaction_ids):
        known = parties.get(transaction_id, Parties(frozenset(), frozenset()))
        payers = known.payers.union(sides[:2] if pays else ()) - {None}
        parties[transaction_id] = Parties(payers, known.readers.union(sides) - {None})
    return parties


_SIDES_WITH_OWNERS = f"""
SELECT id, pays, side.account_id, {owner_at("side.account_id", "transfers.position")},
       {owner_at("side.account_id", "settled_position")}
FROM transfers, LATERAL (
    SELECT source_account_id, true WHERE postings IS NULL
    UNION ALL SELECT destination_account_id, false WHERE postings IS NULL
    UNION ALL SELECT (posting ->> 'account_id')::uuid, (posting ->> 'amount_cents')::bigint < 0
              FROM jsonb_array_elements(postings) AS posting) AS side(account_id, pays)
WHERE id = ANY($1)"""


async def find(reader: Reader, transaction_id: UUID, *, party_id: Party | None = None) -> Resource | None:
    """Return one transaction, or None; with `party_id`, only the part that this party may see."""
    row = await reader.fetchrow(
        f"SELECT {ROW}, {own(party_id, '$2')} FROM transfers WHERE id = $1", transaction_id, party_id
    )
    body = None if row is None else format_visible(row, party_id)
    if row is None or body is None:
        return None
    await captures.add_captures(reader, [body])
    version = str(row["version"] or 1)
    if row["status"] == "pending" != body["status"]:
        version += ".over"
    if party_id is None or "postings" not in body:
        return Resource(body, version)
    # Which postings the user sees also depends on who owned the accounts, so the version names these postings.
    visible = encode([posting["account_id"] for posting in body["postings"]])
    return Resource(body, f"{version}.{zlib.crc32(visible):x}")


ACCOUNTS = """CASE WHEN postings IS NULL THEN ARRAY[source_account_id, destination_account_id]
    ELSE ARRAY(SELECT (posting ->> 'account_id')::uuid FROM jsonb_array_elements(postings) AS posting) END"""


def own(party_id: Party | None, parameter: str) -> str:
    """Return the column `own`: the accounts of a transaction that were of a party, which is the parameter.

    They were so when it was made, or when it moved money or ended as a hold. The holds that are pending at an account
    also belong to its present party, as what is scheduled does.
    """
    if party_id is None:
        return f"CASE WHEN {parameter}::uuid IS NULL THEN ARRAY[]::uuid[] END AS own"
    return f"""ARRAY(SELECT side.id FROM unnest({ACCOUNTS}) AS side(id) WHERE EXISTS (SELECT FROM (
        SELECT transfers.position UNION ALL SELECT settled_position
        UNION ALL SELECT captures.position FROM captures WHERE kind = 'hold' AND transaction_id = transfers.id
        UNION ALL SELECT {MAX_POSITION} WHERE status IN ('pending', 'scheduled')) AS moment(position)
        WHERE {belonged_to(party_id, "side.id", "moment.position").format(parameter)})) AS own"""


def format_visible(row: Record, party_id: Party | None) -> dict[str, Any] | None:
    """Return a row with the column `own` as this party sees it, or None; `party_id` None sees everything.

    A party sees only transactions of own accounts, and only the postings of own accounts in a journal entry. What was
    before a change of owner is the old owner's.
    """
    if party_id is not None and not row["own"]:
        return None
    body = format_transaction(row)
    if party_id is not None and "postings" in body:
        body["postings"] = [posting for posting in body["postings"] if UUID(posting["account_id"]) in row["own"]]
    return body


async def find_all(reader: Reader, transaction_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the transactions that exist among these ids."""
    rows = await reader.fetch(f"SELECT {ROW} FROM transfers WHERE id = ANY($1)", transaction_ids)
    return {row["id"]: format_transaction(row) for row in rows}


def accounts_of(body: Mapping[str, Any]) -> tuple[UUID, ...]:
    """Return the accounts between which a transaction moves money, or may move it."""
    if "postings" in body:
        return tuple(UUID(posting["account_id"]) for posting in body["postings"])
    return body["source_account_id"], body["destination_account_id"]


_SIDES = ("source_account_id", "destination_account_id", "amount_cents", "currency")
_ALWAYS = ("reference",)
_DOCUMENTS = (*(column.name for column in DETAILS if column.type == "jsonb"), "failure_codes")
_OPTIONAL = (
    *(column.name for column in DETAILS if column.name not in {*_ALWAYS, *_DOCUMENTS}),
    *("execute_at", "expires_at", "captured_cents", "settled_at", "reverses", "reversed_by", "reversed_cents"),
)


def format_transaction(row: Record | Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as clients see it, without the members that it does not have."""
    is_entry = row["postings"] is not None
    sides = {} if is_entry else {member: row[member] for member in _SIDES}
    postings = {"postings": msgspec.json.decode(row["postings"])} if is_entry else {}
    absent = ("settled_at",) if row["status_now"] == "pending" else ()  # it is that of the last capture so far
    is_executed = row["scheduled_at"] is not None and row["status_now"] == "posted"
    executed = {"settled_at": row["recorded_at"]} if is_executed else {}
    return {
        "id": row["id"],
        **sides,
        **postings,
        "kind": row["kind"],
        **{member: row[member] for member in _ALWAYS},
        "status": row["status_now"],
        **{member: msgspec.json.decode(row[member]) for member in _DOCUMENTS if row[member] is not None},
        **{member: row[member] for member in _OPTIONAL if row[member] is not None and member not in absent},
        **executed,
        "created_at": row["scheduled_at"] or row["recorded_at"],
    }
