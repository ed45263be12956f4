"""The short form in which the events of a plain transfer are stored: 33 and about 44 bytes instead of 92 and 190.

    an entry:    1, transaction (16 bytes), amount (8), balance (8)
    a transfer:  1, source (16 bytes), destination (16), amount (8), currency (the rest)

Integers are big-endian, two's complement. No JSON begins with the byte 1, so each event says itself how it is stored.
Events of earlier versions are JSON, as are transfers with a reference, with details, or of another kind. The functions
`event_json` of the database and its views `events` and `entries` read both forms.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from struct import Struct
from typing import Any, TypeVar
from uuid import UUID

from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.events.transactions import MoneyTransferred
from ledger.values.asyncpg_private import FastUUID

MARK = b"\x01"
_ENTRY, _TRANSFER = Struct(">c16sqq"), Struct(">c16s16sq")
_CURRENCY_BYTES = 16  # at most
_PLAIN = {"kind": "transfer", "reference": None}
_MEMBERS = ("source_account_id", "destination_account_id", "amount_cents", "currency")
_OTHERS = tuple(name for name in MoneyTransferred.__struct_fields__ if name not in _MEMBERS)
_OTHER_VALUES = tuple(_PLAIN.get(name) for name in _OTHERS)  # in a plain transfer
_get_others = attrgetter(*_OTHERS)
_EntryT = TypeVar("_EntryT", AccountDebited, AccountCredited)


def encode_entry(event: AccountDebited | AccountCredited) -> bytes:
    """Encode an entry."""
    return _ENTRY.pack(MARK, event.transaction_id.bytes, event.amount_cents, event.balance_cents)


def encode_transfer(event: MoneyTransferred) -> bytes | None:
    """Encode a plain transfer; return None for any other."""
    if _get_others(event) != _OTHER_VALUES:
        return None
    fixed = _TRANSFER.pack(MARK, event.source_account_id.bytes, event.destination_account_id.bytes, event.amount_cents)
    return fixed + event.currency.encode()


def decode_entry(kind: Callable[[UUID, int, int], _EntryT]) -> Callable[[bytes], _EntryT]:
    """Return the decoder of entries of a class. It raises `ValueError` for anything but the short form."""

    def decode(state: bytes) -> _EntryT:
        if len(state) != _ENTRY.size:
            raise ValueError(f"an entry has {_ENTRY.size} bytes, not {len(state)}")
        _, transaction_id, amount, balance = _ENTRY.unpack(state)
        return kind(FastUUID(transaction_id), amount, balance)

    return decode


def decode_transfer(state: bytes) -> MoneyTransferred:
    """Decode a plain transfer. Raises `ValueError` for anything but the short form."""
    if not _TRANSFER.size < len(state) <= _TRANSFER.size + _CURRENCY_BYTES:
        raise ValueError(f"a transfer does not have {len(state)} bytes")
    _, source, destination, amount = _TRANSFER.unpack_from(state)
    return MoneyTransferred(
        source_account_id=FastUUID(source),
        destination_account_id=FastUUID(destination),
        amount_cents=amount,
        currency=state[_TRANSFER.size :].decode(),
        kind="transfer",
        reference=None,
    )


ENCODERS: Mapping[type[Any], Callable[[Any], bytes | None]] = {
    AccountDebited: encode_entry,
    AccountCredited: encode_entry,
    MoneyTransferred: encode_transfer,
}
DECODERS: Mapping[type[Any], Callable[[bytes], Any]] = {
    AccountDebited: decode_entry(AccountDebited),
    AccountCredited: decode_entry(AccountCredited),
    MoneyTransferred: decode_transfer,
}
