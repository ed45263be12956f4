"""The owners of accounts: one row for each, with the version and the position from which on they owned the account.

A user sees an account's history of the time in which it was theirs, and no other part of it. So does a client that is
limited to users; one that is limited to an account by its id sees the whole of it.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast
from uuid import UUID

from ledger.events import Recorded
from ledger.events.accounts import OWNERSHIP_EVENTS, AccountOpened, AccountOwnerChanged
from ledger.projections.table import POSITION, Column, Index, Table, encode_columns, insert
from ledger.store.connections import Reader
from ledger.store.sql import Party, belongs_to
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


class Span(NamedTuple):
    """A part of an account's history: versions and positions from the first, included, to the next, excluded.

    None is the end of a part that goes on.
    """

    first_version: int
    next_version: int | None
    first_position: int
    next_position: int | None

    def has_version(self, version: int) -> bool:
        """Return whether a version is in this part."""
        return self.first_version <= version and (self.next_version is None or version < self.next_version)


WHOLE = Span(1, None, 1, None)


def ever_of(party: Party) -> str:
    """Return the query for the ids of the accounts that belong to a party, or did, which is the parameter `{0}`."""
    return f"SELECT account_id FROM account_owners WHERE {belongs_to(party, 'user_id', 'account_id')}"


def spans_of(party: Party) -> str:
    """Return the query for the spans in which accounts belonged to a party, which is the parameter `{0}`."""
    return f"""
SELECT * FROM (
    SELECT account_id, user_id AS owner_id, version AS first_version, position AS first_position,
           lead(version) OVER later AS next_version, lead(position) OVER later AS next_position
    FROM account_owners WHERE account_id IN ({ever_of(party)})
    WINDOW later AS (PARTITION BY account_id ORDER BY version)) AS span
WHERE {belongs_to(party, "owner_id", "account_id")}"""


async def read_spans(reader: Reader, account_id: UUID, party: Party) -> list[Span]:
    """Return the parts of an account's history in which it belonged to a party, oldest first."""
    rows = await reader.fetch(
        f"""SELECT first_version, next_version, first_position, next_position
            FROM ({spans_of(party).format("$2")}) AS owned WHERE account_id = $1 ORDER BY first_version""",
        account_id,
        party,
    )
    return [Span(*row) for row in rows]


async def did_belong(reader: Reader, account_id: UUID, party: Party, position: int) -> bool:
    """Return whether an account belonged to a party at a position."""
    condition = belonged_to(party, "id", "$3").format("$2")
    return bool(
        await reader.fetchval(f"SELECT {condition} FROM (SELECT $1::uuid AS id) AS one", account_id, party, position)
    )


def belonged_to(party: Party, account_id: str, position: str) -> str:
    """Return the condition that an account belonged to a party at a position; the party is the parameter `{0}`."""
    return belongs_to(party, owner_at(account_id, position), account_id)


def owner_at(account_id: str, position: str) -> str:
    """Return SQL for the owner of an account at a position."""
    return f"""(SELECT owner.user_id FROM account_owners AS owner
                WHERE owner.account_id = {account_id} AND owner.position <= {position}
                ORDER BY owner.position DESC LIMIT 1)"""
