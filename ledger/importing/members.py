"""Check the members of a line by the rules of the API, in the words of a file's author."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize

import msgspec

from ledger.commands.journal import MAX_POSTINGS
from ledger.importing.draft import KINDS, Draft, Kind
from ledger.importing.faults import Fault
from ledger.money import MAX_CENTS, Assets, decimal_text
from ledger.settings import MAX_HOLD_SECONDS
from ledger.values.account_codes import parse_account
from ledger.values.derived import is_derived
from ledger.values.ids import parse_id
from ledger.values.text import (
    MAX_DESCRIPTION_LENGTH,
    MAX_METADATA_KEYS,
    MAX_METADATA_LENGTH,
    MAX_METADATA_NAME_LENGTH,
    check_identifying,
    check_readable,
    reference,
)
from ledger.values.timestamps import parse_start, parse_time, rfc3339

_MIN_POSTINGS = 2


class Checked(NamedTuple):
    """A line that the API can be asked to make: its request in canonical form, without an id."""

    kind: Kind
    body: dict[str, Any]
    id: str | None
    currency: str | None


def _check_id(value: object) -> str:
    return _parse_account(_check_text(value))


@lru_cache(maxsize=1 << 16)
def _parse_account(text: str) -> str:
    return str(parse_account(text))


def _check_chosen_id(value: object) -> str:
    chosen = parse_id(_check_text(value))
    if is_derived(chosen):
        raise ValueError("must not be of version 8, which is for ids of the ledger's own")
    return str(chosen)


def _check_integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be an integer, without quotes, fraction or exponent")  # noqa: TRY004
    return value


def _check_amount(value: object) -> int:
    cents = _check_integer(value)
    if not 1 <= cents <= MAX_CENTS:
        raise ValueError("must be from 1 to 2^53 - 1")
    return cents


def _check_signed(value: object) -> int:
    cents = _check_integer(value)
    if cents == 0 or abs(cents) > MAX_CENTS:
        raise ValueError("must not be 0, nor beyond 2^53 - 1")
    return cents


def _check_seconds(value: object) -> int:
    seconds = _check_integer(value)
    if not 1 <= seconds <= MAX_HOLD_SECONDS:
        raise ValueError(f"must be from 1 to {MAX_HOLD_SECONDS}")
    return seconds


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004
    return value


def _check_description(value: object) -> str:
    return _check_length(check_readable(_check_not_empty(value)), MAX_DESCRIPTION_LENGTH)


def _check_not_empty(value: object) -> str:
    text = _check_text(value)
    if not text:
        raise ValueError("must not be empty")
    return text


def _check_length(text: str, limit: int) -> str:
    if len(text) > limit:
        raise ValueError(f"must have at most {limit} characters")
    return text


def _check_time(value: object) -> str:
    return rfc3339(parse_time(_check_text(value)))


def _check_date_or_time(value: object) -> str:
    return rfc3339(parse_start(_check_text(value)))


def _check_metadata(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004
    if len(value) > MAX_METADATA_KEYS:
        raise ValueError(f"must have at most {MAX_METADATA_KEYS} keys")
    composed = {_check_key(key): _check_value(key, text) for key, text in value.items()}
    if len(composed) < len(value):
        raise ValueError("must not have keys that look the same")
    return dict(sorted(composed.items()))


def _check_key(key: str) -> str:
    if not 1 <= len(key) <= MAX_METADATA_NAME_LENGTH:
        raise ValueError(f"must have keys of 1 to {MAX_METADATA_NAME_LENGTH} characters")
    try:
        return normalize("NFC", check_identifying(key))
    except ValueError as error:
        raise ValueError(f"has a key that {error}") from None


def _check_value(key: str, value: object) -> str:
    try:
        return _check_length(check_readable(_check_text(value)), MAX_METADATA_LENGTH)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _check_postings(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not _MIN_POSTINGS <= len(value) <= MAX_POSTINGS:
        raise ValueError(f"must be a list of {_MIN_POSTINGS} to {MAX_POSTINGS} postings")
    return [_check_posting(number, posting) for number, posting in enumerate(value)]


def _check_posting(number: int, posting: object) -> dict[str, Any]:
    if not isinstance(posting, Mapping) or not {"account_id", "amount_cents"} <= posting.keys():
        raise ValueError(f"posting {number + 1} must have account_id and amount_cents")
    if unknown := posting.keys() - {"account_id", "amount_cents", "currency"}:
        raise ValueError(f"posting {number + 1} has an unknown member: {min(unknown)}")
    try:
        return {
            "account_id": _check_id(posting["account_id"]),
            "amount_cents": _check_signed(posting["amount_cents"]),
        }
    except ValueError as error:
        raise ValueError(f"posting {number + 1}: {error}") from None


Check = Callable[[Any], Any]

_DETAILS: dict[str, Check] = {
    "reference": lambda value: reference(_check_not_empty(value)),
    "description": _check_description,
    "metadata": _check_metadata,
    "effective_at": _check_date_or_time,
}
_BETWEEN: dict[str, Check] = {
    "source_account_id": _check_id,
    "destination_account_id": _check_id,
    "amount_cents": _check_amount,
}
CHECKS: dict[Kind, dict[str, Check]] = {
    "transfer": {**_BETWEEN, **_DETAILS},
    "hold": {**_BETWEEN, "expires_at": _check_time, "expires_in_seconds": _check_seconds, **_DETAILS},
    "journal": {"postings": _check_postings, **_DETAILS},
}
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "transfer": tuple(_BETWEEN),
    "hold": tuple(_BETWEEN),
    "journal": ("postings",),
}
_PLAIN = frozenset(_BETWEEN)
# Members of a transaction that a client has read, or of an exported one. They say nothing that a request can say.
READ_ONLY = frozenset(
    (
        *("id", "currency", "kind", "status", "captured_cents", "settled_at", "reverses", "reversed_by"),
        *("created_at", "expires_at", "position", "recorded_at", "amount", "source_account_code"),
        "destination_account_code",
    )
)
_KINDS_OF_EXPORTS = frozenset(("transfer", "opening", "adjustment", "reversal", "hold", "journal", "brought_forward"))
_encode = msgspec.json.Encoder(order="sorted").encode


def check(draft: Draft, assets: Assets) -> Checked | list[Fault]:
    """Return the request of a line, or all its faults."""
    members = draft.members
    try:
        kind = find_kind(draft)
    except ValueError as error:
        return [Fault(draft.locate("kind"), f"kind: {error}")]
    body: dict[str, Any] = {}
    faults: list[Fault] = []
    checks = CHECKS[kind]
    for name, value in members.items():
        if value is not None:
            try:
                if (check_member := checks.get(name)) is not None:
                    body[name] = check_member(value)
                elif name not in READ_ONLY:
                    raise ValueError(explain_unknown(name, checks))  # noqa: TRY301 - as a member's check would
            except ValueError as error:
                faults.append(Fault(draft.locate(name), f"{name}: {error}"))
    faults += _check_whole(draft, kind, body, assets)
    chosen, own_faults = _read_chosen_id(draft)
    faults += own_faults
    if faults:
        return faults
    if body.get("metadata") == {}:
        del body["metadata"]
    return Checked(kind, body, chosen, members.get("currency"))


def _read_chosen_id(draft: Draft) -> tuple[str | None, list[Fault]]:
    if (given := draft.members.get("id")) is None:
        return None, []
    try:
        return _check_chosen_id(given), []
    except ValueError as error:
        return None, [Fault(draft.locate("id"), f"id: {error}")]


def _parse_kind(given: object) -> Kind:
    for kind in KINDS:
        if kind == given:
            return kind
    raise ValueError(f"must be {', '.join(KINDS)}")


def find_kind(draft: Draft) -> Kind:
    """Return the kind of a line: what it says, or what its members can only be. Raises `ValueError`."""
    members = draft.members
    if members.keys() == _PLAIN:  # as most
        return "transfer"
    given = members.get("kind")
    if draft.is_export:
        if given not in _KINDS_OF_EXPORTS:
            raise ValueError("must be the kind of a transaction")
        return "journal" if members.get("postings") is not None else "transfer"
    if given is not None:
        return _parse_kind(given)
    if members.get("postings") is not None:
        return "journal"
    return "hold" if members.get("expires_at") or members.get("expires_in_seconds") else "transfer"


def _check_whole(draft: Draft, kind: Kind, body: Mapping[str, Any], assets: Assets) -> Iterator[Fault]:
    """Yield the faults that concern more than one member."""
    members = draft.members
    for name in REQUIRED[kind]:
        if members.get(name) is None:
            yield Fault(draft.locate(name), f"{name}: must be given")
    if kind == "journal":
        yield from _check_sums(draft, body)
    elif body.get("source_account_id") == body.get("destination_account_id") is not None:
        yield Fault(draft.locate("destination_account_id"), "destination_account_id: must be another account")
    if kind == "hold" and "expires_at" in body and "expires_in_seconds" in body:
        yield Fault(draft.locate("expires_in_seconds"), "expires_in_seconds: must not be given with expires_at")
    if len(members) > len(body):
        yield from _check_read_only(draft, body, assets)


def _check_sums(draft: Draft, body: Mapping[str, Any]) -> Iterator[Fault]:
    postings = body.get("postings", ())
    given = draft.members.get("postings")
    if not postings or not isinstance(given, list):
        return
    if len({posting.get("currency") for posting in given}) == 1 and sum(each["amount_cents"] for each in postings):
        yield Fault(draft.locate("postings"), "postings: must sum to zero")


def _check_read_only(draft: Draft, body: Mapping[str, Any], assets: Assets) -> Iterator[Fault]:
    """Yield faults of members that the API ignores, where they say something else than the line does."""
    members = draft.members
    currency, status = members.get("currency"), members.get("status")
    try:
        digits = 0 if currency is None else assets.digits(_check_text(currency))
    except ValueError as error:
        yield Fault(draft.locate("currency"), f"currency: {error}")
        return
    if status not in (None, "posted", "pending"):
        yield Fault(draft.locate("status"), f"status: a transaction that is {status} cannot be imported")
    amount, cents = members.get("amount"), body.get("amount_cents")
    if amount is not None and cents is not None and currency is not None and amount != decimal_text(cents, digits):
        yield Fault(draft.locate("amount"), "amount: is not the same amount as amount_cents")


def explain_unknown(name: str, known: Mapping[str, Check]) -> str:
    """Return what is wrong with a name that nothing has."""
    close = difflib.get_close_matches(name, [*known, "id"], n=1)
    return f"unknown; did you mean {close[0]}?" if close else f"unknown; use {', '.join(('id', *known))}"


def encode(body: Mapping[str, Any]) -> bytes:
    """Return a request in canonical form, as it is sent: what was checked is what is sent."""
    return _encode(body)
