"""The encrypted secrets of second factors, by the streams of the factors."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Reader


class StoredFactor(NamedTuple):
    """A row of the table: the encrypted secret of a factor."""

    id: UUID
    secret: bytes


async def read_stored_factors(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, StoredFactor]:
    """Return the stored secrets of these streams."""
    rows = await reader.fetch("SELECT stream_id, id, secret FROM second_factors WHERE stream_id = ANY($1)", stream_ids)
    return {row["stream_id"]: StoredFactor(row["id"], row["secret"]) for row in rows}
