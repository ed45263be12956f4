"""Verify the seals: recompute every hash from the rows of the log, and compare it with the signed one.

The database is not trusted: the caller names the keys that may sign, never a table. Only what is kept elsewhere reveals
that the chain was shortened, or replaced by another one signed with the right key: the head of the chain, exported
block headers, or anchored checkpoints.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from ledger.audit.limited import MAX_FINDINGS, Limited
from ledger.events import StoredRow
from ledger.identity.keys import Key
from ledger.seals import merkle, store
from ledger.seals.blocks import NO_BLOCK, NO_COMMAND, Block, Header, SignedHeader, command_digest, event_leaf
from ledger.seals.checkpoints import Checkpoint
from ledger.store import reader as event_reader
from ledger.store.command_rows import CommandRow, read_answered, read_command_rows
from ledger.store.connections import Pool
from ledger.store.identity import read_ledger_id
from ledger.store.rows import read_misplaced, read_rows

PAGE = 16  # blocks at a time
MAX_NAMED = 20  # findings about events, or about commands, of one block


class Finding(NamedTuple):
    """A difference from what was sealed, with its block and position if they are known."""

    block: int | None
    position: int | None
    problem: str

    @property
    def kind(self) -> str:
        """The problem without the ids, keys and numbers in it."""
        return " ".join("…" if any(map(str.isdigit, word)) else word for word in self.problem.split())

    def __str__(self) -> str:
        members = (("block", self.block), ("position", self.position))
        place = ", ".join(f"{name} {number}" for name, number in members if number is not None)
        return f"{place}: {self.problem}" if place else self.problem


class Report(NamedTuple):
    """The extent of a verification, its first findings, and the number of the others by their kind."""

    blocks: int
    events: int
    heads_compared: int
    unsealed_events: int
    findings: list[Finding]
    omitted: Mapping[str, int]

    @property
    def total(self) -> int:
        """The number of all findings."""
        return len(self.findings) + sum(self.omitted.values())


class Witnesses(NamedTuple):
    """What was kept outside the database: headers of blocks, and checkpoints."""

    headers: Sequence[SignedHeader] = ()
    checkpoints: Sequence[Checkpoint] = ()


async def verify(
    pool: "Pool",
    keys: Mapping[str, Key],
    witnesses: Witnesses = Witnesses(),  # noqa: B008 - it is immutable
    *,
    advance: Callable[[int], None] = lambda _: None,
    max_unsealed_seconds: float | None = None,
    limit: int | None = MAX_FINDINGS,
) -> Report:
    """Verify all seals with trusted keys and with what was kept elsewhere; `advance` receives numbers of events.

    Events that have been waiting for their seal for longer than `max_unsealed_seconds` are a finding. The report has
    up to `limit` findings.
    """
    ledger_id = await read_ledger_id(pool)
    comparison = _Comparison(witnesses)
    findings = _Findings(limit)
    findings.add(
        Finding(None, position, "the event is before the first possible position")
        for position in await read_misplaced(pool)
    )
    previous: Header | None = None
    blocks = events = 0
    async for block in _read_blocks(pool, ledger_id):
        header = block.signed_header.block
        findings.add(_check_signature(block.signed_header, keys) + _check_link(header, previous))
        count, found = await _check_content(pool, block)
        findings.add(found + comparison.compare(header))
        previous, blocks, events = header, blocks + 1, events + count
        advance(count)
    findings.add(comparison.list_missing())
    unsealed, found = await _check_unsealed(pool, max_unsealed_seconds)
    findings.add(found)
    return Report(blocks, events, comparison.compared, unsealed, findings.kept, findings.limited.omitted)


class _Findings:
    """Keeps the first findings, and counts the others."""

    def __init__(self, limit: int | None) -> None:
        self.limited, self.kept = Limited(limit), list[Finding]()

    def add(self, findings: Iterable[Finding]) -> None:
        self.kept += (finding for finding in findings if self.limited.admits(finding.kind))


class _Comparison:
    """Compares blocks, in order, with what was kept elsewhere."""

    def __init__(self, witnesses: Witnesses) -> None:
        self._headers = {header.block.number: header.block for header in witnesses.headers}
        self._roots = {checkpoint.size: checkpoint.root for checkpoint in witnesses.checkpoints}
        self._frontier: list[bytes] = []
        self._size = 0
        self.compared = 0

    def compare(self, header: Header) -> list[Finding]:
        """Return the findings about the next block."""
        findings = []
        if known := self._headers.pop(header.number, None):
            self.compared += 1
            if header != known:
                findings.append(Finding(header.number, None, "it differs from the exported header"))
        if self._roots:
            self._frontier = merkle.append(self._frontier, self._size, _header_leaf(header))
            self._size += 1
            if root := self._roots.pop(self._size, None):
                self.compared += 1
                if root != merkle.frontier_root(self._frontier):
                    problem = "the chain up to here differs from the anchored checkpoint"
                    findings.append(Finding(header.number, None, problem))
        return findings

    def list_missing(self) -> list[Finding]:
        """Return the findings about blocks that were kept elsewhere but do not exist."""
        return [
            *(Finding(n, None, "it is in the exported headers but missing here") for n in sorted(self._headers)),
            *(Finding(n, None, "it is in an anchored checkpoint but missing here") for n in sorted(self._roots)),
        ]


def _header_leaf(header: Header) -> bytes:
    try:
        return merkle.leaf_hash(header.encode())
    except ValueError:
        return NO_BLOCK


async def _check_unsealed(pool: "Pool", max_seconds: float | None) -> tuple[int, list[Finding]]:
    """Return the number of events that are not sealed, and the findings about them."""
    status = await store.read_status(pool)
    count, oldest = status.unsealed_events, status.oldest_unsealed_at
    if count and not status.blocks:
        return count, [Finding(None, None, f"the log has {count} events but no block")]
    if oldest is None or max_seconds is None:
        return count, []
    age = (await store.read_clock(pool) - oldest).total_seconds()
    if age <= max_seconds:
        return count, []
    problem = f"events from here on have not been sealed for {age:.0f} seconds: {count}"
    return count, [Finding(None, status.sealed_position + 1, problem)]


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
    if previous is not None and not _continues_commands(header, previous):
        return [Finding(header.number, None, "its commands do not start where those of the previous block end")]
    return []


def _continues_commands(header: Header, previous: Header) -> bool:
    if header.commands is None or previous.commands is None:
        return True
    return header.commands.since == previous.commands.before


def _successor(previous: Header) -> tuple[int, int, bytes | None]:
    try:
        previous_hash = previous.hash()
    except ValueError:
        previous_hash = None
    return previous.number + 1, previous.last_position + 1, previous_hash


async def _check_content(pool: "Pool", block: Block) -> tuple[int, list[Finding]]:
    """Return the number of events of a block, and the findings about them and about commands."""
    header = block.signed_header.block
    rows = await read_rows(
        pool,
        after_position=header.first_position - 1,
        upto_position=header.last_position,
        limit=len(block.leaves) + event_reader.READ_LIMIT,
    )
    if header.commands is None:
        return len(rows), _check_events(block, rows, None)
    ids = {row.command_id for row in rows if row.command_id is not None}
    findings = _check_events(block, rows, await read_command_rows(pool, ids))
    answered = await read_answered(pool, header.commands.since, header.commands.before)
    return len(rows), findings + _check_commands(block, answered)


Commands = Mapping[UUID, CommandRow]


def _check_events(block: Block, rows: Sequence[StoredRow], commands: Commands | None) -> list[Finding]:
    """Return the findings about the events of a block. The stored leaves only help to identify changed events.

    `commands` are those of the events; None for a block of version 1, which does not cover them.
    """
    header = block.signed_header.block
    leaves = [_hash_event(row, commands) for row in rows]
    computed = [leaf for leaf in leaves if leaf is not None]
    if len(computed) == len(rows) == header.count and merkle.root(computed) == header.root:
        return (
            [] if tuple(computed) == block.leaves else [Finding(header.number, None, "its list of leaves was changed")]
        )
    changes = [_describe_change(row, commands) for row in rows]
    findings = _compare_events(header, [row.notification_id for row in rows], changes, leaves, block.leaves)
    if findings and merkle.root(block.leaves) == header.root:
        return _limit(findings)
    problem = f"its {header.count} sealed events, now {len(rows)}, or its list of leaves have changed"
    return [Finding(header.number, None, problem)]


def _check_commands(block: Block, rows: Sequence[CommandRow]) -> list[Finding]:
    """Return the findings about the commands of a block that have a tree of their own."""
    header = block.signed_header.block
    tree = header.commands
    if tree is None:
        return []
    digests = {command_digest(row): row.command_id for row in rows}
    if len(rows) == tree.count and merkle.root([*digests]) == tree.root:
        is_listed = tuple(digests) == block.command_leaves
        return [] if is_listed else [Finding(header.number, None, "its list of commands was changed")]
    if merkle.root(block.command_leaves) != tree.root:
        problem = f"its {tree.count} sealed commands, now {len(rows)}, or its list of commands have changed"
        return [Finding(header.number, None, problem)]
    unknown = [command_id for digest, command_id in digests.items() if digest not in block.command_leaves]
    missing = len(set(block.command_leaves) - digests.keys()) - len(unknown)
    findings = [
        Finding(header.number, None, f"the command {command_id} was changed or added later") for command_id in unknown
    ]
    if missing > 0:
        findings.append(Finding(header.number, None, f"commands without events are missing: {missing}"))
    return _limit(findings)


def _limit(findings: Sequence[Finding]) -> list[Finding]:
    rest = len(findings) - MAX_NAMED
    return [*findings[:MAX_NAMED], *([Finding(findings[0].block, None, f"and {rest} more")] if rest > 0 else [])]


def _compare_events(
    header: Header,
    positions: Sequence[int],
    changes: Sequence[str],
    leaves: Sequence[bytes | None],
    sealed: Sequence[bytes],
) -> list[Finding]:
    """Return the findings for the events between unchanged ones; `changes` say what each would be if it is changed."""
    index = {leaf: number for number, leaf in enumerate(sealed)}
    findings: list[Finding] = []
    following, before, unknown = 0, header.first_position - 1, list[tuple[int, str]]()
    for position, change, leaf in zip(positions, changes, leaves, strict=True):
        found = -1 if leaf is None else index.get(leaf, -1)
        if found < following:
            unknown.append((position, change))
            continue
        findings += _explain_gap(header, before, unknown, found - following)
        following, before, unknown = found + 1, position, []
    return findings + _explain_gap(header, before, unknown, len(sealed) - following)


def _explain_gap(header: Header, before: int, unknown: Sequence[tuple[int, str]], count: int) -> list[Finding]:
    """Return the findings between two unchanged events: `unknown` are those now, `count` events were sealed."""
    findings = [
        Finding(header.number, position, change if number < count else "the event was added later")
        for number, (position, change) in enumerate(unknown)
    ]
    missing = count - len(unknown)
    if missing > 0:
        last = unknown[-1][0] if unknown else before
        findings.append(Finding(header.number, last + 1, f"events missing from here on: {missing}"))
    return findings


def _describe_change(row: StoredRow, commands: Commands | None) -> str:
    if commands is None or row.command_id is None:
        return "the event was changed"
    if row.command_id not in commands:
        return f"the command {row.command_id} of the event is missing"
    return f"the event or its command {row.command_id} was changed"


def _hash_event(row: StoredRow, commands: Commands | None) -> bytes | None:
    """Return the leaf of an event; None if a value is invalid."""
    try:
        if commands is None:
            return event_leaf(row)
        return event_leaf(row, NO_COMMAND if row.command_id is None else command_digest(commands.get(row.command_id)))
    except ValueError:
        return None
