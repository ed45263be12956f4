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

# The largest amount, 2^53 - 1 minor units, has 16 digits; a currency has at most 3 decimal places.
_AMOUNT = pa.decimal128(19, 3)
_TYPES: dict[str, Any] = {
    "id": pa.string(),
    "position": pa.int64(),
    "recorded_at": pa.timestamp("us", tz="UTC"),
    "kind": pa.string(),
    "reference": pa.string(),
    "currency": pa.string(),
    "amount": _AMOUNT,
    "amount_cents": pa.int64(),
    "source_account_id": pa.string(),
    "destination_account_id": pa.string(),
    "postings": pa.string(),
}
_DETAIL_TYPES = {"text": pa.string(), "jsonb": pa.string(), "timestamptz": pa.timestamp("us", tz="UTC")}
_TYPES |= {column.name: _DETAIL_TYPES[column.type] for column in DETAILS}
_TYPES |= dict.fromkeys(("reverses", *CODES), pa.string())
_SCHEMA = pa.schema(list(_TYPES.items()))


class ParquetSink:
    """Writes each page of transactions as a row group."""

    def __init__(self, file: BinaryIO) -> None:
        self._codes = AccountCodes()
        self._writer = pq.ParquetWriter(pa.PythonFile(file, "w"), _SCHEMA, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write_currencies(self, currencies: Sequence[Currency]) -> None:
        """Do nothing: each row names its currency."""

    def write_accounts(self, accounts: Sequence[Account]) -> None:
        """Keep the codes of accounts: the file has one table, and its rows name their accounts."""
        for account in accounts:
            self._codes.add(account)

    def write_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Write transactions as the next row group."""
        rows = [_format_row(transaction) | codes_of(transaction, self._codes) for transaction in transactions]
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))


def _format_row(transaction: Transaction) -> dict[str, object]:
    return {
        **transaction._asdict(),
        **{column.name: transaction.details.get(column.name) for column in DETAILS},
        "id": str(transaction.id),
        "source_account_id": _format_id(transaction.source_account_id),
        "destination_account_id": _format_id(transaction.destination_account_id),
        "reverses": _format_id(transaction.reverses),
        "amount": None if (units := format_amount(transaction)) is None else Decimal(units),
    }


def _format_id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
