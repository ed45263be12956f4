"""The owners of accounts: one row for each, with the version and the position from which on they owned the account.

A user sees an account's history of the time in which it was theirs, and no other part of it.
"""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from ledger.events import Recorded
from ledger.events.accounts import OWNERSHIP_EVENTS, AccountOpened, AccountOwnerChanged
from ledger.projections.table import POSITION, Column, Index, Table, encode_columns, insert
from ledger.store.statements import Statement

HANDLED = frozenset(OWNERSHIP_EVENTS)

ACCOUNT_OWNERS = Table(
    name="account_owners",
    key=("account_id", "version"),
    stream="account_id",
    columns=(
        Column("account_id", "uuid"),
        Column("version", "bigint"),
        Column("user_id", "uuid", optional=True),
        Column("position", "bigint", POSITION),
    ),
    indexes=(
        Index("account_owners_position_idx", '(account_id, "position")'),
        Index("account_owners_user_idx", "(user_id, account_id)"),
    ),
    changes="never",
)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the insert of one row for each opening and change of owner."""
    rows = [_Row(row) for row in events if type(row.event) in HANDLED]
    return [insert(ACCOUNT_OWNERS, encode_columns(ACCOUNT_OWNERS, ACCOUNT_OWNERS.names, rows))] if rows else []


class _Row:
    """The values of the columns of one row."""

    __slots__ = ("account_id", "position", "user_id", "version")

    def __init__(self, recorded: Recorded) -> None:
        self.account_id, self.version, self.position = recorded.stream_id, recorded.version, recorded.position
        self.user_id: UUID | None = cast("AccountOpened | AccountOwnerChanged", recorded.event).owner_id


def owner_at(account_id: str, position: str) -> str:
    """Return SQL for the owner of an account at a position."""
    return f"""(SELECT owner.user_id FROM account_owners AS owner
                WHERE owner.account_id = {account_id} AND owner.position <= {position}
                ORDER BY owner.position DESC LIMIT 1)"""
