"""The chain of blocks up to its head, as a process knows it: a longer chain must extend it. Reads headers only."""

from typing import Annotated
from uuid import UUID

import msgspec

from ledger.followers.follower import CannotApplyError
from ledger.identity.keys import Key
from ledger.seals import merkle, store
from ledger.seals.blocks import NO_BLOCK, Hash, Header, SignedHeader
from ledger.store.connections import Reader

PAGE = 1000  # block headers read at once


class BrokenChainError(CannotApplyError):
    """The seals differ from those that this process or its key made. The message is one sentence for the operator."""


class Chain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chain of blocks: its last header, and the frontier of the Merkle tree over all its headers (RFC 9162, 2.1)."""

    ledger: UUID
    head: SignedHeader | None
    tree: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=63)] = ()

    @property
    def last(self) -> Header | None:
        """The header of the last block; None without a block."""
        return None if self.head is None else self.head.block

    @property
    def size(self) -> int:
        """The number of blocks."""
        return 0 if self.head is None else self.head.block.number

    @property
    def root(self) -> bytes:
        """The root of the tree over all headers."""
        return merkle.frontier_root(self.tree)

    def extend(self, signed: SignedHeader) -> "Chain":
        """Return the chain with the next block. Raises `BrokenChainError` if it does not follow from the last one."""
        header, last = signed.block, self.last
        expected = (1, 1, NO_BLOCK) if last is None else (last.number + 1, last.last_position + 1, last.hash())
        if (header.number, header.first_position, header.previous) != expected:
            raise BrokenChainError(f"block {header.number} does not follow from block {self.size}: {VERIFY}")
        try:
            leaf = merkle.leaf_hash(header.encode())
        except ValueError:
            raise BrokenChainError(f"block {header.number} has an invalid header: {VERIFY}") from None
        return Chain(self.ledger, signed, tuple(merkle.append(self.tree, self.size, leaf)))

    def describe(self) -> tuple[int, str]:
        """Return the number of the last block and the hash of its header; 0 and "" without a block."""
        return (0, "") if self.head is None else (self.size, self.head.block.hash().hex())


VERIFY = "run `ledger audit verify-seals`"


async def read_chain(reader: Reader, known: Chain) -> Chain:
    """Return the chain in the database, which extends the known one. Raises `BrokenChainError` if it does not."""
    if known.head is not None:
        number = known.size
        found = await store.find_header(reader, known.ledger, number)
        if found is None:
            last = await store.read_last_header(reader, known.ledger)
            there = "there is no block" if last is None else f"the last one is block {last.block.number}"
            raise BrokenChainError(f"block {number} was sealed, but {there}: {VERIFY}, and then `accept-head`")
        if found.block != known.head.block:
            raise BrokenChainError(f"block {number} has changed: {VERIFY}")
    chain = known
    while headers := await store.list_headers(reader, known.ledger, after_number=chain.size, limit=PAGE):
        for header in headers:
            chain = chain.extend(header)
    return chain


def check_signature(chain: Chain, key: Key) -> None:
    """Raise `BrokenChainError` if the last block names this key but is not signed with it.

    Each header contains the hash of the one before it, so the signature of the last one protects all.
    """
    if chain.head is None or chain.head.block.key_id != key.kid:
        return
    try:
        is_signed = chain.head.is_signed_by(key)
    except ValueError:
        is_signed = False
    if not is_signed:
        raise BrokenChainError(f"block {chain.size} has an invalid signature: {VERIFY}")
