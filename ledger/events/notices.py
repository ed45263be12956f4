"""CloudEvents that are in no log: the test of a webhook, and what begins a replay in a stream of JetStream."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from ledger.events.cloud import event_source
from ledger.values.timestamps import rfc3339

WEBHOOK_TESTED, PUBLISHING_STARTED = "WebhookTested", "PublishingStarted"
_LEDGER = UUID("01890a5d-ac96-774b-bcce-b302099a8080")
_WEBHOOK = UUID("01890a5d-ac96-774b-bcce-b302099a80a0")
_ID = UUID("01890a5d-ac96-774b-bcce-b302099a80a1")


class Notice(NamedTuple):
    """What a notice means, and a sample."""

    text: str
    sample: Mapping[str, object]


def encode_test(ledger_id: UUID, webhook_id: UUID, test_id: UUID, sent_at: datetime) -> bytes:
    """Return the CloudEvent of a test of a webhook."""
    return msgspec.json.encode(_build_test(ledger_id, webhook_id, test_id, sent_at))


def encode_start(ledger_id: UUID, message_id: str, after: int) -> bytes:
    """Return the CloudEvent that begins a replay of the events after a position."""
    return msgspec.json.encode(_build_start(ledger_id, message_id, after))


def _build_test(ledger_id: UUID, webhook_id: UUID, test_id: UUID, sent_at: datetime) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"{ledger_id}:test:{test_id}",
        "source": event_source(ledger_id),
        "type": "ledger.WebhookTested.v1",
        "subject": str(webhook_id),
        "time": rfc3339(sent_at),
        "datacontenttype": "application/json",
        "data": {"webhook_id": str(webhook_id)},
    }


def _build_start(ledger_id: UUID, message_id: str, after: int) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": event_source(ledger_id),
        "type": "ledger.publishing.started.v1",
        "position": str(after),
    }


NOTICES: Mapping[str, Notice] = {
    WEBHOOK_TESTED: Notice(
        "Somebody tests a webhook. Answer with 2xx, and do nothing else.",
        _build_test(_LEDGER, _WEBHOOK, _ID, datetime(2026, 5, 1, 12, tzinfo=UTC)),
    ),
    PUBLISHING_STARTED: Notice(
        "A replay begins: the events after its `position` follow, whether they were published before or not.",
        _build_start(_LEDGER, f"{_LEDGER}:41:{_ID}", 41),
    ),
}
