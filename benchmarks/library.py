"""The `eventsourcing` library's own runner, with the projection `entries` as its users would write it."""

import time
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Identifier

from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.settings import Settings
from ledger.store.library import LedgerApplication, LedgerEvent, Stream, environment

SCHEMA = "bench_library"


class Lines(PostgresTrackingRecorder):
    """A table of entries, each written with the position of its event in one transaction."""

    def __init__(self, datastore: PostgresDatastore, **options: Any) -> None:
        super().__init__(datastore, **options)
        table = (Identifier(self.datastore.schema), Identifier("library_entries"))
        self.sql_create_statements.append(
            SQL(
                """CREATE TABLE IF NOT EXISTS {}.{} (
                       account_id uuid, version bigint, transfer_id uuid NOT NULL, amount_cents bigint NOT NULL,
                       balance_cents bigint NOT NULL, position bigint NOT NULL, PRIMARY KEY (account_id, version))"""
            ).format(*table)
        )
        self._insert = SQL("INSERT INTO {}.{} VALUES (%s, %s, %s, %s, %s, %s)").format(*table)

    def add(self, event: LedgerEvent, tracking: Tracking) -> None:
        """Write one entry."""
        match event.event:
            case AccountCredited(transaction_id=transaction_id, amount_cents=amount, balance_cents=balance):
                pass
            case AccountDebited(transaction_id=transaction_id, amount_cents=debited, balance_cents=balance):
                amount = -debited
            case _:
                return
        line = (
            event.originator_id,
            event.originator_version,
            transaction_id,
            amount,
            balance,
            tracking.notification_id,
        )
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self._insert, line, prepare=True)


class LinesProjection(Projection[Lines]):
    """The library's form of `ledger.projections.entries`."""

    name = "lines"
    topics = ("AccountDebited", "AccountCredited")

    def process_event(self, domain_event: LedgerEvent, tracking: Tracking) -> None:
        """Process one event, as the library passes it."""
        self.view.add(domain_event, tracking)


def events_per_second(settings: Settings, *, warm_up_seconds: float, seconds: float) -> float:
    """Measure how fast the library's runner reads the log, in positions per second, skipped events included."""
    env = {**environment(settings), "LINES_CREATE_TABLE": "y", "LINES_POSTGRES_SCHEMA": SCHEMA}
    with ProjectionRunner(
        application_class=LedgerApplication, projection_class=LinesProjection, view_class=Lines, env=env
    ) as runner:
        runner.run_forever(warm_up_seconds)
        begun, first = time.monotonic(), _position(runner)
        runner.run_forever(seconds)
        return (_position(runner) - first) / (time.monotonic() - begun)


def _position(runner: "ProjectionRunner[LedgerApplication, Lines]") -> int:
    return runner.projection.view.max_tracking_id(LedgerApplication.name) or 0


def folded_per_second(settings: Settings, account_ids: list[UUID]) -> float:
    """Measure the events per second that the library's repository reads, decodes and folds."""
    application = LedgerApplication(environment(settings))
    begun = time.monotonic()
    versions = [_version(application, account_id) for account_id in account_ids]
    seconds = time.monotonic() - begun
    application.close()
    return sum(versions) / seconds


def _version(application: LedgerApplication, account_id: UUID) -> int:
    stream: Stream = application.repository.get(account_id)
    return stream.version
