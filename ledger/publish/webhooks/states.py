"""How many webhooks deliver, fail or are disabled, and how far the last of them is behind, for metrics."""

from typing import NamedTuple

from ledger.projections.webhooks import ENABLED
from ledger.store.connections import Reader
from ledger.store.sql import lag_seconds


class WebhookStates(NamedTuple):
    """The number of webhooks by state, and the age of the oldest event that an enabled one has yet to send."""

    delivering: int
    failing: int
    disabled: int
    behind_seconds: float


async def read_states(reader: Reader) -> WebhookStates:
    """Count the webhooks. Those that have never sent anything deliver."""
    row = await reader.fetchrow(_STATES, ENABLED)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return WebhookStates(*row)


_STATES = f"""
SELECT count(*) FILTER (WHERE enabled AND NOT failing), count(*) FILTER (WHERE enabled AND failing),
       count(*) FILTER (WHERE NOT enabled), coalesce(max({lag_seconds("sent")}) FILTER (WHERE enabled), 0)
FROM (SELECT status = $1 AS enabled, coalesce(pending @? '$[*] ? (@.failures > 0)', false) AS failing,
             least(webhook_cursors."position", first_pending - 1) AS sent
      FROM webhooks LEFT JOIN webhook_cursors ON webhook_id = id,
           LATERAL (SELECT min((one ->> 'position')::bigint) AS first_pending
                    FROM jsonb_array_elements(pending) AS one) AS waiting) AS counted
"""
