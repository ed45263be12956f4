"""Verify the seals: recompute every hash from the rows of the log, and compare it with the signed one.

The database is not trusted: the caller names the keys that may sign, never a table. Only block headers kept elsewhere
reveal that the whole chain was replaced by another one signed with the right key.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from ledger.events import StoredRow
from ledger.identity.keys import Key
from ledger.seals import merkle, store
from ledger.seals.blocks import NO_BLOCK, Block, Header, SignedHeader, event_leaf
from ledger.store import reader as event_reader
from ledger.store.connections import Pool
from ledger.store.identity import read_ledger_id
from ledger.store.rows import read_misplaced, read_rows

PAGE = 16  # blocks at a time
MAX_NAMED = 20  # findings about events of one block


class Finding(NamedTuple):
    """A difference from what was sealed, with its block and position if they are known."""

    block: int | None
    position: int | None
    problem: str

    def __str__(self) -> str:
        members = (("block", self.block), ("position", self.position))
        place = ", ".join(f"{name} {number}" for name, number in members if number is not None)
        return f"{place}: {self.problem}" if place else self.problem


class Report(NamedTuple):
    """The extent of a verification, and its findings."""

    blocks: int
    events: int
    heads_compared: int
    unsealed_events: int
    findings: list[Finding]


async def verify(
    pool: "Pool",
    keys: Mapping[str, Key],
    headers: Sequence[SignedHeader] = (),
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Report:
    """Verify all seals with trusted keys and previously exported headers; `advance` receives numbers of events."""
    ledger_id = await read_ledger_id(pool)
    exported = {header.block.number: header.block for header in headers}
    findings = [
        Finding(None, position, "the event is before the first possible position")
        for position in await read_misplaced(pool)
    ]
    previous: Header | None = None
    blocks = events = compared = 0
    async for block in _read_blocks(pool, ledger_id):
        header = block.signed_header.block
        rows = await read_rows(
            pool,
            after_position=header.first_position - 1,
            upto_position=header.last_position,
            limit=len(block.leaves) + event_reader.READ_LIMIT,
        )
        findings += _check_signature(block.signed_header, keys)
        findings += _check_link(header, previous) + _check_content(block, rows)
        if known := exported.pop(header.number, None):
            compared += 1
            findings += _compare_headers(header, known)
        previous, blocks, events = header, blocks + 1, events + len(rows)
        advance(len(rows))
    findings += [Finding(number, None, "it is in the exported headers but missing here") for number in sorted(exported)]
    status = await store.read_status(pool)
    return Report(blocks, events, compared, status.unsealed_events, findings)


async def _read_blocks(pool: "Pool", ledger_id: UUID) -> AsyncIterator[Block]:
    after: int | None = None
    while page := await store.list_blocks(pool, ledger_id, after_number=after, limit=PAGE):
        for block in page:
            yield block
        after = page[-1].signed_header.block.number


def _check_signature(signed_header: SignedHeader, keys: Mapping[str, Key]) -> list[Finding]:
    header = signed_header.block
    key = keys.get(header.key_id)
    if key is None:
        return [Finding(header.number, None, f"it is signed with key {header.key_id}, which is not trusted")]
    try:
        is_signed = signed_header.is_signed_by(key)
    except ValueError:
        is_signed = False
    return [] if is_signed else [Finding(header.number, None, "its header does not match its signature")]


def _check_link(header: Header, previous: Header | None) -> list[Finding]:
    """Return the finding if the number, hash or positions of a block do not follow from the previous block."""
    expected = (1, 1, NO_BLOCK) if previous is None else _successor(previous)
    if header.number != expected[0]:
        missing = range(expected[0], header.number)
        return [
            Finding(missing[0] if missing else header.number, None, f"blocks before block {header.number} are missing")
        ]
    if header.previous != expected[2]:
        return [Finding(header.number, None, "it does not contain the hash of the previous block")]
    if header.first_position != expected[1] or header.last_position < header.first_position:
        return [Finding(header.number, header.first_position, f"its positions do not start at {expected[1]}")]
    return []


def _successor(previous: Header) -> tuple[int, int, bytes | None]:
    try:
        previous_hash = previous.hash()
    except ValueError:
        previous_hash = None
    return previous.number + 1, previous.last_position + 1, previous_hash


def _compare_headers(header: Header, known: Header) -> list[Finding]:
    return [] if header == known else [Finding(header.number, None, "it differs from the exported header")]


def _check_content(block: Block, rows: Sequence[StoredRow]) -> list[Finding]:
    """Return the findings about the events of a block. The stored leaves only help to identify changed events."""
    header = block.signed_header.block
    leaves = [_hash_event(row) for row in rows]
    computed = [leaf for leaf in leaves if leaf is not None]
    if len(computed) == len(rows) == header.count and merkle.root(computed) == header.root:
        return (
            [] if tuple(computed) == block.leaves else [Finding(header.number, None, "its list of leaves was changed")]
        )
    findings = _compare_events(header, [row.notification_id for row in rows], leaves, block.leaves)
    if findings and merkle.root(block.leaves) == header.root:
        rest = len(findings) - MAX_NAMED
        return [*findings[:MAX_NAMED], *([Finding(header.number, None, f"and {rest} more")] if rest > 0 else [])]
    problem = f"its {header.count} sealed events, now {len(rows)}, or its list of leaves have changed"
    return [Finding(header.number, None, problem)]


def _compare_events(
    header: Header, positions: Sequence[int], leaves: Sequence[bytes | None], sealed: Sequence[bytes]
) -> list[Finding]:
    """Return the findings for the events between unchanged ones."""
    index = {leaf: number for number, leaf in enumerate(sealed)}
    findings: list[Finding] = []
    following, before, unknown = 0, header.first_position - 1, list[int]()
    for position, leaf in zip(positions, leaves, strict=True):
        found = -1 if leaf is None else index.get(leaf, -1)
        if found < following:
            unknown.append(position)
            continue
        findings += _explain_gap(header, before, unknown, found - following)
        following, before, unknown = found + 1, position, []
    return findings + _explain_gap(header, before, unknown, len(sealed) - following)


def _explain_gap(header: Header, before: int, unknown: Sequence[int], count: int) -> list[Finding]:
    """Return the findings between two unchanged events: `unknown` are the positions now, `count` events were sealed."""
    findings = [
        Finding(header.number, position, "the event was changed" if number < count else "the event was added later")
        for number, position in enumerate(unknown)
    ]
    missing = count - len(unknown)
    if missing > 0:
        last = unknown[-1] if unknown else before
        findings.append(Finding(header.number, last + 1, f"events missing from here on: {missing}"))
    return findings


def _hash_event(row: StoredRow) -> bytes | None:
    try:
        return event_leaf(row)
    except ValueError:
        return None
