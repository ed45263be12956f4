"""Verify the seals: recompute every hash from the rows of the log, and compare it with the signed one.

The database is not trusted. The caller says which keys may sign, never a table. Only block headers that were kept
elsewhere reveal that the whole chain was replaced by one that was signed with the right key.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from asyncpg import Pool

from ledger.events import StoredRow
from ledger.identity.keys import Key
from ledger.seals import merkle, store
from ledger.seals.blocks import NO_BLOCK, Block, Header, SignedHeader, event_leaf
from ledger.store import log as event_log
from ledger.store.identity import read_ledger_id

PAGE = 16  # blocks at a time
MAX_NAMED = 20  # events of one block


class Finding(NamedTuple):
    """Something that is not as it was sealed: in which block, at which position, and what."""

    block: int | None
    position: int | None
    problem: str

    def __str__(self) -> str:
        places = (("block", self.block), ("position", self.position))
        named = ", ".join(f"{name} {number}" for name, number in places if number is not None)
        return f"{named}: {self.problem}" if named else self.problem


class Report(NamedTuple):
    """What was verified, and what was found."""

    blocks: int
    events: int
    heads_compared: int
    unsealed_events: int
    findings: list[Finding]


async def verify(
    pool: "Pool",
    keys: Mapping[str, Key],
    heads: Sequence[SignedHeader] = (),
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Report:
    """Verify all seals with these keys, and with heads that were exported before; `advance` is told of events."""
    ledger_id = await read_ledger_id(pool)
    kept = {head.block.number: head.block for head in heads}
    findings = [
        Finding(None, position, "an event lies before the first position that there can be")
        for position in await event_log.read_misplaced(pool)
    ]
    previous: Header | None = None
    blocks = events = compared = 0
    async for block in _all_blocks(pool, ledger_id):
        header = block.head.block
        rows = await event_log.read_rows(
            pool,
            after_position=header.first_position - 1,
            upto_position=header.last_position,
            limit=len(block.leaves) + event_log.READ_LIMIT,
        )
        findings += _signature(block.head, keys) + _link(header, previous) + _content(block, rows)
        if known := kept.pop(header.number, None):
            compared += 1
            findings += _kept(header, known)
        previous, blocks, events = header, blocks + 1, events + len(rows)
        advance(len(rows))
    findings += [Finding(number, None, "it is in the file of heads, and gone") for number in sorted(kept)]
    status = await store.status(pool)
    return Report(blocks, events, compared, status.unsealed_events, findings)


async def _all_blocks(pool: "Pool", ledger_id: UUID) -> AsyncIterator[Block]:
    after: int | None = None
    while page := await store.blocks(pool, ledger_id, after_number=after, limit=PAGE):
        for block in page:
            yield block
        after = page[-1].head.block.number


def _signature(head: SignedHeader, keys: Mapping[str, Key]) -> list[Finding]:
    header = head.block
    key = keys.get(header.key_id)
    if key is None:
        return [Finding(header.number, None, f"it is signed with key {header.key_id}, which is not trusted")]
    try:
        is_signed = head.is_signed_by(key)
    except ValueError:
        is_signed = False
    return [] if is_signed else [Finding(header.number, None, "its header is not what was signed")]


def _link(header: Header, previous: Header | None) -> list[Finding]:
    """Numbers, positions and hashes follow from block to block without a gap."""
    expected = (1, 1, NO_BLOCK) if previous is None else _successor(previous)
    if header.number != expected[0]:
        missing = range(expected[0], header.number)
        return [
            Finding(missing[0] if missing else header.number, None, f"blocks before block {header.number} are gone")
        ]
    if header.previous != expected[2]:
        return [Finding(header.number, None, "it does not continue the block before it")]
    if header.first_position != expected[1] or header.last_position < header.first_position:
        return [Finding(header.number, header.first_position, f"its positions do not begin at {expected[1]}")]
    return []


def _successor(previous: Header) -> tuple[int, int, bytes | None]:
    try:
        named = previous.hash()
    except ValueError:
        named = None
    return previous.number + 1, previous.last_position + 1, named


def _kept(header: Header, known: Header) -> list[Finding]:
    return [] if header == known else [Finding(header.number, None, "it is not the block that the file of heads has")]


def _content(block: Block, rows: Sequence[StoredRow]) -> list[Finding]:
    """The events are those that were sealed. The stored leaves only help to name those that are not."""
    header = block.head.block
    leaves = [_leaf(row) for row in rows]
    computed = [leaf for leaf in leaves if leaf is not None]
    if len(computed) == len(rows) == header.count and merkle.root(computed) == header.root:
        return (
            [] if tuple(computed) == block.leaves else [Finding(header.number, None, "its list of leaves was changed")]
        )
    named = _differences(header, [row.notification_id for row in rows], leaves, block.leaves)
    if named and merkle.root(block.leaves) == header.root:
        rest = len(named) - MAX_NAMED
        return [*named[:MAX_NAMED], *([Finding(header.number, None, f"and {rest} more")] if rest > 0 else [])]
    problem = f"its {header.count} events, {len(rows)} by now, or its list of leaves, are not what was sealed"
    return [Finding(header.number, None, problem)]


def _differences(
    header: Header, positions: Sequence[int], leaves: Sequence[bytes | None], sealed: Sequence[bytes]
) -> list[Finding]:
    """What became of the sealed events, from one that is as it was to the next."""
    index = {leaf: number for number, leaf in enumerate(sealed)}
    findings: list[Finding] = []
    following, before, strange = 0, header.first_position - 1, list[int]()
    for position, leaf in zip(positions, leaves, strict=True):
        found = -1 if leaf is None else index.get(leaf, -1)
        if found < following:
            strange.append(position)
            continue
        findings += _gap(header, before, strange, found - following)
        following, before, strange = found + 1, position, []
    return findings + _gap(header, before, strange, len(sealed) - following)


def _gap(header: Header, before: int, strange: Sequence[int], count: int) -> list[Finding]:
    """Between two events that are as they were: these positions now, so many events when it was sealed."""
    findings = [
        Finding(header.number, position, "the event was changed" if number < count else "the event was added later")
        for number, position in enumerate(strange)
    ]
    if len(strange) < count:
        last = strange[-1] if strange else before
        findings.append(Finding(header.number, last + 1, f"{count - len(strange)} events from here on were taken away"))
    return findings


def _leaf(row: StoredRow) -> bytes | None:
    try:
        return event_leaf(row)
    except ValueError:
        return None
