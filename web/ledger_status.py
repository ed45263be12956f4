"""The models of the response with the status of the whole ledger."""

from typing import Annotated, Literal

from msgspec import Meta

from ledger.seals.store import MAX_UNSEALED
from web.response_fields import Answer, Time
from web.responses import CurrencyBalance

_Count = Annotated[int, Meta(ge=0, examples=[3])]
_Place = Annotated[int, Meta(ge=0, description="A position of the log; 0 if there is none", examples=[42])]
_Seconds = Annotated[float, Meta(ge=0, examples=[0.4])]


class ActivityStatus(Answer, frozen=True, kw_only=True):
    """How often money moved in each of the last 60 minutes: transfers, journal entries, and captures of holds."""

    since: Annotated[Time, Meta(description="When the first of these minutes began")]
    per_minute: Annotated[
        list[int | None],
        Meta(
            min_length=60,
            max_length=60,
            description="The present minute is the last. Null if the worker has not counted a busy minute yet",
            examples=[[0] * 59 + [12]],
        ),
    ]


class SealStatus(Answer, frozen=True, kw_only=True):
    """The last sealed block, and what is not sealed yet."""

    enabled: Annotated[bool, Meta(description="Whether this worker knows a sealing key")]
    anchored: Annotated[bool, Meta(description="Whether heads of the chain are sent elsewhere")]
    block: Annotated[int | None, Meta(description="The number of the last block", examples=[128])]
    sealed_at: Time | None
    sealed_position: _Place
    unsealed_events: Annotated[int, Meta(ge=0, description=f"At most {MAX_UNSEALED:,} are counted", examples=[0])]
    oldest_unsealed_at: Time | None
    stopped: Annotated[bool, Meta(description="Whether sealing waits for an operator")]


class FollowerState(Answer, frozen=True, kw_only=True):
    """A task that processes the log after the fact."""

    name: Annotated[str, Meta(examples=["seals"])]
    state: Annotated[Literal["following", "failing", "stopped", "not running"], Meta(examples=["following"])]
    position: _Place
    lag_events: _Count
    lag_seconds: _Seconds
    error: Annotated[str | None, Meta(description="What holds it up", examples=["Redis does not answer"])]


class HoldBucket(Answer, frozen=True, kw_only=True):
    """A number of holds up to a bound, and beyond the one of the bucket before."""

    below_seconds: Annotated[int | None, Meta(description="Null in the last bucket", examples=[3600])]
    holds: _Count


class HoldSummary(Answer, frozen=True, kw_only=True):
    """The holds that are pending, and those that have expired although that is not recorded yet."""

    pending: _Count
    overdue: _Count
    complete: Annotated[bool, Meta(description="False if there are more holds than are counted")]
    pending_by_age: Annotated[list[HoldBucket], Meta(description="By the time since they were placed")]
    overdue_by_delay: Annotated[list[HoldBucket], Meta(description="By the time since they expired")]


class LedgerStatus(Answer, frozen=True, kw_only=True):
    """The status of the whole ledger at one position, as a worker has read it within the last seconds."""

    read_at: Time
    position: _Place
    recorded_at: Annotated[Time | None, Meta(description="When the last event was recorded")]
    first_position: _Place
    first_recorded_at: Time | None
    balanced: Annotated[bool, Meta(description="Whether debits and credits agree in each currency")]
    currencies: list[CurrencyBalance]
    activity: ActivityStatus
    seals: SealStatus
    followers: list[FollowerState]
    holds: HoldSummary
