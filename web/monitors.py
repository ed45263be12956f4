"""The models of requests and responses about balance monitors."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from pydantic import ConfigDict

from ledger.events.monitors import Condition, Operator
from web.body import Body
from web.fields import AccountId, Balance, ChosenId, ReadOnly
from web.response_fields import Answer, Cents, Time
from web.response_fields import Id as AnsweredId

_LOW = {"account_id": "01890a5d-ac96-774b-bcce-b302099a8057", "condition": "available_cents", "operator": "<"}


class NewMonitor(Body):
    """`POST /monitors`. The condition compares an amount of the account with `amount_cents`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_LOW, "amount_cents": 10_000}]})

    id: ChosenId | None = None
    account_id: AccountId
    condition: Condition
    operator: Operator
    amount_cents: Balance
    triggered: ReadOnly
    found_cents: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class Monitor(Answer, frozen=True, kw_only=True):
    """A balance monitor. It is triggered as long as the account meets the condition."""

    id: AnsweredId
    account_id: AnsweredId
    condition: Condition
    operator: Operator
    amount_cents: Cents
    triggered: bool
    found_cents: Annotated[Cents, Meta(description="The amount after the last crossing")] | UnsetType = UNSET
    created_at: Time
    updated_at: Annotated[Time, Meta(description="When the last crossing was recorded")]
