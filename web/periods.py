"""The models of requests and responses about closed periods."""

from datetime import date
from typing import Annotated

from msgspec import Meta
from pydantic import PlainValidator, WithJsonSchema

from ledger.values.timestamps import parse_day
from web.body import Body, describe
from web.response_fields import Answer, Position, Time, Version
from web.responses import CurrencyBalance


def _day(value: object) -> date:
    if not isinstance(value, str):
        raise ValueError("must be a date, as text")  # noqa: TRY004 - pydantic takes no TypeError
    return parse_day(value)


Day = Annotated[
    date,
    PlainValidator(_day),
    WithJsonSchema(
        {"type": "string", "format": "date", "description": "A day in UTC (RFC 3339)", "examples": ["2026-03-31"]}
    ),
]
AnsweredDay = Annotated[date, Meta(description="The last day, in UTC", examples=["2026-03-31"])]


class NewClosing(Body):
    """`POST /periods/close`. All days through this one, which has ended, are closed."""

    model_config = describe({"through": "2026-03-31"})

    through: Day


class Reopening(Body):
    """`POST /periods/reopen`. The period closed through this day is opened, and all later ones; by default the last."""

    model_config = describe({"through": "2026-03-31"})

    through: Day | None = None


class ClosedPeriod(Answer, frozen=True, kw_only=True):
    """A closed period, and the event that closed it."""

    through: AnsweredDay
    closed_at: Time
    version: Version
    position: Position


class Closing(Answer, frozen=True, kw_only=True):
    """A new closing with the sums at the end of its last day.

    They are those of the trial balance with `effective_at` and `at_position`, and never change.
    """

    through: AnsweredDay
    closed_at: Time
    position: Position
    balanced: bool
    currencies: list[CurrencyBalance]


class ReopenedPeriod(Answer, frozen=True, kw_only=True):
    """The period that was opened again."""

    through: AnsweredDay
    reopened_at: Time
