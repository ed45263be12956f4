"""Parse and format timestamps (RFC 3339) in UTC, and parse dates, which stand for a whole day in UTC.

A period includes both its bounds. So a date means its first microsecond as the start of a period, and its last as the
end.
"""

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
DATE_OR_TIME_PATTERN = f"^{_DATE}([Tt]{_TIME})?$"  # also matches dates that do not exist, such as 2026-02-30

_FULL_DATE = re.compile(_DATE, re.ASCII)
_DATE_TIME = re.compile(f"{_DATE}[Tt]{_TIME}", re.ASCII)

_NO_TIME = "must be a time with its zone, such as 2026-05-01T12:00:00Z"
_NO_DATE_OR_TIME = f"must be a date, such as 2026-05-01, or {_NO_TIME.removeprefix('must be ')}"
NOT_IN_CALENDAR = "must be a date and time that exist, in the years 0001 to 9999"


def parse_time(text: str) -> datetime:
    """Parse a timestamp (RFC 3339, section 5.6); return it in UTC, truncated to the microsecond.

    A leap second becomes the second after it. Raises `ValueError`.
    """
    if not _DATE_TIME.fullmatch(text):
        raise ValueError(_NO_TIME)
    return _parse_in_calendar(_convert_time, text)


def parse_start(text: str) -> datetime:
    """Parse a timestamp, or a date as its first microsecond. Raises `ValueError`."""
    return _parse_bound(text, time.min)


def parse_end(text: str) -> datetime:
    """Parse a timestamp, or a date as its last microsecond. Raises `ValueError`."""
    return _parse_bound(text, time.max)


def parse_day(text: str) -> date:
    """Parse a date (RFC 3339, `full-date`). Raises `ValueError`."""
    if not _FULL_DATE.fullmatch(text):
        raise ValueError("must be a date, such as 2026-05-01")
    return _parse_in_calendar(date.fromisoformat, text)


def _parse_bound(text: str, time_of_day: time) -> datetime:
    if _FULL_DATE.fullmatch(text):
        return datetime.combine(_parse_in_calendar(date.fromisoformat, text), time_of_day, UTC)
    if _DATE_TIME.fullmatch(text):
        return _parse_in_calendar(_convert_time, text)
    raise ValueError(_NO_DATE_OR_TIME)


def _parse_in_calendar(parse: Callable[[str], T], text: str) -> T:
    with contextlib.suppress(ValueError, OverflowError):
        return parse(text)
    raise ValueError(NOT_IN_CALENDAR)


def _convert_time(text: str) -> datetime:
    """Convert a text that has the form of a timestamp. Raises `ValueError` or `OverflowError` if it does not exist."""
    clock, fraction, zone = _split_time(text)
    minute = datetime.fromisoformat(clock[:16]).replace(tzinfo=zone).astimezone(UTC)
    if clock.endswith("60"):  # a leap second ends a month in UTC (ITU-R TF.460, annex 1)
        after = minute + timedelta(minutes=1)
        if (after.day, after.hour, after.minute) != (1, 0, 0):
            raise ValueError("no leap second")
    return minute + timedelta(seconds=int(clock[17:]), microseconds=fraction)


def _split_time(text: str) -> tuple[str, int, timezone]:
    """Return the date with the time of day, the microseconds, and the zone."""
    end = -1 if text[-1] in "Zz" else -6
    offset = timedelta() if end == -1 else timedelta(hours=int(text[-5:-3]), minutes=int(text[-2:]))
    digits = text[20:end][:6].ljust(6, "0")
    return text[:19].upper(), int(digits), timezone(-offset if text[end] == "-" else offset)


@lru_cache(maxsize=256)
def rfc3339(timestamp: datetime) -> str:
    """Format a timestamp in UTC, with six decimal places and `Z` (RFC 3339, section 5.6).

    Results are cached because all rows that one database transaction recorded have the same timestamp.
    """
    return timestamp.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
