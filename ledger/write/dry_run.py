"""Dry runs: commands are decided as the committer decides them, and nothing is written.

The decisions are made in this process, on a snapshot of the present or on the state at a position of the log. Later
commands of a dry run see the effects of earlier ones. No event, command or reservation comes of it.
"""

import asyncio
import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger import errors
from ledger.audit.as_of import PointInTime, position_of
from ledger.audit.results import read_results
from ledger.commands.caller import Caller
from ledger.commands.command import Command
from ledger.errors import Refused, StaleCallerError, StaleCommandError
from ledger.events.account_labels import AccountCode
from ledger.events.clients import Client
from ledger.projections import account_labels
from ledger.projections.holds import DueHold
from ledger.projections.past_holds import find_holds_due_at
from ledger.store.command_rows import read_time_at
from ledger.store.commands import find_commands
from ledger.store.connections import Connection, Pool
from ledger.store.heads import NO_STREAM, Head, fold_heads, read_heads
from ledger.store.log import Reservation
from ledger.store.streams_at import find_changed_streams, read_present, read_streams_at
from ledger.values.account_codes import code_stream
from ledger.write.execution import replay
from ledger.write.group import Origin, Outcome, OutcomeOrError, PreparedGroup
from ledger.write.overdue import Source, prepare_with_endings
from ledger.write.pending import Pending
from ledger.write.preview import Past, Preview, PreviewPool, Run

MAX_STREAMS = 50_000  # that one dry run keeps in memory, at about a kilobyte each
MAX_CHANGES = 2000  # events since a past position after which not every read shows the state of then
TOO_MUCH = f"must not concern more than {MAX_STREAMS:,} accounts, transactions and references"
CHANGED_SINCE = "cannot answer for a past state: what the request depends on has changed since"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the time of an empty log


class Basis(NamedTuple):
    """The state that a dry run decides on: its position in the log, and the time there."""

    position: int
    time: datetime


class _Trial(Pending):
    """A command whose outcome is returned, and not delivered."""

    __slots__ = ()

    def deliver(self, outcome: OutcomeOrError) -> None:
        """Do nothing: `DryRun.submit` returns the outcome."""


class DryRun:
    """Decides the commands of one request, and writes nothing. In that request, it takes the committer's place.

    With a `basis`, it decides on the state of then, for callers of now. `pool` shows read tables as they would be.
    """

    def __init__(self, pool: Pool, *, schema: str, basis: Basis | None = None) -> None:
        self._pool = pool
        self._basis = basis
        self._preview = Preview({}, [], None if basis is None else Past(basis.position, []))
        self._lock = asyncio.Lock()
        self.pool = PreviewPool(pool, schema, self._preview)

    @property
    def time(self) -> datetime | None:
        """The time at which commands are decided; None for the present."""
        return None if self._basis is None else self._basis.time

    def version_of(self, stream_id: UUID) -> int:
        """Return the version that a stream would have."""
        return self._preview.heads[stream_id].version

    async def load(self, streams: Collection[UUID]) -> None:
        """Let reads show these streams as they were at the position that the dry run is based on."""
        async with self._lock, self._pool.acquire() as lent:
            missing = set(streams) - self._preview.heads.keys()
            found = await self._read_then(lent.connection, missing)
            self._preview.heads.update({**dict.fromkeys(missing, NO_STREAM), **found})

    async def find_account_ids(self, keys: Collection[str]) -> dict[str, UUID]:
        """Return the ids of the accounts that have these codes, by the keys of the codes; reads show those accounts."""
        if self._basis is None:
            return await account_labels.find_ids(self.pool, keys)
        streams = {key: code_stream(key) for key in keys}
        await self.load(streams.values())
        codes = {key: self._preview.heads[stream].state for key, stream in streams.items()}
        ids = {key: code.holder_id for key, code in codes.items() if isinstance(code, AccountCode) and code.holder_id}
        await self.load(ids.values())
        return ids

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Return the outcome that the command would have. Raises `Refused` or a `LedgerError`, as the committer would.

        The position of the outcome is that of the state on which it is based.
        """
        del weight, deadline
        trial = _Trial(command.doubt(), origin, weight=1, deadline=math.inf)
        async with self._lock, self._pool.acquire() as lent:
            if len(self._preview.heads) > MAX_STREAMS:
                raise Refused(errors.invalid_parameter("dry_run", TOO_MUCH, "query"))
            async with lent.connection.transaction(isolation="repeatable_read", readonly=True):
                outcome = await self._try(lent.connection, trial)
        if isinstance(outcome, StaleCommandError):
            self._renew()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _try(self, connection: Connection, trial: _Trial) -> OutcomeOrError:
        basis = self._basis
        if basis is None:
            known = await _find_known(connection, trial)
            if known is not None:
                return known
            basis = Basis(*await read_present(connection))
            prepared = await prepare_with_endings(connection, [trial], self._preview.heads)
        else:
            prepared = await self._prepare_then(connection, trial, basis)
        run = Run(prepared.appended, basis.position + 1 + self._count_events(), basis.time)
        outcome = prepared.build_outcomes(Reservation(run.first_position, basis.time))[-1]
        self._take(run, prepared.heads)
        return msgspec.structs.replace(outcome, position=basis.position) if isinstance(outcome, Outcome) else outcome

    async def _prepare_then(self, connection: Connection, trial: _Trial, basis: Basis) -> PreparedGroup[Pending]:
        """Decide a command on the state of then, and check its caller on that of now."""
        if trial.origin.caller is not None:
            await self._check_caller(connection, trial.origin.caller)
            trial.origin = msgspec.structs.replace(trial.origin, caller=None)

        async def find(reader: Connection, *arguments: Any) -> list[DueHold]:
            return await find_holds_due_at(reader, basis.position, *arguments)

        source = Source(self._read_then, find, lambda: basis.time)
        return await prepare_with_endings(connection, [trial], self._preview.heads, source)

    async def _check_caller(self, connection: Connection, caller: Caller) -> None:
        """Raise `StaleCallerError` if the caller is not valid now. What a machine may debit is also that of now."""
        heads = await read_heads(connection, caller.streams())
        if not caller.is_valid({stream: heads.get(stream, NO_STREAM).state for stream in caller.streams()}):
            raise StaleCallerError
        if isinstance(heads[caller.user_id].state, Client):
            self._preview.heads[caller.user_id] = heads[caller.user_id]

    async def _read_then(self, connection: Connection, streams: Collection[UUID]) -> dict[UUID, Head]:
        """Return the heads of streams at the position that the dry run is based on, and let reads show that state."""
        assert self._basis is not None  # noqa: S101 - only a dry run on a past state gets here
        assert self._preview.past is not None  # noqa: S101 - as above
        events = await read_streams_at(connection, streams, self._basis.position)
        self._preview.past.events.extend(events)
        return fold_heads(events)

    def _take(self, run: Run, heads: Mapping[UUID, Head]) -> None:
        """Let later commands and reads see the effects of a run. Streams that it creates have no head yet."""
        if run.events:
            created = fold_heads(row for row in run.events if row.stream_id not in heads)
            self._preview.heads.update({**created, **heads})
            self._preview.runs.append(run)

    def _renew(self) -> None:
        """Read the present again, because a command was made from an older one. Raises `Refused` for a past state."""
        if self._basis is not None:
            raise Refused(errors.invalid_parameter("dry_run", CHANGED_SINCE, "query"))
        if not self._preview.runs:
            self._preview.heads.clear()

    def _count_events(self) -> int:
        return sum(len(run.events) for run in self._preview.runs)


async def open_dry_run(pool: Pool, *, schema: str, point: PointInTime | None, streams: Collection[UUID]) -> DryRun:
    """Return a dry run on the present or, with a `point` in time, on the state of then.

    Reads show what has changed since as it was then: everything if that is not much, otherwise these `streams` and
    those that the commands read.
    """
    if point is None:
        return DryRun(pool, schema=schema)
    position = await position_of(pool, point)
    dry_run = DryRun(pool, schema=schema, basis=Basis(position, await read_time_at(pool, position) or EPOCH))
    await dry_run.load({*streams, *(await find_changed_streams(pool, position, MAX_CHANGES) or ())})
    return dry_run


async def _find_known(connection: Connection, trial: _Trial) -> OutcomeOrError | None:
    """Return the outcome of a command that was executed earlier, if its client may repeat it."""
    if trial.origin.request_hash is None:
        return None
    rows = await find_commands(connection, [trial.origin.command_id])
    row = rows.get(trial.origin.command_id)
    if row is None:
        return None
    return replay(trial, row, (await read_results(connection, [row])).get(row.command_id))
