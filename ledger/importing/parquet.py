"""Parquet, as `ledger audit export` writes it. Needs pyarrow, which the extra `parquet` installs."""

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.importing.draft import Draft, Drafts
from ledger.importing.faults import Fault, FileFaultError, OptionError, Place
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError
from ledger.values.timestamps import rfc3339

PAGE = 5000
_DOCUMENTS = ("metadata", "postings")
_REQUIRED = ("id", "position", "recorded_at", "kind", "amount_cents", "postings")


def read_parquet(path: Path) -> Drafts:
    """Yield the rows of a file; the number of a row stands for its line."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        arrow: Any = importlib.import_module("pyarrow")
    except ImportError as error:
        raise OptionError("parquet needs pyarrow: install `ledger-service[parquet]`") from error
    try:
        file = parquet.ParquetFile(path)
        if missing := [name for name in _REQUIRED if name not in file.schema_arrow.names]:
            raise FileFaultError(1, 1, f"the file is no export of the ledger: it has no column {missing[0]}")
        number = 0
        for batch in file.iter_batches(PAGE):
            for row in batch.to_pylist():
                number += 1
                yield _read_row(number, row)
    except (arrow.ArrowInvalid, OSError) as error:
        raise FileFaultError(1, 1, f"the file is no Parquet: {str(error).splitlines()[0]}") from None


def _read_row(number: int, row: dict[str, Any]) -> Draft | Fault:
    members = {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if value is not None
    }
    members.pop("amount", None)  # a decimal with as many places in every currency; `amount_cents` is exact
    try:
        for name in _DOCUMENTS:
            if isinstance(text := members.get(name), str):
                members[name] = strict_json.decode(text.encode())
    except MalformedJsonError as error:
        return Fault(Place(number, 1), f"the row has a document that {error}")
    return Draft(number, members, lambda _: Place(number, 1), is_export=True)
