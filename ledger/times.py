"""Times as text: RFC 3339 in UTC, in and out."""

import contextlib
import re
from datetime import UTC, datetime
from functools import lru_cache

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_time(text: str) -> datetime:
    """The time of this text (RFC 3339, section 5.6), in UTC. Raises `ValueError`."""
    if _RFC3339.fullmatch(text):
        with contextlib.suppress(ValueError, OverflowError):  # no such day; no year from 1 to 9999
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    raise ValueError("must be a time with its zone, such as 2026-05-01T12:00:00Z")


@lru_cache(maxsize=256)
def rfc3339(moment: datetime) -> str:
    """A time in UTC, with `Z` and always six digits of the second (RFC 3339, section 5.6).

    All that one transaction recorded has one time, so most calls ask for what the last one did.
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
