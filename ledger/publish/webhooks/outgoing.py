"""What a webhook sends, and with which secrets it signs."""

from typing import NamedTuple

from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks.choice import Choice
from ledger.publish.webhooks.sender import Answer, Sender
from ledger.publish.webhooks.signature import make_headers

UNSIGNED = Answer(None, "nothing was sent: the secret that signs cannot be read", "", 0)


class Outgoing(NamedTuple):
    """A webhook with what it sends, and the secrets that sign, each with the time at which it ends."""

    webhook: ActiveWebhook
    choice: Choice
    secrets: tuple[tuple[bytes, int | None], ...]

    def __repr__(self) -> str:
        """Return the id of the webhook, and no secret."""
        return f"Outgoing({self.webhook.id})"

    def valid_secrets(self, now: float) -> list[bytes]:
        """Return the secrets that sign now, the newest first."""
        return [secret for secret, ends_at in self.secrets if ends_at is None or now < ends_at]

    async def send(self, sender: Sender, message: str, now: float, body: bytes) -> Answer:
        """Send a message with this id to the endpoint, signed, and return the result."""
        secrets = self.valid_secrets(now)
        if not secrets:
            return UNSIGNED
        return await sender.send(self.webhook.settings.url, make_headers(secrets, message, int(now), body), body)
