"""The identity of a ledger: an id that its database was given when it was created, and that copies of it share."""

from uuid import UUID

from ledger.store.connections import Reader


async def read_ledger_id(reader: Reader) -> UUID:
    """Return the id of the ledger that this database holds."""
    ledger_id: UUID = await reader.fetchval("SELECT id FROM ledger_identity")
    return ledger_id
