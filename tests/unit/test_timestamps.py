"""RFC 3339 times and plain dates: the meaning of each spelling, and which spellings are refused."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.values.timestamps import DATE_OR_TIME_PATTERN, parse_end, parse_start, parse_time, rfc3339

SPELLINGS = {
    "2026-05-01T12:00:00Z": datetime(2026, 5, 1, 12, tzinfo=UTC),
    "2026-05-01t12:00:00z": datetime(2026, 5, 1, 12, tzinfo=UTC),
    "2026-05-01T12:00:00.5Z": datetime(2026, 5, 1, 12, 0, 0, 500_000, UTC),
    "2026-05-01T12:00:00.123456Z": datetime(2026, 5, 1, 12, 0, 0, 123_456, UTC),
    "2026-05-01T12:00:00.123456999Z": datetime(2026, 5, 1, 12, 0, 0, 123_456, UTC),
    "2026-05-01T23:59:59.9999999999999999999999Z": datetime(2026, 5, 1, 23, 59, 59, 999_999, UTC),
    "2026-05-01T12:00:00-00:00": datetime(2026, 5, 1, 12, tzinfo=UTC),
    "2026-05-01T12:00:00.25+05:45": datetime(2026, 5, 1, 6, 15, 0, 250_000, UTC),
    "2026-05-01T12:00:00+23:59": datetime(2026, 4, 30, 12, 1, tzinfo=UTC),
    "2026-05-01T12:00:00-23:59": datetime(2026, 5, 2, 11, 59, tzinfo=UTC),
    "2016-12-31T23:59:60Z": datetime(2017, 1, 1, tzinfo=UTC),
    "2016-12-31T23:59:60.75Z": datetime(2017, 1, 1, 0, 0, 0, 750_000, UTC),
    "1990-12-31T15:59:60-08:00": datetime(1991, 1, 1, tzinfo=UTC),
    "2015-07-01T08:59:60+09:00": datetime(2015, 7, 1, tzinfo=UTC),
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59.9999999Z": datetime.max.replace(tzinfo=UTC),
}
MALFORMED = [
    *("", "noon", "2026-05-01T12:00:00", "2026-05-01 12:00:00Z", "2026-05-01T12:00Z", "2026-05-01T12Z", "20260501"),
    *("2026-05-01T12:00:00,5Z", "2026-05-01T12:00:00.Z", "2026-05-01T12:00:00+0200", "2026-05-01T12:00:00+24:00"),
    *("2026-05-01T24:00:00Z", "2026-05-01T12:60:00Z", "2026-05-01T12:00:61Z", "2026-05-01T12:00:00 02:00", "2026-05"),
    *("2026-13-01", "2026-05-32", "2026-00-01", "2026-05-00", "-2026-05-01", "+2026-05-01", "12026-05-01", "2026-5-1"),
    *("2026-05-01T12:00:00Z\n", "2026-05-01\n", " 2026-05-01", "2026-05-01Z", "\u0662026-05-01", "2026-W18-5"),
]
OF_NO_CALENDAR = [
    *("2026-02-29T12:00:00Z", "2026-04-31T12:00:00Z", "0000-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z"),
    *("2026-05-01T12:00:60Z", "2026-05-01T23:59:60Z", "2016-12-31T22:59:60Z", "2016-12-31T23:59:60+01:00"),
]


@pytest.mark.parametrize(("text", "expected"), SPELLINGS.items())
def test_every_rfc_3339_spelling_of_a_time_is_accepted(text: str, expected: datetime) -> None:
    assert [expected] * 3 == [parse(text) for parse in (parse_time, parse_start, parse_end)]
    assert re.search(DATE_OR_TIME_PATTERN, text)


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_time_is_refused(text: str) -> None:
    for parse in (parse_time, parse_start, parse_end):
        with pytest.raises(ValueError, match="such as"):
            parse(text)
    assert not re.fullmatch(DATE_OR_TIME_PATTERN.removeprefix("^").removesuffix("$"), text, re.ASCII)


@pytest.mark.parametrize("text", OF_NO_CALENDAR)
def test_a_time_that_does_not_exist_is_refused(text: str) -> None:
    """A leap second is the last second of a month in UTC, whatever the offset."""
    for parse in (parse_time, parse_start, parse_end):
        with pytest.raises(ValueError, match="exist"):
            parse(text)


@pytest.mark.parametrize("text", ["2026-02-29", "0000-12-31"])
def test_a_date_that_does_not_exist_is_refused(text: str) -> None:
    for parse in (parse_start, parse_end):
        with pytest.raises(ValueError, match="exist"):
            parse(text)


@given(st.dates())
def test_a_date_is_a_whole_day_in_utc(day: date) -> None:
    start, end = parse_start(day.isoformat()), parse_end(day.isoformat())

    assert (day, day) == (start.date(), end.date())
    assert timedelta(days=1, microseconds=-1) == end - start
    assert (UTC, UTC) == (start.tzinfo, end.tzinfo)


def test_a_date_is_not_a_time() -> None:
    with pytest.raises(ValueError, match="must be a time with its zone"):
        parse_time("2026-05-01")


offsets = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets)  # noqa: DTZ001 - the zone is added


@given(moments, st.text("0123456789", max_size=20))
def test_a_time_is_the_same_in_every_zone_and_with_more_digits(moment: datetime, digits: str) -> None:
    text = moment.isoformat(timespec="microseconds")

    assert moment == parse_time(text) == parse_time(text[:26] + digits + text[26:]) == parse_time(rfc3339(moment))
    assert UTC == parse_time(text).tzinfo
