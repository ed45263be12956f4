"""Who owned accounts and which codes they had at a position, and since which positions."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION


class AccountPlace(NamedTuple):
    """The owner and the code of an account, both unchanged since a position; None if there is none."""

    owner_id: UUID | None
    code: str | None
    since: int


async def read_places(
    reader: Reader, account_ids: Collection[UUID], position: int = MAX_POSITION
) -> dict[UUID, AccountPlace]:
    """Return the owners and codes that accounts had at a position, or have now."""
    rows = await reader.fetch(
        """SELECT id, owner.user_id, label.code, greatest(owner.position, label.position, 0)
           FROM unnest($1::uuid[]) AS id
           LEFT JOIN LATERAL (SELECT user_id, position FROM account_owners AS past
                              WHERE past.account_id = id AND past.position <= $2
                              ORDER BY past.position DESC LIMIT 1) AS owner ON true
           LEFT JOIN LATERAL (SELECT code, position FROM account_label_history AS past
                              WHERE past.account_id = id AND past.position <= $2
                              ORDER BY past.position DESC LIMIT 1) AS label ON true""",
        account_ids,
        position,
    )
    return {row[0]: AccountPlace(row[1], row[2], row[3]) for row in rows}
