"""The columns of the details that all kinds of transactions share."""

from collections.abc import Mapping
from datetime import datetime
from typing import get_args

from msgspec import structs

from ledger.events.transactions import HoldPlaced, JournalEntryPosted, MoneyTransferred
from ledger.projections.table import Column

_KINDS = (MoneyTransferred, JournalEntryPosted, HoldPlaced)
_TYPES: Mapping[object, str] = {str: "text", datetime: "timestamptz", dict[str, str]: "jsonb"}


def _build_detail_columns() -> tuple[Column, ...]:
    """Return a column for each member that all kinds of transactions share: a new one needs only a migration."""
    members = [{field.name: field for field in structs.fields(kind)} for kind in _KINDS]
    shared = [field for name, field in members[0].items() if all(name in others for others in members[1:])]
    return tuple(
        Column(field.name, next(_TYPES[kind] for kind in get_args(field.type) if kind in _TYPES), optional=True)
        for field in shared
    )


DETAILS = _build_detail_columns()
