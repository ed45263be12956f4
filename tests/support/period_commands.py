"""Commands that close and reopen periods, drawn for the tests of decisions."""

from datetime import date, timedelta

from hypothesis import strategies as st

from ledger.commands.periods import ClosePeriod, ReopenPeriod
from tests.support.ledgers import NOON

days = st.integers(-2, 2).map(lambda number: NOON.date() + timedelta(days=number))
closings = st.builds(lambda day: ClosePeriod(through=day, today=date(2026, 5, 4)), days)
reopenings = st.builds(lambda day: ReopenPeriod(through=day), st.none() | days)
