"""A webhook with its secrets, as logs and errors could show it, and the clock of its deliveries."""

from datetime import UTC, datetime

from ledger.events.webhooks import WebhookSettings
from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks.choice import Choice
from ledger.publish.webhooks.clock import Clock
from ledger.publish.webhooks.outgoing import Outgoing
from ledger.publish.webhooks.registry import Registered
from ledger.values.ids import new_id


def test_no_secret_is_shown() -> None:
    webhook = ActiveWebhook(new_id(), WebhookSettings("https://example.com/?key=1"), None, (), 0, 0, datetime.now(UTC))
    outgoing = Outgoing(webhook, Choice(), ((b"the secret", None),))
    for shown in (repr(outgoing), str(outgoing), repr(Registered({webhook.id: outgoing}, []))):
        assert "the secret" not in shown
        assert str(webhook.id) in shown


class BackwardClock(Clock):
    """A clock that is set back by a year after it was first read."""

    def __init__(self) -> None:
        self._reads = 0

    def time(self) -> float:
        """Return the time."""
        self._reads += 1
        return super().time() - (0 if self._reads <= 2 else 365 * 86_400)


async def test_a_clock_that_is_set_back_ends_no_later() -> None:
    clock = BackwardClock()
    await clock.sleep_until(Clock().time() + 0.01)
