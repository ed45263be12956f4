"""Sends a test through a webhook: an event that is not in the log."""

import time
from datetime import UTC, datetime
from uuid import UUID

from ledger.events.notices import WEBHOOK_TESTED, encode_test
from ledger.identity.secret_box import SecretBox
from ledger.projections import webhooks
from ledger.publish.webhooks import cursors, registry
from ledger.publish.webhooks.cursors import Delivery
from ledger.publish.webhooks.sender import Sender
from ledger.store.connections import Pool
from ledger.store.webhook_secrets import read_stored_secrets
from ledger.values.ids import new_id


async def send_test(pool: Pool, box: SecretBox, sender: Sender, ledger_id: UUID, webhook_id: UUID) -> Delivery | None:
    """Send a test to the endpoint of a webhook, and return the result; None if there is no such webhook."""
    webhook = await webhooks.find_active(pool, webhook_id)
    if webhook is None:
        return None
    sealed = (await read_stored_secrets(pool, [webhook_id])).get(webhook_id, {})
    outgoing = registry.make_outgoing(webhook, None, registry.open_secrets(box, webhook, sealed))
    test_id, now = new_id(), time.time()
    body = encode_test(ledger_id, webhook_id, test_id, datetime.fromtimestamp(now, UTC))
    answer = await outgoing.send(sender, f"test_{test_id.hex}", now, body)
    delivery = Delivery(
        webhook_id=webhook_id,
        id=test_id,
        kind="test",
        position=None,
        topic=WEBHOOK_TESTED,
        attempt=1,
        status=answer.status,
        error=answer.error,
        answer=answer.beginning,
        milliseconds=answer.milliseconds,
        sent_at=datetime.fromtimestamp(now, UTC),
    )
    await cursors.record(pool, delivery)
    return delivery
