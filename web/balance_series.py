"""The models of the response with the balance of an account over time."""

from typing import Annotated

from msgspec import Meta

from ledger.audit.balance_series import MAX_POINTS
from ledger.money import MAX_CENTS
from web.response_fields import Answer, Cents, Id, Position, Time


class BalancePoint(Answer, frozen=True, kw_only=True):
    """The state of an account from a time on, until the next point. The balance and what is held are exact.

    The first point of a period has its beginning as `at`. Holds count until their end is recorded.
    """

    at: Time
    position: Annotated[Position, Meta(description="The position of the account's last event by then")]
    balance_cents: Cents
    held_cents: Annotated[int, Meta(ge=0, le=MAX_CENTS, description="Set aside by pending holds", examples=[0])]


class BalanceSeries(Answer, frozen=True, kw_only=True):
    """The balance of an account over time, as a step line, oldest first."""

    account_id: Id
    position: Annotated[int, Meta(ge=0, description="The position up to which the log was read", examples=[42])]
    complete: Annotated[
        bool, Meta(description="Whether every extreme is a point; false for a period with very many entries")
    ]
    points: Annotated[list[BalancePoint], Meta(max_length=MAX_POINTS)]
