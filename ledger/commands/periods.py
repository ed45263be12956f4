"""Closing and reopening periods, and the rule that nothing has an effective time in a closed one."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

from ledger import errors
from ledger.commands.command import Command, Decision, States, state_of
from ledger.errors import Refused
from ledger.events.periods import PERIODS, PeriodClosed, PeriodReopened, Periods

NOT_ENDED = "must be a day that has ended (UTC)"
NOT_CLOSED = "must be the last day of a closed period"


class ClosePeriod(Command, frozen=True, kw_only=True):
    """Close all days through one that is before `today`.

    Later events are recorded later, so no transaction without an effective time can fall into the period.
    """

    name: ClassVar[str] = "ClosePeriod"
    always_appends: ClassVar[bool] = True

    through: date
    today: date

    def streams(self) -> Iterable[UUID]:
        """Return the stream of the periods."""
        return (PERIODS,)

    def decide(self, states: States) -> Decision:
        """Return the closing. Raises `Refused` if the day has not ended or is closed already."""
        periods = state_of(states, PERIODS, Periods) or Periods()
        if self.through >= self.today:
            raise Refused(errors.invalid("/through", NOT_ENDED))
        if periods.through is not None and self.through <= periods.through:
            raise Refused(errors.period_closed(periods.through, "/through"))
        return Decision([(PERIODS, PeriodClosed(self.through))], {"through": self.through.isoformat()})


class ReopenPeriod(Command, frozen=True, kw_only=True):
    """Open the period that was closed through a day, and all later ones; without a day, the last period."""

    name: ClassVar[str] = "ReopenPeriod"
    always_appends: ClassVar[bool] = True

    through: date | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the stream of the periods."""
        return (PERIODS,)

    def decide(self, states: States) -> Decision:
        """Return the reopening. Raises `Refused` if no period was closed through that day."""
        periods = state_of(states, PERIODS, Periods) or Periods()
        through = self.through or periods.through
        if through is None or through not in periods.ends:
            raise Refused(errors.invalid("/through", NOT_CLOSED))
        return Decision([(PERIODS, PeriodReopened(through))], {"through": through.isoformat()})


def period_streams(effective_at: datetime | None) -> tuple[UUID, ...]:
    """Return the stream that a transaction with this effective time must read; none without one."""
    return () if effective_at is None else (PERIODS,)


def check_open(states: States, effective_at: datetime | None) -> None:
    """Raise `Refused` if an effective time is in a closed period."""
    if effective_at is None:
        return
    periods = state_of(states, PERIODS, Periods)
    if periods is not None and periods.through is not None and periods.is_closed(effective_at):
        raise Refused(errors.period_closed(periods.through))


def move_to_open(states: States, effective_at: datetime | None) -> datetime | None:
    """Return an effective time, or if that is in a closed period, the start of the first open day."""
    if effective_at is None:
        return None
    periods = state_of(states, PERIODS, Periods)
    return periods.first_open() if periods is not None and periods.is_closed(effective_at) else effective_at
