"""The models of requests and responses about projections, their rebuilds, and verifications."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from ledger.events.operations import RebuildOutcome
from ledger.service.operations.process import MAX_SHOWN
from ledger.service.operations.state import State
from web.body import Body, describe
from web.response_fields import Answer, Id, Time

_Count = Annotated[int, Meta(ge=0, examples=[1200])]
_Seconds = Annotated[float, Meta(ge=0, examples=[1.5])]
_Position = Annotated[int, Meta(ge=0, description="A position of the log; 0 is its beginning", examples=[42])]
_Text = Annotated[str, Meta(examples=["stopped"])]
_Row = Annotated[dict[str, Any] | None, Meta(examples=[{"id": "…", "balance_cents": 2500}])]


class NewRebuild(Body):
    """`POST /projections/{name}/rebuild`. Without `swap`, the tables are only compared, and can be swapped later."""

    model_config = describe({"swap": False})

    swap: bool = False


class NewVerification(Body):
    """`POST /audit/verify`. A `fast` one trusts the log: it checks heads, read tables and sums."""

    model_config = describe({"fast": True})

    fast: bool = False


class RowDifference(Answer, frozen=True, kw_only=True):
    """A row that differs: as it is in the live table, and as it follows from the log. Null: there is no such row."""

    table: Annotated[str, Meta(examples=["accounts"])]
    key: Annotated[list[str], Meta(min_length=1, examples=[["01890a5d-ac96-774b-bcce-b302099a8057"]])]
    found: _Row
    expected: _Row


class _Operation(Answer, frozen=True, kw_only=True):
    """The members that both operations share."""

    id: Id
    state: Annotated[State, Meta(examples=["running"])]
    started_by: Id
    started_at: Time
    updated_at: Time
    seconds: _Seconds
    stage: Annotated[str, Meta(description="What it does, or did last", examples=["replaying"])]
    done: Annotated[int, Meta(ge=0, description="Events or rows that are processed", examples=[600])]
    total: Annotated[int, Meta(ge=0, description="Out of how many, about; 0 if that is unknown", examples=[1200])]
    notes: Annotated[list[str], Meta(description="What was not checked, or is to be done now", examples=[[]])]
    error: Annotated[str, Meta(description="Why it failed", examples=["the tables are always in use"])] | UnsetType = (
        UNSET
    )


class Rebuild(_Operation, frozen=True, kw_only=True):
    """A rebuild. While it is `compared`, its tables can be swapped; `interrupted` ones resume with the next."""

    projection: Annotated[str, Meta(examples=["accounts"])]
    swap: Annotated[bool, Meta(description="Whether its tables replace the live ones at the end")]
    swapped: Annotated[bool, Meta(description="Whether they have")]
    differing: Annotated[int, Meta(ge=0, description="Rows that differ", examples=[0])] | UnsetType = UNSET
    differences: Annotated[list[RowDifference], Meta(max_length=MAX_SHOWN, description="Some of them")]


class Verification(_Operation, frozen=True, kw_only=True):
    """A verification of the log and of all that follows from it. The books are right if it found nothing."""

    fast: bool
    found: Annotated[int, Meta(ge=0, description="Findings so far", examples=[0])] | UnsetType = UNSET
    findings: Annotated[
        list[dict[str, Any]],
        Meta(max_length=MAX_SHOWN, description="The first ones", examples=[[{"rule": "…", "table": "accounts"}]]),
    ]
    omitted: Annotated[dict[str, int], Meta(description="The number of the others, by their rules", examples=[{}])]


class LastVerification(Answer, frozen=True, kw_only=True):
    """The last verification that was started by a request, or null."""

    last: Verification | None


class RebuildEnd(Answer, frozen=True, kw_only=True):
    """The end of a rebuild, as the log has it. `reason` says why it failed."""

    id: Id
    outcome: Annotated[RebuildOutcome, Meta(examples=["swapped"])]
    ended_at: Time
    position: _Position | UnsetType = UNSET
    differing: Annotated[int, Meta(ge=0, description="Rows that were wrong", examples=[0])] | UnsetType = UNSET
    reason: Annotated[str, Meta(examples=["the tables are always in use"])] | UnsetType = UNSET


class Projection(Answer, frozen=True, kw_only=True):
    """A projection with its read tables, or a follower of the log.

    `state` is `inline` (always at the end of the log), `rebuilding` or `kept old`; or that of a follower: `following`,
    `failing`, `stopped` or `not running`. `per_second` is its recent speed in events, or the growth of the log.
    """

    name: Annotated[str, Meta(examples=["accounts"])]
    kind: Literal["projection", "follower"]
    tables: Annotated[list[str], Meta(min_length=1, examples=[["accounts"]])]
    rows: Annotated[int | None, Meta(description="An estimate; null for a follower", examples=[1200])]
    state: Annotated[str, Meta(examples=["inline"])]
    position: _Position
    lag_events: _Count
    lag_seconds: _Seconds
    per_second: Annotated[float | None, Meta(examples=[310.0])]
    last_error: _Text | UnsetType = UNSET
    error_position: _Position | UnsetType = UNSET
    error_topic: Annotated[str, Meta(examples=["AccountOpened"])] | UnsetType = UNSET
    rebuild: Annotated[Rebuild, Meta(description="The last one that a request has started")] | UnsetType = UNSET
    last_rebuild: (
        Annotated[RebuildEnd, Meta(description="The last one that has ended, on a command line too")] | UnsetType
    ) = UNSET
