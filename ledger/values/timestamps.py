"""Times as text: RFC 3339 in UTC, in and out; and plain dates, each of which is a whole day in UTC.

A period includes both its ends, so a date is its first microsecond as the start of a period, and its last as the end.
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
DATE_OR_TIME_PATTERN = f"^{_DATE}([Tt]{_TIME})?$"  # not all that fits exists: 2026-02-30 does not

_FULL_DATE = re.compile(_DATE, re.ASCII)
_DATE_TIME = re.compile(f"{_DATE}[Tt]{_TIME}", re.ASCII)

_NO_TIME = "must be a time with its zone, such as 2026-05-01T12:00:00Z"
_NO_DATE_OR_TIME = f"must be a date, such as 2026-05-01, or {_NO_TIME.removeprefix('must be ')}"
NOT_IN_CALENDAR = "must be a date and time that exist, in the years 0001 to 9999"


def parse_time(text: str) -> datetime:
    """Return the time that the text says (RFC 3339, section 5.6), in UTC, cut to the microsecond.

    A leap second becomes the second after it. Raises `ValueError`.
    """
    if not _DATE_TIME.fullmatch(text):
        raise ValueError(_NO_TIME)
    return _in_calendar(_time_of, text)


def parse_start(text: str) -> datetime:
    """Return the time, or the first microsecond of the date, that the text says. Raises `ValueError`."""
    return _parse_bound(text, time.min)


def parse_end(text: str) -> datetime:
    """Return the time, or the last microsecond of the date, that the text says. Raises `ValueError`."""
    return _parse_bound(text, time.max)


def _parse_bound(text: str, of_day: time) -> datetime:
    if _FULL_DATE.fullmatch(text):
        return datetime.combine(_in_calendar(date.fromisoformat, text), of_day, UTC)
    if _DATE_TIME.fullmatch(text):
        return _in_calendar(_time_of, text)
    raise ValueError(_NO_DATE_OR_TIME)


def _in_calendar(parse: Callable[[str], T], text: str) -> T:
    with contextlib.suppress(ValueError, OverflowError):
        return parse(text)
    raise ValueError(NOT_IN_CALENDAR)


def _time_of(text: str) -> datetime:
    """Return the time of a text that has the form of one."""
    clock, fraction, zone = _parts(text)
    minute = datetime.fromisoformat(clock[:16]).replace(tzinfo=zone).astimezone(UTC)
    if clock.endswith("60"):  # which is the last second of a month, in UTC (ITU-R TF.460, annex 1)
        after = minute + timedelta(minutes=1)
        if (after.day, after.hour, after.minute) != (1, 0, 0):
            raise ValueError("no leap second")
    return minute + timedelta(seconds=int(clock[17:]), microseconds=fraction)


def _parts(text: str) -> tuple[str, int, timezone]:
    """Return the date and clock time, the microseconds, and the zone."""
    end = -1 if text[-1] in "Zz" else -6
    offset = timedelta() if end == -1 else timedelta(hours=int(text[-5:-3]), minutes=int(text[-2:]))
    digits = text[20:end][:6].ljust(6, "0")
    return text[:19].upper(), int(digits), timezone(-offset if text[end] == "-" else offset)


@lru_cache(maxsize=256)
def rfc3339(moment: datetime) -> str:
    """Return a time in UTC, with `Z` and always six digits of the second (RFC 3339, section 5.6).

    All that one transaction recorded has one time, so most calls ask for what the last one did.
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
