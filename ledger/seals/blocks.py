"""Blocks: which bytes of an event and of a header are hashed and signed. Pure.

Both encodings are unambiguous: every member has a fixed width or says how long it is. A block covers all positions from
the one after its predecessor's last to its own last, gaps included, so an event that turns up in a gap is found. It
names the hash of its predecessor, so who has seen one header holds all earlier blocks to what they were.
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

NO_BLOCK = bytes(merkle.HASH_BYTES)  # the predecessor of the first one
_BLOCK = b"ledger block 1\n"  # nothing else that this key signs begins like this
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_pack_event = struct.Struct("!16sqqq?16sI").pack
_pack_header = struct.Struct("!16sqqqq32s32sq").pack

Hash = Annotated[bytes, msgspec.Meta(min_length=merkle.HASH_BYTES, max_length=merkle.HASH_BYTES)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed of a block. `key_id` is the RFC 7638 thumbprint of the key that signed it."""

    ledger: UUID
    number: Number
    first_position: Number
    last_position: Number
    count: Number
    root: Hash
    previous: Hash
    sealed_at: Time
    key_id: str

    def encoded(self) -> bytes:
        """The bytes that are signed, and hashed for the next block. Raises `ValueError` if it can be no header."""
        if len(self.root) != merkle.HASH_BYTES or len(self.previous) != merkle.HASH_BYTES:
            raise ValueError("a hash has 32 bytes")
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
        """What the next block names as its predecessor."""
        return hashlib.sha256(self.encoded()).digest()


class SignedHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A header with its Ed25519 signature (RFC 8032): all that has to be kept elsewhere to hold the log to it."""

    block: Header
    signature: bytes

    def is_signed_by(self, key: Key) -> bool:
        """Whether the signature is this key's."""
        return self.block.key_id == key.kid and key.verifies(self.block.encoded(), self.signature)


class Block(NamedTuple):
    """A block as it is stored. The hashes of its leaves say which event was changed, and are held to the root."""

    head: SignedHeader
    leaves: tuple[bytes, ...]


def event_leaf(row: StoredRow) -> bytes:
    """The leaf of an event: every column of its row. Raises `ValueError` if a column has no value that it can have."""
    if None in row[:-1]:
        raise ValueError("a column has no value")
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


def seal(
    ledger_id: UUID,
    previous: Header | None,
    leaves: tuple[bytes, ...],
    *,
    last_position: int,
    sealed_at: datetime,
    key: Key,
) -> Block:
    """The next block: the leaves of all events between the last block's end and the position of the last of them."""
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
    return Block(SignedHeader(header, key.sign(header.encoded())), leaves)


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:  # such as asyncpg's `infinity`
        raise ValueError("a time has a zone")
    return (moment - _EPOCH) // _MICROSECOND
