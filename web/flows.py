"""The models of the response with the flows between groups of accounts."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from ledger.audit.flows import MAX_FLOWS, Kind
from web.response_fields import Answer, Currency, Id, PositiveSum, PositiveSumText

_Count = Annotated[int, Meta(ge=1, examples=[12])]


class FlowNode(Answer, frozen=True, kw_only=True):
    """A side of a flow: a group by its code, an account by its id, or all accounts of another kind.

    These are `uncoded` accounts, which have no code; the ledger's own, `world`; and those `outside` of the prefix.
    """

    kind: Annotated[Kind, Meta(examples=["group"])]
    code: Annotated[str, Meta(examples=["assets:bank"])] | UnsetType = UNSET
    account_id: Id | UnsetType = UNSET


class Flow(Answer, frozen=True, kw_only=True):
    """What moved from one side to the other, in minor units. A sum beyond 2^53 - 1 is null as an integer."""

    source: FlowNode
    destination: FlowNode
    currency: Currency
    movements: Annotated[_Count, Meta(description="How many transfers, captures and parts of journal entries")]
    amount_cents: PositiveSum
    amount_cents_text: PositiveSumText


class OtherFlows(Answer, frozen=True, kw_only=True):
    """The sum of the flows in a currency that are not listed."""

    currency: Currency
    flows: _Count
    movements: _Count
    amount_cents: PositiveSum
    amount_cents_text: PositiveSumText


class LedgerFlows(Answer, frozen=True, kw_only=True):
    """The flows of a period: the events after one position, up to another one. The largest ones come first."""

    after_position: Annotated[int, Meta(ge=0, examples=[0])]
    position: Annotated[int, Meta(ge=0, examples=[42])]
    flows: Annotated[list[Flow], Meta(max_length=MAX_FLOWS)]
    others: list[OtherFlows]
