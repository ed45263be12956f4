"""What a webhook sends, and with which secrets it signs."""

from typing import NamedTuple

from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks.choice import Choice


class Outgoing(NamedTuple):
    """A webhook with what it sends, and the secrets that sign, each with the time at which it ends."""

    webhook: ActiveWebhook
    choice: Choice
    secrets: tuple[tuple[bytes, int | None], ...]

    def valid_secrets(self, now: float) -> list[bytes]:
        """Return the secrets that sign now, the newest first."""
        return [secret for secret, ends_at in self.secrets if ends_at is None or now < ends_at]
