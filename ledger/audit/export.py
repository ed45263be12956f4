"""Money that moved, for other programs: each transaction once, in the order of the log, exact to the minor unit.

A hold is none before it is captured; then it is one of that time and amount.

Rows come from one snapshot by a cursor on the server and are written a page at a time, so memory does not grow with
them. A text format is a pure function from a transfer to its text (`ledger.audit.export_text`).
"""

import importlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, NamedTuple, Protocol
from uuid import UUID

from asyncpg import Record

from ledger.audit.export_text import BEANCOUNT, CSV, DETAILS, HLEDGER, JSONL, Account, TextFormat, Transfer
from ledger.audit.progress import Progress
from ledger.audit.snapshot import snapshot
from ledger.store.connections import Connection

PAGE = 5000
_MEMBERS = len(Transfer._fields) - 1  # without `details`
PATIENCE_SECONDS = 86_400  # to sort all transfers may take its time; a connection's own bound is for requests


class Format(StrEnum):
    """What can be written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"


class Selection(NamedTuple):
    """Which transfers: of one account, in a period that includes both its ends; None leaves nothing out."""

    account_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class ExportError(Exception):
    """Nothing can be written. One sentence for the operator."""


class Sink(Protocol):
    """Takes what there is to write, in order."""

    def accounts(self, accounts: Sequence[Account]) -> None:
        """Accounts that transfers will name."""

    def transfers(self, transfers: Sequence[Transfer]) -> None:
        """The next transfers."""


Writer = Callable[[BinaryIO], AbstractContextManager[Sink]]

_DETAILS = "".join(f", {column.name}" for column in DETAILS)
_CHOSEN = f"""FROM (SELECT id, coalesce(settled_position, position) AS position, kind, reference, currency, postings,
                     coalesce(settled_at, recorded_at) AS recorded_at, source_account_id, destination_account_id,
                     coalesce(captured_cents, amount_cents) AS amount_cents{_DETAILS}
              FROM transfers WHERE coalesce(status, 'captured') = 'captured') AS moved
    WHERE ($1::uuid IS NULL OR $1 IN (source_account_id, destination_account_id)
           OR postings @> jsonb_build_array(jsonb_build_object('account_id', $1)))
      AND ($2::timestamptz IS NULL OR recorded_at >= $2) AND ($3::timestamptz IS NULL OR recorded_at <= $3)"""
_TRANSFERS = f"""SELECT id, position, recorded_at, kind, reference, currency, amount_cents, source_account_id,
                        destination_account_id, postings{_DETAILS} {_CHOSEN} ORDER BY position"""
_ACCOUNTS = f"""SELECT id, user_id, currency, created_at FROM accounts
                WHERE id IN (SELECT source_account_id {_CHOSEN} UNION ALL SELECT destination_account_id {_CHOSEN}
                             UNION ALL SELECT (posting ->> 'account_id')::uuid
                             FROM (SELECT postings {_CHOSEN}) AS told, jsonb_array_elements(postings) AS posting)
                ORDER BY position"""


def writer(format_: Format) -> Writer:
    """What writes a format. Raises `ExportError` if something that it takes is not installed."""
    match format_:
        case Format.PARQUET:
            return _parquet()
        case Format.JSONL:
            return _text(JSONL)
        case Format.CSV:
            return _text(CSV)
        case Format.HLEDGER:
            return _text(HLEDGER)
        case Format.BEANCOUNT:
            return _text(BEANCOUNT)


async def export(
    connection: Connection,
    write: Writer,
    selection: Selection,
    file: BinaryIO,
    progress: Progress | None = None,
) -> int:
    """Write the transfers as they are at one moment; how many they are."""
    count = 0
    async with snapshot(connection):
        if progress is not None:
            progress.begin("transfers", await connection.fetchval(f"SELECT count(*) {_CHOSEN}", *selection))
        with write(file) as sink:
            async for rows in _pages(connection, _ACCOUNTS, selection):
                sink.accounts([Account(*row) for row in rows])
            async for rows in _pages(connection, _TRANSFERS, selection):
                sink.transfers([_read_transfer(row) for row in rows])
                count += len(rows)
                if progress is not None:
                    progress.advance(len(rows))
    return count


def _read_transfer(row: Record) -> Transfer:
    details = {column.name: row[column.name] for column in DETAILS if row[column.name] is not None}
    return Transfer(*row[:_MEMBERS])._replace(details=details)


async def _pages(connection: Connection, sql: str, selection: Selection) -> AsyncIterator[list[Record]]:
    cursor = await connection.cursor(sql, *selection, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows


class _Text:
    def __init__(self, file: BinaryIO, form: TextFormat) -> None:
        self._file = file
        self._form = form
        self._write(form.header)

    def accounts(self, accounts: Sequence[Account]) -> None:
        self._write_all(map(self._form.account, accounts))

    def transfers(self, transfers: Sequence[Transfer]) -> None:
        self._write_all(map(self._form.transfer, transfers))

    def _write_all(self, texts: Iterable[str]) -> None:
        self._write("".join(texts))

    def _write(self, text: str) -> None:
        self._file.write(text.encode())


def _text(form: TextFormat) -> Writer:
    return lambda file: nullcontext(_Text(file, form))


def _parquet() -> Writer:
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise ExportError("parquet needs pyarrow: install `ledger-service[parquet]`") from error
    from ledger.audit.export_parquet import ParquetSink  # noqa: PLC0415 - it cannot be imported without pyarrow

    return ParquetSink
