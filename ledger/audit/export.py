"""Export of transactions for other programs: each once, in the order of the log, exact to the minor unit.

A hold is exported once it is captured, with the time and the amount of the capture.

Rows come from one snapshot through a server-side cursor and are written a page at a time, so memory stays bounded. A
text format is a pure function from a transaction to its text (`ledger.audit.export_text`).
"""

import importlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, NamedTuple, Protocol
from uuid import UUID

from asyncpg import Record

from ledger.audit.export_text import BEANCOUNT, CSV, DETAILS, HLEDGER, JSONL, Account, TextFormat, Transaction
from ledger.audit.progress import Progress
from ledger.audit.snapshot import snapshot
from ledger.store.connections import Connection

PAGE = 5000
_MEMBERS = len(Transaction._fields) - 1  # without `details`
PATIENCE_SECONDS = 86_400  # to sort all transactions; the connection's own timeout is meant for requests


class Format(StrEnum):
    """The file formats of an export."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"


class Selection(NamedTuple):
    """A filter by account and by time, both bounds inclusive; None does not filter."""

    account_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class ExportError(Exception):
    """An export is not possible. The message is one sentence for the operator."""


class Sink(Protocol):
    """Writes an export: first all accounts, then all transactions, in order."""

    def write_accounts(self, accounts: Sequence[Account]) -> None:
        """Write some of the accounts that the transactions name."""

    def write_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Write the next transactions."""


Writer = Callable[[BinaryIO], AbstractContextManager[Sink]]

_DETAILS = "".join(f", {column.name}" for column in DETAILS)
_SELECTED = f"""FROM (SELECT id, coalesce(settled_position, position) AS position, kind, reference, currency, postings,
                     coalesce(settled_at, recorded_at) AS recorded_at, source_account_id, destination_account_id,
                     coalesce(captured_cents, amount_cents) AS amount_cents{_DETAILS}
              FROM transfers WHERE coalesce(status, 'captured') = 'captured') AS moved
    WHERE ($1::uuid IS NULL OR $1 IN (source_account_id, destination_account_id)
           OR postings @> jsonb_build_array(jsonb_build_object('account_id', $1)))
      AND ($2::timestamptz IS NULL OR recorded_at >= $2) AND ($3::timestamptz IS NULL OR recorded_at <= $3)"""
_TRANSACTIONS = f"""SELECT id, position, recorded_at, kind, reference, currency, amount_cents, source_account_id,
                        destination_account_id, postings{_DETAILS} {_SELECTED} ORDER BY position"""
_ACCOUNTS = f"""SELECT id, user_id, currency, created_at FROM accounts
                WHERE id IN (SELECT source_account_id {_SELECTED} UNION ALL SELECT destination_account_id {_SELECTED}
                             UNION ALL SELECT (posting ->> 'account_id')::uuid
                             FROM (SELECT postings {_SELECTED}) AS exported, jsonb_array_elements(postings) AS posting)
                ORDER BY position"""


def open_writer(format_: Format) -> Writer:
    """Return the writer of a format. Raises `ExportError` if a package that it needs is not installed."""
    match format_:
        case Format.PARQUET:
            return _parquet_writer()
        case Format.JSONL:
            return _text_writer(JSONL)
        case Format.CSV:
            return _text_writer(CSV)
        case Format.HLEDGER:
            return _text_writer(HLEDGER)
        case Format.BEANCOUNT:
            return _text_writer(BEANCOUNT)


async def export(
    connection: Connection,
    write: Writer,
    selection: Selection,
    file: BinaryIO,
    progress: Progress | None = None,
) -> int:
    """Write the selected transactions from one snapshot, and return their number."""
    count = 0
    async with snapshot(connection):
        if progress is not None:
            progress.begin("transactions", await connection.fetchval(f"SELECT count(*) {_SELECTED}", *selection))
        with write(file) as sink:
            async for rows in _read_pages(connection, _ACCOUNTS, selection):
                sink.write_accounts([Account(*row) for row in rows])
            async for rows in _read_pages(connection, _TRANSACTIONS, selection):
                sink.write_transactions([_read_transaction(row) for row in rows])
                count += len(rows)
                if progress is not None:
                    progress.advance(len(rows))
    return count


def _read_transaction(row: Record) -> Transaction:
    details = {column.name: row[column.name] for column in DETAILS if row[column.name] is not None}
    return Transaction(*row[:_MEMBERS])._replace(details=details)


async def _read_pages(connection: Connection, sql: str, selection: Selection) -> AsyncIterator[list[Record]]:
    cursor = await connection.cursor(sql, *selection, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows


class _TextSink:
    def __init__(self, file: BinaryIO, format_: TextFormat) -> None:
        self._file = file
        self._format = format_
        self._write(format_.header)

    def write_accounts(self, accounts: Sequence[Account]) -> None:
        self._write_all(map(self._format.account, accounts))

    def write_transactions(self, transactions: Sequence[Transaction]) -> None:
        self._write_all(map(self._format.transaction, transactions))

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
        raise ExportError("parquet needs pyarrow: install `ledger-service[parquet]`") from error
    from ledger.audit.export_parquet import ParquetSink  # noqa: PLC0415 - it cannot be imported without pyarrow

    return ParquetSink
