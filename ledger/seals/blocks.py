"""Blocks: the bytes of an event, of a command and of a block header that are hashed and signed. Pure.

All encodings are unambiguous: every member has a fixed width or is preceded by its length. A block covers all
positions after its predecessor up to its own last one, including gaps, so an event added to a gap is detected. It
contains the hash of its predecessor, so a copy of one block header reveals changes to all earlier blocks.

A block of version 2 also covers commands: the leaf of an event contains the digest of its command, and a second tree
has the commands with stored answers that were recorded in a period. Blocks of version 1 have no `commands`.
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
from ledger.store.command_rows import LABEL, CommandRow

NO_BLOCK = bytes(merkle.HASH_BYTES)  # the predecessor of the first block
NO_COMMAND = bytes(merkle.HASH_BYTES)  # the digest of a command without a row
# No other message signed with this key begins like these.
_BLOCK = b"ledger block 1\n"
_BLOCK_WITH_COMMANDS = b"ledger block 2\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_pack_event = struct.Struct("!16sqqq?16sI").pack
_pack_header = struct.Struct("!16sqqqq32s32sq").pack
_pack_commands = struct.Struct("!q32sqq").pack
_pack_integer = struct.Struct("!q").pack
_pack_length = struct.Struct("!i").pack

Hash = Annotated[bytes, msgspec.Meta(min_length=merkle.HASH_BYTES, max_length=merkle.HASH_BYTES)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class CommandTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tree of the commands with stored answers that were recorded from `since` to `before`, which is excluded."""

    count: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    root: Hash
    since: Time
    before: Time


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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
    commands: CommandTree | None = None

    def encode(self) -> bytes:
        """Return the bytes to sign, and to hash for the next block. Raises `ValueError` if a value is invalid."""
        hashes = [self.root, self.previous, *([] if self.commands is None else [self.commands.root])]
        if any(len(value) != merkle.HASH_BYTES for value in hashes):
            raise ValueError("a hash must have 32 bytes")
        return (
            (_BLOCK if self.commands is None else _BLOCK_WITH_COMMANDS)
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
            + (b"" if self.commands is None else _encode_tree(self.commands))
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
    """A block as stored. Its leaves identify what has changed; the signed roots protect the leaves."""

    signed_header: SignedHeader
    leaves: tuple[bytes, ...]
    command_leaves: tuple[bytes, ...] = ()


class CommandPeriod(NamedTuple):
    """The commands that a block covers by a tree of their own: the digests, and the period."""

    digests: tuple[bytes, ...]
    since: datetime
    before: datetime


def event_leaf(row: StoredRow, command_digest: bytes | None = None) -> bytes:
    """Return the leaf of an event, over all columns of its row. Raises `ValueError` if a value is invalid.

    In a block of version 2, the leaf also covers the digest of the event's command.
    """
    if None in row[:-1]:
        raise ValueError("a column must have a value")
    topic, command_id = row.topic.encode(), row.command_id
    return merkle.leaf_hash(
        (command_digest or b"")
        + _pack_event(
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


def command_digest(row: CommandRow | None) -> bytes:
    """Return the digest of a command, over all columns of its row; `NO_COMMAND` without a row."""
    return NO_COMMAND if row is None else merkle.leaf_hash(LABEL.encode() + b"".join(map(_pack_column, row)))


def seal_block(
    ledger_id: UUID,
    previous: Header | None,
    leaves: tuple[bytes, ...],
    commands: CommandPeriod | None,
    *,
    last_position: int,
    sealed_at: datetime,
    key: Key,
) -> Block:
    """Return the next signed block, over the leaves of all events after `previous` up to `last_position`."""
    digests = () if commands is None else commands.digests
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
        commands=commands and CommandTree(len(digests), merkle.root(digests), commands.since, commands.before),
    )
    return Block(SignedHeader(header, key.sign(header.encode())), leaves, digests)


def _encode_tree(tree: CommandTree) -> bytes:
    return _pack_commands(tree.count, tree.root, _microseconds(tree.since), _microseconds(tree.before))


def _pack_column(value: UUID | str | bytes | datetime | None) -> bytes:
    match value:
        case None:
            return _pack_length(-1)
        case UUID():
            packed = value.bytes
        case str():
            packed = value.encode()
        case datetime():
            packed = _pack_integer(_microseconds(value))
        case _:
            packed = value
    return _pack_length(len(packed)) + packed


def _microseconds(time: datetime) -> int:
    if time.tzinfo is None:  # such as asyncpg's `infinity`
        raise ValueError("a time must have a zone")
    return (time - _EPOCH) // _MICROSECOND
