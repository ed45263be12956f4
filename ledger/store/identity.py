"""The identity of a ledger: an id assigned when its database is created and shared by every copy of it."""

from uuid import UUID

from ledger.store.connections import Reader


async def read_ledger_id(reader: Reader) -> UUID:
    """Return the id of the ledger that this database holds."""
    ledger_id: UUID = await reader.fetchval("SELECT id FROM ledger_identity")
    return ledger_id
