"""Export of transactions for other programs: each once, in the order of the log, exact to the minor unit.

Each capture of a hold is exported, with its own time and amount: the first under the id of the hold, a later one under
an id that follows from it. The export of a period opens with the balances before it, so sums over it are the balances
at its end.

Rows come from one snapshot through a server-side cursor and are written a page at a time, so memory is bounded by the
number of accounts with codes. A text format is a pure function from a transaction to its text
(`ledger.audit.export_text`).
"""

import importlib
import importlib.util
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import BinaryIO, NamedTuple, Protocol
from uuid import UUID, uuid5

from asyncpg import Record

from ledger.audit.export_journals import (
    BEANCOUNT,
    BEANCOUNT_BY_EFFECTIVE_TIME,
    HLEDGER,
    HLEDGER_BY_EFFECTIVE_TIME,
)
from ledger.audit.export_text import (
    CSV,
    DETAILS,
    JSONL,
    RAW_CSV,
    Account,
    Currency,
    TextFormat,
    Transaction,
    bring_forward,
)
from ledger.audit.progress import Progress
from ledger.audit.snapshot import snapshot
from ledger.money import CURRENCIES_ALONE, Assets
from ledger.projections.assets import read_assets
from ledger.projections.dated_entries import EffectiveTime, balance_sql
from ledger.store import reader as event_reader
from ledger.store.connections import Connection
from ledger.store.reader import MAX_POSITION

PAGE = 5000
_MEMBERS = len(Transaction._fields) - 1  # without `details`
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
PYARROW = "pyarrow>=22"  # as in the extra `parquet`
PATIENCE_SECONDS = 86_400  # to sort all transactions; the connection's own timeout is meant for requests


class Format(StrEnum):
    """The file formats of an export."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"


class Selection(NamedTuple):
    """A filter by account and by time, both bounds inclusive; None does not filter.

    The times are those of recording, or effective times, by which transactions are then also in order.
    """

    account_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    by_effective_time: bool = False


class ExportError(Exception):
    """An export is not possible. The message is one sentence for the operator."""


class Sink(Protocol):
    """Writes an export: first all currencies, then all accounts, then all transactions, in order."""

    def write_currencies(self, currencies: Sequence[Currency], assets: Assets) -> None:
        """Write the currencies of the ledger; `assets` has the decimal places of all amounts."""

    def write_accounts(self, accounts: Sequence[Account]) -> None:
        """Write some of the accounts that the transactions name."""

    def write_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Write the next balances that are brought forward, or the next transactions."""


Writer = Callable[[BinaryIO], AbstractContextManager[Sink]]

_NAMES = tuple(column.name for column in DETAILS)
_DETAILS = "".join(f", {name}" for name in _NAMES)
# A capture has its own details, or those of the hold; but it counts at its own time. Only the first has the reference
# of the hold, because an import accepts each reference once.
_OF_CAPTURE = "".join(
    f", captures.{name}" if name == "effective_at" else f", coalesce(captures.{name}, transfers.{name}) AS {name}"
    for name in _NAMES
)
_MOVED = f"""FROM (SELECT id, NULL AS part, position, kind, reference, currency, postings, recorded_at,
                     source_account_id, destination_account_id, amount_cents, reverses{_DETAILS}
              FROM transfers WHERE status IS NULL
              UNION ALL
              SELECT id, part, captures.position, kind,
                     coalesce(captures.reference, CASE WHEN part IS NULL THEN transfers.reference END),
                     currency, postings, captures.recorded_at,
                     source_account_id, destination_account_id, captures.amount_cents, reverses{_OF_CAPTURE}
              FROM captures JOIN transfers ON id = transaction_id,
                   LATERAL (SELECT max(earlier.version) AS part FROM captures AS earlier
                            WHERE earlier.transaction_id = id AND earlier.version < captures.version) AS numbered
              ) AS moved
    WHERE ($1::uuid IS NULL OR $1 IN (source_account_id, destination_account_id)
           OR postings @> jsonb_build_array(jsonb_build_object('account_id', $1)))"""
_COUNTS_AT = "coalesce(effective_at, recorded_at)"
_FIRST_COUNTED = """least(created_at, (SELECT min(effective_at) FROM dated_entries WHERE account_id = accounts.id))"""
_LAST_BALANCE = """SELECT entries.balance_cents FROM entries
                   WHERE account_id = accounts.id AND entries.version <= (SELECT version_at(accounts.id, $2))
                   ORDER BY entries.version DESC LIMIT 1"""


class _Queries(NamedTuple):
    """The queries of an export. Their first parameter is an account or null.

    The others of `number` and `transactions` say which period, and those of `balances` when it begins; `accounts` has
    all of these. `currencies` has none.
    """

    number: str
    transactions: str
    balances: str
    accounts: str
    currencies: str


def _build_queries(selected: str, order: str, balance: Callable[[int], str], opened: str, others: int) -> _Queries:
    """Return the queries with these parts; the period has so many parameters beside the account."""

    def balances(first: int) -> str:
        return f"""SELECT id, currency, last.balance_cents
                   FROM accounts, LATERAL ({balance(first)}) AS last (balance_cents)
                   WHERE user_id IS NOT NULL AND last.balance_cents <> 0
                     AND ($1::uuid IS NULL OR id = $1
                          OR currency = (SELECT currency FROM accounts WHERE id = $1 AND user_id IS NULL))
                   ORDER BY position"""

    return _Queries(
        f"SELECT count(*) {selected}",
        f"""SELECT id, position, recorded_at, kind, reference, currency, amount_cents, source_account_id,
                   destination_account_id, postings, reverses{_DETAILS}, part {selected} ORDER BY {order}""",
        balances(2),
        f"""SELECT accounts.id, user_id, username, currency, {opened.replace("created_at", "accounts.created_at")},
                   code, account_labels.name, type
            FROM accounts LEFT JOIN users ON users.id = user_id
                 LEFT JOIN account_labels ON account_labels.account_id = accounts.id
            WHERE accounts.id IN (
                SELECT source_account_id {selected} UNION ALL SELECT destination_account_id {selected}
                UNION ALL SELECT (posting ->> 'account_id')::uuid
                FROM (SELECT postings {selected}) AS exported, jsonb_array_elements(postings) AS posting
                UNION ALL SELECT id FROM ({balances(2 + others)}) AS balances)
            ORDER BY accounts.position""",
        f"""SELECT currency, min({opened}) FROM accounts WHERE position < $1 GROUP BY currency ORDER BY currency""",
    )


_RECORDED = _build_queries(
    f"{_MOVED} AND position > $2 AND position < $3",
    "position",
    lambda first: _LAST_BALANCE.replace("$2", f"${first}"),
    "created_at",
    2,
)
_EFFECTIVE = _build_queries(
    f"{_MOVED} AND {_COUNTS_AT} >= $2 AND {_COUNTS_AT} <= $3",
    f"{_COUNTS_AT}, position",
    lambda first: f"SELECT {balance_sql('accounts.id', first)}",
    _FIRST_COUNTED,
    2,
)


class _Part(NamedTuple):
    """A part of the books to export: the queries, and the values of their parameters beside the account."""

    queries: _Queries
    period: tuple[object, ...]
    begin: tuple[object, ...]
    before: int  # the position that the log stays below
    position: int  # that of the balances before the period

    @classmethod
    async def of(cls, connection: Connection, selection: Selection) -> "_Part":
        """Return the selected part."""
        if not selection.by_effective_time:
            bounds = await event_reader.find_bounds(connection, selection.since, selection.until, MAX_POSITION)
            return cls(_RECORDED, bounds, (bounds.after,), bounds.before, bounds.after)
        since, until = selection.since or _FIRST, selection.until or _LAST
        before = since if since == _FIRST else since - _MICROSECOND
        return cls(_EFFECTIVE, (since, until), EffectiveTime.of(before, MAX_POSITION), MAX_POSITION, 0)


def open_writer(format_: Format, *, raw: bool = False, by_effective_time: bool = False) -> Writer:
    """Return the writer of a format. Raises `ExportError` if a package that it needs is not installed.

    Unless `raw`, text in CSV that a spreadsheet would run is marked as text. `by_effective_time`, journals have the
    effective date as their primary date.
    """
    match format_:
        case Format.PARQUET:
            return _parquet_writer()
        case Format.JSONL:
            return _text_writer(JSONL)
        case Format.CSV:
            return _text_writer(RAW_CSV if raw else CSV)
        case Format.HLEDGER:
            return _text_writer(HLEDGER_BY_EFFECTIVE_TIME if by_effective_time else HLEDGER)
        case Format.BEANCOUNT:
            return _text_writer(BEANCOUNT_BY_EFFECTIVE_TIME if by_effective_time else BEANCOUNT)


async def export(
    connection: Connection,
    write: Writer,
    selection: Selection,
    file: BinaryIO,
    progress: Progress | None = None,
) -> int:
    """Write the selected transactions from one snapshot, and return their number."""
    async with snapshot(connection):
        part = await _Part.of(connection, selection)
        chosen = (selection.account_id, *part.period)
        if progress is not None:
            progress.begin("transactions", await connection.fetchval(part.queries.number, *chosen))
        with write(file) as sink:
            await _write_opening(connection, sink, selection, part)
            return await _write_transactions(connection, sink, part.queries.transactions, chosen, progress)


async def _write_opening(connection: Connection, sink: Sink, selection: Selection, part: _Part) -> None:
    """Write the currencies, the accounts, and the balances before the period."""
    account_id, queries = selection.account_id, part.queries
    currencies = [Currency(*row) for row in await connection.fetch(queries.currencies, part.before)]
    sink.write_currencies(currencies, await read_assets(connection))
    async for page in _read_pages(connection, queries.accounts, account_id, *part.period, *part.begin):
        sink.write_accounts([Account(*row) for row in page])
    if selection.since is None:
        return
    end = selection.since - _MICROSECOND
    async for page in _read_pages(connection, queries.balances, account_id, *part.begin):
        sink.write_transactions([bring_forward(*row, position=part.position, at=end) for row in page])


async def _write_transactions(
    connection: Connection, sink: Sink, sql: str, chosen: tuple[object, ...], progress: Progress | None
) -> int:
    count = 0
    async for page in _read_pages(connection, sql, *chosen):
        sink.write_transactions([_read_transaction(row) for row in page])
        count += len(page)
        if progress is not None:
            progress.advance(len(page))
    return count


def _read_transaction(row: Record) -> Transaction:
    details = {name: row[name] for name in _NAMES if row[name] is not None}
    transaction = Transaction(*row[:_MEMBERS])._replace(details=details)
    return transaction if row["part"] is None else transaction._replace(id=uuid5(transaction.id, str(row["part"])))


async def _read_pages(connection: Connection, sql: str, *values: object) -> AsyncIterator[list[Record]]:
    cursor = await connection.cursor(sql, *values, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows


class _TextSink:
    def __init__(self, file: BinaryIO, format_: TextFormat) -> None:
        self._file = file
        self._format = format_
        self._names, self._assets = format_.create_names(), CURRENCIES_ALONE
        self._write(format_.header)

    def write_currencies(self, currencies: Sequence[Currency], assets: Assets) -> None:
        self._assets = assets
        self._write_all(self._format.currency(currency, assets) for currency in currencies)

    def write_accounts(self, accounts: Sequence[Account]) -> None:
        self._write_all(self._format.account(account, self._names) for account in accounts)

    def write_transactions(self, transactions: Sequence[Transaction]) -> None:
        self._write_all(self._format.transaction(one, self._names, self._assets) for one in transactions)

    def _write_all(self, texts: Iterable[str]) -> None:
        self._write("".join(texts))

    def _write(self, text: str) -> None:
        self._file.write(text.encode())


def _text_writer(format_: TextFormat) -> Writer:
    return lambda file: nullcontext(_TextSink(file, format_))


def _parquet_writer() -> Writer:
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise ExportError(f"Parquet needs pyarrow{_explain_install()}") from error
    from ledger.audit.export_parquet import ParquetSink  # noqa: PLC0415 - it cannot be imported without pyarrow

    return ParquetSink


def _explain_install() -> str:
    if importlib.util.find_spec("pip") is None:  # as in the container image
        return f", and {sys.executable} has no pip: install {PYARROW} into its environment, or use another format"
    install = f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(PYARROW)}"
    return f", which this command installs: {install}"
