"""Receipts: events with a proof that they are in the log, which is checked without the ledger's database. Pure.

A receipt is JSON. The order of its members and blanks between them say nothing, so a receipt that went through a tool
for JSON still proves the same. Its values are exact: the checks hash and compare all of them.
"""

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from ledger.events import StoredRow
from ledger.identity.keys import Key
from ledger.seals import merkle
from ledger.seals.blocks import Block, Hash, Header, SignedHeader, Time, event_leaf
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

FORMAT: Literal["ledger-receipt-1"] = "ledger-receipt-1"
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class InvalidReceiptError(Exception):
    """A receipt proves nothing. The message is one sentence with the reason."""


class SealMismatchError(Exception):
    """An event or its block differs from what was sealed."""


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event with every column of its row; `state` is its content as stored."""

    originator_id: UUID
    originator_version: Integer
    topic: str
    state: bytes
    notification_id: Integer
    recorded_at: Time
    command_id: UUID | None

    def row(self) -> StoredRow:
        """Return the row of the event."""
        return StoredRow(**msgspec.structs.asdict(self))


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event, and its path (RFC 9162, section 2.1.3) to the root of a signed block."""

    event: Event
    leaf_index: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    path: list[Hash]
    block: Header
    signature: bytes


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proofs of the events of one transaction, or of one version of an account."""

    format: Literal["ledger-receipt-1"]
    proofs: Annotated[list[Proof], msgspec.Meta(min_length=1)]


def prove(block: Block, row: StoredRow) -> Proof:
    """Return the proof that an event is in a block. Raises `SealMismatchError` if the proof would not hold."""
    header, leaf = block.signed_header.block, event_leaf(row)
    if merkle.root(block.leaves) != header.root or leaf not in block.leaves:
        raise SealMismatchError(
            f"the event at position {row.notification_id} is not the one sealed in block {header.number}"
        )
    index = block.leaves.index(leaf)
    return Proof(Event(**row._asdict()), index, merkle.path(block.leaves, index), header, block.signed_header.signature)


def check(raw: bytes, keys: Mapping[str, Key]) -> Receipt:
    """Return a receipt whose proofs hold and whose blocks are signed with these keys. Raises `InvalidReceiptError`."""
    try:
        receipt = msgspec.convert(strict_json.decode(raw), Receipt)
    except (MalformedJsonError, msgspec.MsgspecError, RecursionError) as error:
        raise InvalidReceiptError(f"it is not a receipt: {error}") from None
    for proof in receipt.proofs:
        _check_proof(proof, keys)
    return receipt


def _check_proof(proof: Proof, keys: Mapping[str, Key]) -> None:
    header, position = proof.block, proof.event.notification_id
    key = keys.get(header.key_id)
    if key is None:
        raise InvalidReceiptError(
            f"block {header.number} is signed with key {header.key_id}, which is not among the given keys"
        )
    try:
        is_signed = SignedHeader(header, proof.signature).is_signed_by(key)
        leaf = event_leaf(proof.event.row())
    except ValueError as error:
        raise InvalidReceiptError(f"it is not a receipt: {error}") from None
    if not is_signed:
        raise InvalidReceiptError(f"the signature of block {header.number} is wrong")
    if not merkle.leads_to(header.root, leaf, proof.leaf_index, header.count, proof.path):
        raise InvalidReceiptError(f"the event at position {position} is not in block {header.number}")
    if not header.first_position <= position <= header.last_position:
        raise InvalidReceiptError(f"position {position} is outside block {header.number}")
