"""Histories of transactions with and without an effective time, and the balances that a naive sum gives."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.accounts import OpenAccount
from ledger.commands.batch import TransferBatch
from ledger.commands.command import Command, Credential
from ledger.commands.holds import CaptureHold, PlaceHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.errors import Refused
from ledger.events import decode_event
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.events.transactions import HoldCaptured, JournalEntryPosted, MoneyTransferred
from ledger.runtime import Runtime
from ledger.values.ids import new_id
from ledger.write.group import Origin

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=17)  # between events of an aged log
END_OF_YEAR = datetime(2020, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
FUNDS = 1_000_000

edges = [
    datetime(1, 1, 1, tzinfo=UTC),
    END_OF_YEAR,
    END_OF_YEAR + timedelta(microseconds=1),
    datetime(2020, 2, 29, tzinfo=UTC),
    datetime(2020, 3, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
effective_times = st.sampled_from(edges) | st.integers(-40 * 86_400, 800 * 86_400).map(
    lambda seconds: BEGIN + timedelta(seconds=seconds)
)


class Step(NamedTuple):
    """A movement of money: its kind, its effective time if it has one, its amount and its accounts by number."""

    kind: str
    effective_at: datetime | None
    cents: int
    source: int
    destination: int


KINDS = ("transfer", "transfer", "batch", "entry", "hold", "capture", "capture", "reversal")
steps = st.builds(
    Step,
    st.sampled_from(KINDS),
    st.none() | effective_times,
    st.integers(1, 100),
    st.integers(0, 2),
    st.integers(1, 2),
)


class Entry(NamedTuple):
    """An entry of the log, with the effective time of its transaction, or else that of its recording."""

    account_id: UUID
    version: int
    position: int
    counts_at: datetime
    amount_cents: int
    is_dated: bool


class Books:
    """Three accounts of a ledger, between which steps move money."""

    def __init__(self, runtime: Runtime, account_ids: Sequence[UUID]) -> None:
        self.runtime, self.account_ids = runtime, account_ids
        self._holds: list[PlaceHold] = []
        self._transfers: list[TransferMoney] = []

    @classmethod
    async def open(cls, runtime: Runtime) -> "Books":
        """Open three accounts, each with the same funds."""
        user_id, accounts = new_id(), [new_id() for _ in range(3)]
        name = f"u{user_id.hex}"
        credential = Credential(new_id(), user_id, "a hash")
        await runtime.committer.submit(
            CreateUser(
                user_id=user_id,
                username=name,
                email=f"{name}@example.com",
                active=True,
                roles=("customer",),
                credential=credential,
            ),
            Origin(new_id()),
        )
        for account_id in accounts:
            opening = OpenAccount(
                account_id=account_id,
                owner_id=user_id,
                currency="EUR",
                balance_cents=FUNDS,
                transaction_id=new_id(),
            )
            await runtime.committer.submit(opening, Origin(new_id()))
        return cls(runtime, accounts)

    async def execute(self, step: Step) -> list[str]:
        """Execute a step, and return the codes of the refusals."""
        try:
            await self.runtime.committer.submit(self.command(step), Origin(new_id()))
        except Refused as refused:
            return [refusal.code for refusal in refused.refusals]
        return []

    def command(self, step: Step) -> Command:
        """Return the command of a step; without a hold or a transfer to go back to, that of a transfer."""
        source, destination = self.account_ids[step.source], self.account_ids[(step.source + step.destination) % 3]
        sides: dict[str, Any] = {"source_account_id": source, "destination_account_id": destination}
        transfer = TransferMoney(
            transaction_id=new_id(), **sides, amount_cents=step.cents, effective_at=step.effective_at
        )
        match step.kind:
            case "batch":
                plain = TransferMoney(transaction_id=new_id(), **sides, amount_cents=3)
                return TransferBatch((plain, transfer, plain.__replace__(transaction_id=new_id())))
            case "entry":
                postings = (NewPosting(source, -2 * step.cents), NewPosting(destination, step.cents))
                return PostJournalEntry(
                    transaction_id=new_id(),
                    postings=(*postings, NewPosting(destination, step.cents)),
                    effective_at=step.effective_at,
                )
            case "hold":
                now = datetime.now(UTC)
                hold = PlaceHold(
                    transaction_id=new_id(),
                    **sides,
                    amount_cents=100 + step.cents,
                    now=now,
                    expires_at=now + timedelta(days=1),
                    limit_seconds=100_000,
                    effective_at=step.effective_at,
                )
                self._holds.append(hold)
                return hold
            case "capture" if self._holds:
                hold = self._holds[-1]
                return CaptureHold(
                    transaction_id=hold.transaction_id,
                    source_account_id=hold.source_account_id,
                    destination_account_id=hold.destination_account_id,
                    now=datetime.now(UTC),
                    amount_cents=min(step.cents, 40),
                    final=False,
                    effective_at=step.effective_at,
                )
            case "reversal" if self._transfers:
                first = self._transfers[-1]
                return ReverseTransaction(
                    reversal_id=new_id(),
                    transaction_id=first.transaction_id,
                    account_ids=(first.source_account_id, first.destination_account_id),
                    amount_cents=1,
                    effective_at=step.effective_at,
                )
        self._transfers.append(transfer)
        return transfer


async def age(connection: Any) -> None:
    """Spread the times of the log's commit groups over years, 17 hours for each event."""
    await connection.execute(
        f"""SET session_replication_role = replica;
            UPDATE stored_events
            SET recorded_at = '{BEGIN.isoformat()}'::timestamptz + first * interval '{STEP.total_seconds()} seconds'
            FROM (SELECT recorded_at, min(notification_id) AS first FROM stored_events GROUP BY 1) AS written
            WHERE written.recorded_at = stored_events.recorded_at;
            RESET session_replication_role"""
    )


async def read_entries(connection: Any) -> list[Entry]:
    """Return all entries of the log in order."""
    rows = await connection.fetch(
        """SELECT originator_id, originator_version, notification_id, recorded_at, topic, state FROM stored_events
           ORDER BY notification_id"""
    )
    found: list[Entry] = []
    dated: dict[UUID, datetime | None] = {}
    for stream_id, version, position, recorded_at, topic, state in rows:
        event = decode_event(topic, state)
        if isinstance(event, MoneyTransferred | JournalEntryPosted | HoldCaptured):
            dated[stream_id] = event.effective_at
        elif isinstance(event, AccountDebited | AccountCredited):
            sign = 1 if isinstance(event, AccountCredited) else -1
            effective_at = dated.get(event.transaction_id)
            counts_at = effective_at or recorded_at
            cents = sign * event.amount_cents
            found.append(Entry(stream_id, version, position, counts_at, cents, effective_at is not None))
    return found


def sum_up(entries: Iterable[Entry], account_id: UUID, time: datetime, position: int) -> int:
    """Return the balance of an account as of an effective time, as it was known at a position."""
    return sum(
        entry.amount_cents
        for entry in entries
        if entry.account_id == account_id and entry.position <= position and entry.counts_at <= time
    )
