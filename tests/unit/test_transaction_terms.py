"""The terms of a period cover each of its days once."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from ledger.projections.transaction_terms import cover_days, date_terms

DAYS = st.dates(date(2023, 1, 1), date(2026, 12, 31))


def terms_of(day: date) -> tuple[int, int, int]:
    return date_terms(datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC))


@given(DAYS, DAYS)
@example(date(2024, 1, 1), date(2024, 12, 31))
@example(date(2024, 2, 1), date(2024, 2, 29))
@example(date(2023, 12, 31), date(2024, 1, 1))
@example(date(2023, 12, 2), date(2025, 1, 30))
@example(date(2024, 5, 5), date(2024, 5, 4))
def test_each_day_is_covered_once(first: date, last: date) -> None:
    cover = cover_days(first, last)
    covering = [*cover.years, *cover.others]
    assert len(covering) == len(set(covering)) <= 2 * (30 + 11) + 4
    day = date(2022, 12, 25)
    while day < date(2027, 1, 6):
        assert (first <= day <= last) == len({*terms_of(day)} & {*covering}), day
        day += timedelta(days=1)


def test_a_period_without_ends_has_few_terms_beside_years() -> None:
    cover = cover_days(date.min, date.max)
    assert (range(1, 10_000), 0) == (cover.years, len(cover.others))
    for first, last in ((date.min, date(2026, 5, 17)), (date(2026, 5, 17), date.max)):
        cover = cover_days(first, last)
        assert len(cover.others) < 40
        assert 2026 not in cover.years


def test_the_terms_of_a_time_are_those_of_its_day_in_utc() -> None:
    time = datetime.fromisoformat("2026-01-01T00:30:00+01:00")
    assert terms_of(date(2025, 12, 31)) == date_terms(time)
