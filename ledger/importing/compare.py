"""What differs between a line and the transaction that has its id or reference."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ledger.importing.draft import Kind, Source
from ledger.values.account_codes import Code, parse_account
from ledger.values.timestamps import parse_time, rfc3339

_SIDES = ("source_account_id", "destination_account_id")
_MONEY = (*_SIDES, "amount_cents", "postings")
NAMES = (*_MONEY, "reference", "description", "metadata", "effective_at")
_TIMES = ("effective_at", "expires_at")


def money_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a request that say which money moves."""
    return {name: body[name] for name in _MONEY if name in body}


def codes_in(body: Mapping[str, Any]) -> set[str]:
    """Return the codes by which a request names accounts."""
    named = [body.get(side) for side in _SIDES] + [posting["account_id"] for posting in body.get("postings", ())]
    return {name for name in named if name is not None and isinstance(parse_account(name), Code)}


def replace_codes(body: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """Return a request with the ids of accounts in place of these codes."""
    replaced = {**body, **{side: ids.get(body[side], body[side]) for side in _SIDES if side in body}}
    if "postings" in body:
        postings = body["postings"]
        replaced["postings"] = [
            {**one, "account_id": ids.get(one["account_id"], one["account_id"])} for one in postings
        ]
    return replaced


def find_differences(sent: Mapping[str, Any], kind: Kind, source: Source, found: Mapping[str, Any]) -> list[str]:
    """Return a sentence on each member that a line and a transaction do not share; none if they say the same.

    An exported line describes money that has moved, so a captured hold, an opening or a reversal is the same as the
    transfer that moves as much. Of an entry of a bank only the money counts, because banks word the same entry in
    several ways.
    """
    there = dict(found)
    if source == "export":
        if there.get("captured_cents") is not None:
            there["amount_cents"] = there["captured_cents"]
    elif there.get("kind") != kind:
        return [f"kind is {there.get('kind')} in the ledger, and {kind} in the file"]
    names = _MONEY if source == "bank" else NAMES
    return list(_differences(sent, there, (*names, "expires_at") if "expires_at" in sent else names))


def _differences(sent: Mapping[str, Any], there: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
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
    return "absent" if value is None else msgspec.json.encode(value).decode()
