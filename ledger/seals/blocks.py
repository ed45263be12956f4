"""Blocks: the bytes of an event and of a block header that are hashed and signed. Pure.

Both encodings are unambiguous: every member has a fixed width or is preceded by its length. A block covers all
positions after its predecessor up to its own last one, including gaps, so an event added to a gap is detected. It
contains the hash of its predecessor, so a copy of one block header reveals changes to all earlier blocks.
"""

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from ledger.events import StoredRow
from ledger.identity.keys import Key
from ledger.seals import merkle

NO_BLOCK = bytes(merkle.HASH_BYTES)  # the predecessor of the first block
_BLOCK = b"ledger block 1\n"  # no other message signed with this key begins like this
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_pack_event = struct.Struct("!16sqqq?16sI").pack
_pack_header = struct.Struct("!16sqqqq32s32sq").pack

Hash = Annotated[bytes, msgspec.Meta(min_length=merkle.HASH_BYTES, max_length=merkle.HASH_BYTES)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signed part of a block. `key_id` is the RFC 7638 thumbprint of the signing key."""

    ledger: UUID
    number: Number
    first_position: Number
    last_position: Number
    count: Number
    root: Hash
    previous: Hash
    sealed_at: Time
    key_id: str

    def encode(self) -> bytes:
        """Return the bytes to sign, and to hash for the next block. Raises `ValueError` if a value is invalid."""
        if len(self.root) != merkle.HASH_BYTES or len(self.previous) != merkle.HASH_BYTES:
            raise ValueError("a hash must have 32 bytes")
        return (
            _BLOCK
            + _pack_header(
                self.ledger.bytes,
                self.number,
                self.first_position,
                self.last_position,
                self.count,
                self.root,
                self.previous,
                _microseconds(self.sealed_at),
            )
            + self.key_id.encode()
        )

    def hash(self) -> bytes:
        """Return the hash that the next block contains as `previous`."""
        return hashlib.sha256(self.encode()).digest()


class SignedHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block header with its Ed25519 signature (RFC 8032). A copy kept elsewhere reveals tampering with the log."""

    block: Header
    signature: bytes

    def is_signed_by(self, key: Key) -> bool:
        """Return whether this key made the signature."""
        return self.block.key_id == key.kid and key.verifies(self.block.encode(), self.signature)


class Block(NamedTuple):
    """A block as stored. Its leaves identify the events that changed; the signed root protects the leaves."""

    signed_header: SignedHeader
    leaves: tuple[bytes, ...]


def event_leaf(row: StoredRow) -> bytes:
    """Return the leaf of an event, over all columns of its row. Raises `ValueError` if a value is invalid."""
    if None in row[:-1]:
        raise ValueError("a column must have a value")
    topic, command_id = row.topic.encode(), row.command_id
    return merkle.leaf_hash(
        _pack_event(
            row.originator_id.bytes,
            row.originator_version,
            row.notification_id,
            _microseconds(row.recorded_at),
            command_id is not None,
            NO_ID if command_id is None else command_id.bytes,
            len(topic),
        )
        + topic
        + row.state
    )


NO_ID = bytes(16)


def seal_block(
    ledger_id: UUID,
    previous: Header | None,
    leaves: tuple[bytes, ...],
    *,
    last_position: int,
    sealed_at: datetime,
    key: Key,
) -> Block:
    """Return the next signed block, over the leaves of all events after `previous` up to `last_position`."""
    header = Header(
        ledger=ledger_id,
        number=1 if previous is None else previous.number + 1,
        first_position=1 if previous is None else previous.last_position + 1,
        last_position=last_position,
        count=len(leaves),
        root=merkle.root(leaves),
        previous=NO_BLOCK if previous is None else previous.hash(),
        sealed_at=sealed_at,
        key_id=key.kid,
    )
    return Block(SignedHeader(header, key.sign(header.encode())), leaves)


def _microseconds(time: datetime) -> int:
    if time.tzinfo is None:  # such as asyncpg's `infinity`
        raise ValueError("a time must have a zone")
    return (time - _EPOCH) // _MICROSECOND
