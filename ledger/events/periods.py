"""The events of closed periods, and the state they fold into.

A period is closed through a day in UTC: from then on, no transaction can have an effective time on that day or before.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar, assert_never

import msgspec

from ledger.values.derived import derived_id

PERIODS = derived_id("periods", "")


class PeriodClosed(msgspec.Struct, frozen=True):
    """All days through this one are closed."""

    TOPIC: ClassVar[str] = "PeriodClosed"

    through: date


class PeriodReopened(msgspec.Struct, frozen=True):
    """The period that was closed through this day is open again, as are all later ones."""

    TOPIC: ClassVar[str] = "PeriodReopened"

    through: date


PeriodEvent = PeriodClosed | PeriodReopened


class Periods(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last days of all closed periods, in order."""

    TOPIC: ClassVar[str] = "Periods"

    ends: tuple[date, ...] = ()

    @property
    def through(self) -> date | None:
        """Return the last closed day, or None if all days are open."""
        return self.ends[-1] if self.ends else None

    def is_closed(self, effective_at: datetime) -> bool:
        """Return whether a time is in a closed period."""
        return self.through is not None and effective_at.astimezone(UTC).date() <= self.through

    def first_open(self) -> datetime | None:
        """Return the start of the first open day; None if all days are open."""
        return None if self.through is None else datetime.combine(self.through, time.min, UTC) + timedelta(days=1)


def evolve(state: Periods | None, event: PeriodEvent) -> Periods:
    """Fold one event into the state."""
    ends = () if state is None else state.ends
    match event:
        case PeriodClosed(through=through):
            return Periods((*ends, through))
        case PeriodReopened(through=through):
            return Periods(tuple(end for end in ends if end < through))
        case _:
            assert_never(event)
