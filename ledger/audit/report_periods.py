"""The periods with which a period is compared: the one before it, and the same one a year earlier. Pure."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

NEEDS_BOUNDS = "needs a period with both ends"
BACKWARDS = "must not be before the start of the period"
OUTSIDE_CALENDAR = "needs a period that has such a one in the calendar"
_INSTANT = timedelta(microseconds=1)


class Period(NamedTuple):
    """A range of times, both ends included; None stands for an open end."""

    first: datetime | None = None
    last: datetime | None = None


class Comparison(StrEnum):
    """With which period one is compared."""

    PREVIOUS = "previous"
    YEAR = "year"


def find_other(period: Period, comparison: Comparison) -> Period:
    """Return the period with which one is compared. Raises `ValueError` if it has an open end, or there is none.

    Before whole months there are as many whole months; before any other period one of the same length.
    """
    if period.first is None or period.last is None:
        raise ValueError(NEEDS_BOUNDS)
    try:
        return _find_other(period.first.astimezone(UTC), period.last.astimezone(UTC) + _INSTANT, comparison)
    except (OverflowError, ValueError) as error:
        raise ValueError(OUTSIDE_CALENDAR) from error


def _find_other(first: datetime, end: datetime, comparison: Comparison) -> Period:
    if comparison is Comparison.YEAR:
        return Period(_add_months(first, -12), _add_months(end, -12) - _INSTANT)
    if _begins_month(first) and _begins_month(end):
        return Period(_add_months(first, _number_month(first) - _number_month(end)), first - _INSTANT)
    return Period(first - (end - first), first - _INSTANT)


def _begins_month(time: datetime) -> bool:
    return time == time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _number_month(time: datetime) -> int:
    return 12 * time.year + time.month - 1


def _add_months(time: datetime, months: int) -> datetime:
    """Return the same time of day and month so many months later, or on the last day of a shorter month."""
    year, month = divmod(_number_month(time) + months, 12)
    return time.replace(year=year, month=month + 1, day=min(time.day, monthrange(year, month + 1)[1]))
