"""Transfers as Parquet, with typed columns. Needs pyarrow, the extra `parquet`."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, BinaryIO, Self
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ledger.audit.export_text import DETAILS, Account, Transfer, amount

# 2^53 - 1 of the smallest unit there is has 16 digits; the largest number of decimal places is 3.
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
_SCHEMA = pa.schema(list(_TYPES.items()))


class ParquetSink:
    """Writes each page of transfers as a row group."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(pa.PythonFile(file, "w"), _SCHEMA, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def accounts(self, accounts: Sequence[Account]) -> None:
        """Nothing: a transfer names its accounts, and there is no second table in the file."""

    def transfers(self, transfers: Sequence[Transfer]) -> None:
        """The next row group."""
        self._writer.write_batch(pa.RecordBatch.from_pylist([_row(one) for one in transfers], schema=_SCHEMA))


def _row(transfer: Transfer) -> dict[str, object]:
    return {
        **transfer._asdict(),
        **{column.name: transfer.details.get(column.name) for column in DETAILS},
        "id": str(transfer.id),
        "source_account_id": _text(transfer.source_account_id),
        "destination_account_id": _text(transfer.destination_account_id),
        "amount": None if (units := amount(transfer)) is None else Decimal(units),
    }


def _text(account_id: UUID | None) -> str | None:
    return None if account_id is None else str(account_id)
