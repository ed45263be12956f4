"""Transactions as Parquet, with typed columns. Needs pyarrow, which the extra `parquet` installs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, BinaryIO, Self
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ledger.audit.export_text import (
    CODES,
    DETAILS,
    Account,
    AccountCodes,
    Currency,
    Transaction,
    codes_of,
    format_amount,
)
from ledger.money import Assets

_MAX_CENTS_DIGITS = 16  # of the largest amount, 2^53 - 1 minor units
_TYPES: dict[str, Any] = {
    "id": pa.string(),
    "position": pa.int64(),
    "recorded_at": pa.timestamp("us", tz="UTC"),
    "kind": pa.string(),
    "reference": pa.string(),
    "currency": pa.string(),
    "amount": pa.decimal128(_MAX_CENTS_DIGITS, 0),
    "amount_cents": pa.int64(),
    "source_account_id": pa.string(),
    "destination_account_id": pa.string(),
    "postings": pa.string(),
}
_DETAIL_TYPES = {"text": pa.string(), "jsonb": pa.string(), "timestamptz": pa.timestamp("us", tz="UTC")}
_TYPES |= {column.name: _DETAIL_TYPES[column.type] for column in DETAILS}
_TYPES |= dict.fromkeys(("reverses", *CODES), pa.string())


class ParquetSink:
    """Writes each page of transactions as a row group."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._codes = file, AccountCodes()
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write_currencies(self, currencies: Sequence[Currency], assets: Assets) -> None:
        """Begin the file, whose amounts have as many decimal places as any of the ledger. Each row has its currency."""
        del currencies
        places = assets.max_digits
        types = {**_TYPES, "amount": pa.decimal128(_MAX_CENTS_DIGITS + places, places)}
        self._assets, self._schema = assets, pa.schema(list(types.items()))
        self._writer = pq.ParquetWriter(pa.PythonFile(self._file, "w"), self._schema, compression="zstd")

    def write_accounts(self, accounts: Sequence[Account]) -> None:
        """Keep the codes of accounts: the file has one table, and its rows name their accounts."""
        for account in accounts:
            self._codes.add(account)

    def write_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Write transactions as the next row group."""
        rows = [_format_row(one, self._assets) | codes_of(one, self._codes) for one in transactions]
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=self._schema))


def _format_row(transaction: Transaction, assets: Assets) -> dict[str, object]:
    return {
        **transaction._asdict(),
        **{column.name: transaction.details.get(column.name) for column in DETAILS},
        "id": str(transaction.id),
        "source_account_id": _format_id(transaction.source_account_id),
        "destination_account_id": _format_id(transaction.destination_account_id),
        "reverses": _format_id(transaction.reverses),
        "amount": None if (units := format_amount(transaction, assets)) is None else Decimal(units),
    }


def _format_id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
