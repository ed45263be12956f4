"""The identity of a ledger: an id assigned when its database is created and shared by every copy of it."""

from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Reader


class Identity(NamedTuple):
    """The id of a ledger, and the key that authenticates what its processes keep in Redis."""

    ledger_id: UUID
    cache_key: bytes


async def read_identity(reader: Reader) -> Identity:
    """Return the identity of the ledger that this database holds."""
    row = await reader.fetchrow("SELECT id, cache_key FROM ledger_identity")
    assert row is not None  # noqa: S101 - a migration inserts it
    return Identity(*row)


async def read_ledger_id(reader: Reader) -> UUID:
    """Return the id of the ledger that this database holds."""
    ledger_id: UUID = await reader.fetchval("SELECT id FROM ledger_identity")
    return ledger_id
