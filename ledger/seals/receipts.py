"""Receipts: events with a proof that they are in the log, which is checked without the ledger's database. Pure.

A receipt is JSON. The order of its members and blanks between them say nothing, so a receipt that went through a tool
for JSON still proves the same. Its values are exact: the checks hash and compare all of them.

A proof from a block of version 2 has the digest of the event's command, which reveals nothing of the command. A receipt
with such a proof has the format `ledger-receipt-2`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from ledger.events import StoredRow
from ledger.identity.keys import Key
from ledger.seals import merkle
from ledger.seals.blocks import Block, Hash, Header, SignedHeader, Time, command_digest, event_leaf
from ledger.store.command_rows import CommandRow
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

Format = Literal["ledger-receipt-1", "ledger-receipt-2"]
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class InvalidReceiptError(Exception):
    """A receipt proves nothing. The message is one sentence with the reason."""


class SealMismatchError(Exception):
    """An event or its block differs from what was sealed."""

    def __init__(self, position: int, block: int) -> None:
        super().__init__(f"the event at position {position} or its command is not the one sealed in block {block}")
        self.position = position


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


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An event, and its path (RFC 9162, section 2.1.3) to the root of a signed block."""

    event: Event
    leaf_index: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    path: list[Hash]
    block: Header
    signature: bytes
    command_digest: Hash | None = None


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proofs of the events of one transaction, or of one version of an account."""

    format: Format
    proofs: Annotated[list[Proof], msgspec.Meta(min_length=1)]


def prove(block: Block, row: StoredRow, command: CommandRow | None = None) -> Proof:
    """Return the proof that an event is in a block. Raises `SealMismatchError` if the proof would not hold."""
    header = block.signed_header.block
    digest = None if header.commands is None else command_digest(command)
    leaf = event_leaf(row, digest)
    if merkle.root(block.leaves) != header.root or leaf not in block.leaves:
        raise SealMismatchError(row.notification_id, header.number)
    index = block.leaves.index(leaf)
    path, signature = merkle.path(block.leaves, index), block.signed_header.signature
    return Proof(Event(**row._asdict()), index, path, header, signature, digest)


def build(proofs: list[Proof]) -> Receipt:
    """Return the receipt with these proofs."""
    return Receipt(_choose_format(proofs), proofs)


def check(raw: bytes, keys: Mapping[str, Key]) -> Receipt:
    """Return a receipt whose proofs hold and whose blocks are signed with these keys. Raises `InvalidReceiptError`."""
    try:
        receipt = msgspec.convert(strict_json.decode(raw), Receipt)
    except (MalformedJsonError, msgspec.MsgspecError, RecursionError) as error:
        raise InvalidReceiptError(f"it is not a receipt: {error}") from None
    if receipt.format != _choose_format(receipt.proofs):
        raise InvalidReceiptError("its format is not that of its proofs")
    for proof in receipt.proofs:
        _check_proof(proof, keys)
    return receipt


def _choose_format(proofs: list[Proof]) -> Format:
    with_commands = any(proof.command_digest is not None for proof in proofs)
    return "ledger-receipt-2" if with_commands else "ledger-receipt-1"


def _check_proof(proof: Proof, keys: Mapping[str, Key]) -> None:
    header, position = proof.block, proof.event.notification_id
    if (header.commands is None) != (proof.command_digest is None):
        raise InvalidReceiptError(f"the proof at position {position} does not have the form of block {header.number}")
    key = keys.get(header.key_id)
    if key is None:
        raise InvalidReceiptError(
            f"block {header.number} is signed with key {header.key_id}, which is not among the given keys"
        )
    try:
        is_signed = SignedHeader(header, proof.signature).is_signed_by(key)
        leaf = event_leaf(proof.event.row(), proof.command_digest)
    except ValueError as error:
        raise InvalidReceiptError(f"it is not a receipt: {error}") from None
    if not is_signed:
        raise InvalidReceiptError(f"the signature of block {header.number} is wrong")
    if not merkle.leads_to(header.root, leaf, proof.leaf_index, header.count, proof.path):
        raise InvalidReceiptError(f"the event at position {position} is not in block {header.number}")
    if not header.first_position <= position <= header.last_position:
        raise InvalidReceiptError(f"position {position} is outside block {header.number}")
