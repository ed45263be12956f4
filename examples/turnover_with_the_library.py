"""The same turnover, kept with the `eventsourcing` library: `python -m examples.turnover_with_the_library`."""

from collections.abc import Mapping
from typing import Any

from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Identifier

from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.settings import Settings
from ledger.store.library import LedgerApplication, LedgerEvent, environment

SCHEMA = "turnover"


class Turnover(PostgresTrackingRecorder):
    """The table. Each event is written with its position in one transaction."""

    def __init__(self, datastore: PostgresDatastore, **options: Any) -> None:
        super().__init__(datastore, **options)
        table = (Identifier(self.datastore.schema), Identifier("library_accounts"))
        self.sql_create_statements.append(
            SQL(
                """CREATE TABLE IF NOT EXISTS {}.{} (account_id uuid PRIMARY KEY, entries bigint NOT NULL,
                       credited_cents numeric NOT NULL, debited_cents numeric NOT NULL)"""
            ).format(*table)
        )
        self._upsert = SQL(
            """INSERT INTO {}.{} AS accounts VALUES (%s, 1, %s, %s) ON CONFLICT (account_id) DO UPDATE SET
                   entries = accounts.entries + 1,
                   credited_cents = accounts.credited_cents + excluded.credited_cents,
                   debited_cents = accounts.debited_cents + excluded.debited_cents"""
        ).format(*table)

    def add(self, event: LedgerEvent, credited_cents: int, debited_cents: int, tracking: Tracking) -> None:
        """Add an entry."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self._upsert, (event.originator_id, credited_cents, debited_cents), prepare=True)


class TurnoverProjection(Projection[Turnover]):
    """What the events do to the table."""

    name = "turnover"
    topics = ("AccountDebited", "AccountCredited")

    def process_event(self, domain_event: LedgerEvent, tracking: Tracking) -> None:
        """One event, as the library hands it over."""
        match domain_event.event:
            case AccountCredited(amount_cents=amount_cents):
                self.view.add(domain_event, amount_cents, 0, tracking)
            case AccountDebited(amount_cents=amount_cents):
                self.view.add(domain_event, 0, amount_cents, tracking)
            case other:
                raise TypeError(f"not an entry: {type(other).__name__}")


def runner(env: Mapping[str, str]) -> "ProjectionRunner[LedgerApplication, Turnover]":
    """Return the library's own runner on a ledger. It creates only the projection's tables; the schema must exist."""
    options = {**env, "TURNOVER_CREATE_TABLE": "y", "TURNOVER_POSTGRES_SCHEMA": SCHEMA}
    return ProjectionRunner(
        application_class=LedgerApplication, projection_class=TurnoverProjection, view_class=Turnover, env=options
    )


def main() -> None:
    """Follow the log."""
    with runner(environment(Settings.load())) as running:
        running.run_forever()


if __name__ == "__main__":
    main()
