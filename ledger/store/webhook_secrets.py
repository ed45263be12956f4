"""The encrypted secrets of webhooks, by the streams of the webhooks."""

from collections.abc import Collection
from uuid import UUID

from ledger.store.connections import Reader


async def read_stored_secrets(reader: Reader, webhook_ids: Collection[UUID]) -> dict[UUID, dict[UUID, bytes]]:
    """Return the stored secrets of these webhooks, each by its id."""
    rows = await reader.fetch(
        "SELECT webhook_id, id, secret FROM webhook_secrets WHERE webhook_id = ANY($1)", webhook_ids
    )
    found: dict[UUID, dict[UUID, bytes]] = {}
    for webhook_id, secret_id, sealed in rows:
        found.setdefault(webhook_id, {})[secret_id] = sealed
    return found
