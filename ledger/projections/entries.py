"""Statement lines: one row for each debit and credit, numbered by the account's version, with the balance after it."""

from collections.abc import Sequence

from ledger.events import Recorded
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.statements import Statement, columns, integers, times, uuids


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """A row an entry; debits are negative."""
    entries = [(row, row.event) for row in events if isinstance(row.event, AccountDebited | AccountCredited)]
    if not entries:
        return []
    return [
        Statement(
            f"""INSERT INTO entries (account_id, version, position, recorded_at, transfer_id, amount_cents,
                                     balance_cents)
                SELECT account_id, version, first_position + number, coalesce(at, recorded_at), transfer_id,
                       amount_cents, balance_cents
                FROM {columns("uuid", "bigint", "bigint", "timestamptz", "uuid", "bigint", "bigint")}
                     AS new(account_id, version, number, at, transfer_id, amount_cents, balance_cents), reserved""",
            (
                uuids(row.stream_id for row, _ in entries),
                integers(row.version for row, _ in entries),
                integers(row.position for row, _ in entries),
                times([row.recorded_at for row, _ in entries]),
                uuids(entry.transfer_id for _, entry in entries),
                integers(
                    entry.amount_cents if type(entry) is AccountCredited else -entry.amount_cents
                    for _, entry in entries
                ),
                integers(entry.balance_cents for _, entry in entries),
            ),
        )
    ]
