"""What differs between a line and the transaction that has its id or reference."""

from collections.abc import Iterator, Mapping
from typing import Any

from ledger.values.timestamps import parse_time, rfc3339

_NAMES = (
    *("source_account_id", "destination_account_id", "amount_cents", "postings"),
    *("reference", "description", "metadata", "effective_at"),
)
_TIMES = ("effective_at", "expires_at")


def find_differences(sent: Mapping[str, Any], kind: str, found: Mapping[str, Any], *, is_export: bool) -> list[str]:
    """Return a sentence on each member that a line and a transaction do not share; none if they say the same.

    An exported line describes money that has moved, so a captured hold, an opening or a reversal is the same as the
    transfer that moves as much.
    """
    return list(_differences(sent, kind, found, is_export=is_export))


def _differences(sent: Mapping[str, Any], kind: str, found: Mapping[str, Any], *, is_export: bool) -> Iterator[str]:
    there = dict(found)
    if is_export:
        if there.get("captured_cents") is not None:
            there["amount_cents"] = there["captured_cents"]
    elif there.get("kind") != kind:
        yield f"kind is {there.get('kind')} in the ledger, and {kind} in the file"
        return
    names = (*_NAMES, "expires_at") if "expires_at" in sent else _NAMES
    for name in names:
        in_file, in_ledger = _normalise(name, sent.get(name)), _normalise(name, there.get(name))
        if in_file != in_ledger:
            yield f"{name} is {_format(in_ledger)} in the ledger, and {_format(in_file)} in the file"


def _normalise(name: str, value: Any) -> Any:
    if not value:
        return None
    if name in _TIMES:
        return rfc3339(parse_time(value))
    if name == "postings":
        return [(posting["account_id"], posting["amount_cents"]) for posting in value]
    return value


def _format(value: object) -> str:
    return "absent" if value is None else str(value)
