"""What a webhook may send now, as requests about it ask before they change anything."""

from uuid import UUID

from ledger.projections import clients, webhooks
from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks import registry
from ledger.publish.webhooks.choice import Audience, Choice, LoggedEvent
from ledger.store.connections import Reader
from ledger.store.log_pages import read_at


async def has_client(reader: Reader, webhook: ActiveWebhook) -> bool:
    """Return whether the client of a webhook may have webhooks. One of the admins needs no client."""
    return await _find_choice(reader, webhook) is not None


async def sends(reader: Reader, webhook_id: UUID, position: int) -> bool:
    """Return whether a webhook chooses the event at a position of the log, and may send it."""
    webhook = await webhooks.find_active(reader, webhook_id)
    choice = None if webhook is None else await _find_choice(reader, webhook)
    if choice is None:
        return False
    events = [LoggedEvent(stored) for stored in await read_at(reader, [position])]
    await Audience(reader).describe(events)
    return any(choice.includes(event) for event in events)


async def _find_choice(reader: Reader, webhook: ActiveWebhook) -> Choice | None:
    """Return what a webhook sends; None if its client was revoked, or has lost the scope."""
    if webhook.client_id is None:
        return registry.make_outgoing(webhook, None, ()).choice
    standing = (await clients.read_standings(reader, [webhook.client_id])).get(webhook.client_id)
    return registry.make_outgoing(webhook, standing, ()).choice if registry.may_have_webhooks(standing) else None
