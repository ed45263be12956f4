"""A log of what repeats in an outage: a line when it begins, then one now and then with a count."""

import time
from typing import Any

import structlog

PAUSE_SECONDS = 10.0  # between two lines about the same thing

log = structlog.get_logger(__name__)


class OutageLog:
    """Logs each event, told apart by its fields, at most once in `PAUSE_SECONDS`, and counts it in between."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], tuple[float, int]] = {}

    def warn(self, event: str, **fields: str) -> None:
        """Log an event, or count it."""
        key, now = (event, *fields.values()), time.monotonic()
        logged_at, count = self._seen.get(key, (-PAUSE_SECONDS, 0))
        if now - logged_at < PAUSE_SECONDS:
            self._seen[key] = logged_at, count + 1
            return
        more: dict[str, Any] = {"more_since_last": count} if count else {}
        log.warning(event, **fields, **more)
        self._seen[key] = now, 0
