"""Read the log stream by stream, and check versions, states, heads, credentials and the rows that follow."""

from collections.abc import AsyncIterator, Sequence
from itertools import zip_longest
from uuid import UUID

from asyncpg import Record

from ledger.audit.verify.findings import Advanced, Difference, Finding
from ledger.audit.verify.log import (
    FoldedStream,
    RawEvent,
    RawHead,
    StreamFold,
    check_credential,
    check_factor,
    check_head,
    check_webhook_secrets,
    decode,
    report_time,
)
from ledger.audit.verify.reading import Scope, Share, read_pages, read_streams
from ledger.audit.verify.rows import RowComparison
from ledger.audit.verify.tables import ShadowTables
from ledger.events import HEADLESS, Recorded
from ledger.events.accounts import BALANCE_EVENTS
from ledger.events.second_factors import SecondFactor
from ledger.events.users import User
from ledger.events.webhooks import Webhook
from ledger.projections import INLINE
from ledger.projections.accounts import ACCOUNTS
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.credentials import read_credentials
from ledger.store.second_factors import read_stored_factors
from ledger.store.webhook_secrets import read_stored_secrets

_PROJECTIONS = tuple(projection for projection in INLINE if projection.tables == (ACCOUNTS,))


async def check_times(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Yield a finding for each event that was recorded before its predecessor in the log."""
    async for rows in read_pages(connection, integrity.TIMES_THAT_DECREASE, scope.since):
        for row in rows:
            *event, previous_time = row
            yield report_time(previous_time, RawEvent(*event))


async def check_streams(
    connection: Connection, scope: Scope, share: Share
) -> AsyncIterator[Finding | Difference | Advanced]:
    """Check each stream of a share of the log, and compare the rows of accounts, entries and transfers."""
    accounts = ShadowTables(connection, scope, _PROJECTIONS)
    await accounts.create()
    comparison = RowComparison(connection, scope, share)
    check = _StreamCheck(scope.since)
    sql = f"""{integrity.EVENTS} WHERE {share.where("originator_id")} AND {scope.where_changed("originator_id")}
              ORDER BY originator_id, originator_version"""
    async for rows in read_streams(connection, sql, RawEvent._fields.index("stream_id")):
        check.take(rows)
        finished = check.finished()
        errors = [
            *await accounts.project(drop_superseded(check.events)),
            *await check_heads_and_credentials(connection, finished),
        ]
        for item in (*check.findings, *errors, *await comparison.compare(check.events, check.last)):
            yield item
        yield Advanced(len(rows))
    for item in (
        *await check_heads_and_credentials(connection, check.finished(at_end=True)),
        *await comparison.compare((), None),
    ):
        yield item
    async for difference in accounts.compare(share):
        yield difference
    await accounts.drop()


class _StreamCheck:
    """Checks one page after another; `events`, `findings` and `last` are those of the last page."""

    def __init__(self, since: int) -> None:
        self._since = since
        self._fold: StreamFold | None = None
        self._finished: list[FoldedStream] = []
        self.events: list[Recorded] = []
        self.findings: list[Finding] = []

    @property
    def last(self) -> tuple[UUID, int]:
        """The stream and the version of the last event."""
        assert self._fold is not None  # noqa: S101 - a page has a row
        return self._fold.stream_id, self._fold.version

    def take(self, rows: Sequence[Record]) -> None:
        """Check the events of the next page."""
        self.events, self.findings = [], []
        fold = self._fold
        for row in rows:
            raw = RawEvent(*row)
            if fold is None or fold.stream_id != raw.stream_id:
                if fold is not None:
                    self._finished.append(fold.folded)
                fold = StreamFold(raw.stream_id)
            decoded = decode(raw)
            findings = fold.take(raw, decoded)
            if isinstance(decoded, Recorded):
                self.events.append(decoded)
            else:
                findings.insert(0, decoded)
            if findings and raw.position > self._since:
                self.findings += findings
        self._fold = fold

    def finished(self, *, at_end: bool = False) -> list[FoldedStream]:
        """Return the streams that have ended since the last call; `at_end`, the last one as well."""
        finished, self._finished = self._finished, []
        return finished + ([self._fold.folded] if at_end and self._fold is not None else [])


def drop_superseded(events: Sequence[Recorded]) -> list[Recorded]:
    """Return the events without those whose only effect, a balance, the next event of the stream replaces."""
    return [
        event
        for event, later in zip_longest(events, events[1:])
        if later is None
        or event.stream_id != later.stream_id
        or type(event.event) not in BALANCE_EVENTS
        or type(later.event) not in BALANCE_EVENTS
    ]


async def check_orphans(connection: Connection) -> AsyncIterator[Finding]:
    """Yield a finding for each head, credential or other secret whose stream has no events."""
    async for rows in read_pages(connection, integrity.ROWS_WITHOUT_STREAM):
        for table, stream_id in rows:
            yield Finding(
                "every head and credential belongs to a stream",
                None,
                "a row",
                stream_id=stream_id,
                table=table,
                row=str(stream_id),
            )


async def check_heads_and_credentials(connection: Connection, streams: Sequence[FoldedStream]) -> list[Finding]:
    """Return the findings about the heads, credentials and second factors of streams."""
    rows = await integrity.read_stored_heads(connection, [folded.stream_id for folded in streams])
    heads = {row["originator_id"]: RawHead(row["version"], row["topic"], row["state"]) for row in rows}
    users = [folded.stream_id for folded in streams if isinstance(folded.state, User)]
    credentials = await read_credentials(connection, users) if users else {}
    factored = [folded.stream_id for folded in streams if isinstance(folded.state, SecondFactor)]
    factors = await read_stored_factors(connection, factored) if factored else {}
    webhooks = [folded.stream_id for folded in streams if isinstance(folded.state, Webhook)]
    secrets = await read_stored_secrets(connection, webhooks) if webhooks else {}
    return [
        finding
        for folded in streams
        if folded.stream_id in heads or not isinstance(folded.state, HEADLESS)
        for finding in (
            *check_head(folded, heads.get(folded.stream_id)),
            *check_credential(folded, credentials.get(folded.stream_id)),
            *check_factor(folded, factors.get(folded.stream_id)),
            *check_webhook_secrets(folded, secrets.get(folded.stream_id, {})),
        )
    ]
