"""The models of requests and responses about balance monitors."""

from typing import Annotated, Self

from msgspec import UNSET, Meta, UnsetType
from pydantic import AfterValidator, Field, model_validator

from ledger.events.monitors import Condition, Operator
from ledger.values.account_codes import MAX_CODE_LENGTH, PREFIX_PATTERN, check_code
from web.body import Body, both, describe, neither
from web.fields import AccountId, Balance, ChosenId, Currency, ReadOnly
from web.response_fields import Answer, Cents, Time
from web.response_fields import Id as AnsweredId

_LOW = {"condition": "available_cents", "operator": "<", "amount_cents": 10_000}
_SUM = {"condition": "balance_cents", "operator": ">=", "amount_cents": 10_000}


def _check_prefix(text: str) -> str:
    check_code(text.removesuffix(":"))
    return text


CodePrefix = Annotated[
    str,
    AfterValidator(_check_prefix),
    Field(max_length=MAX_CODE_LENGTH + 1, json_schema_extra={"pattern": PREFIX_PATTERN}),
]


class NewMonitor(Body):
    """`POST /monitors`. The condition compares an amount of the account with `amount_cents`.

    With `code_prefix`, it is the sum of the balances of all accounts with this code or one below it, in a currency.
    """

    model_config = describe(
        {"account_id": "01890a5d-ac96-774b-bcce-b302099a8057", **_LOW},
        {"code_prefix": "users", "currency": "USD", **_SUM},
        **{
            "not": {
                "anyOf": [
                    both("account_id", "code_prefix"),
                    both("account_id", "currency"),
                    neither("account_id", "code_prefix"),
                    neither("account_id", "currency"),
                    {"properties": {"account_id": {"type": "null"}, "condition": {"const": "available_cents"}}},
                ]
            }
        },
    )

    id: ChosenId | None = None
    account_id: AccountId | None = None
    code_prefix: CodePrefix | None = None
    currency: Currency | None = None
    condition: Condition
    operator: Operator
    amount_cents: Balance
    triggered: ReadOnly
    found_cents: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly

    @model_validator(mode="after")
    def _watch_one_amount(self) -> Self:
        if self.account_id is None:
            if self.code_prefix is None:
                raise ValueError("account_id: must be given, or code_prefix")
            if self.currency is None:
                raise ValueError("currency: must be given together with code_prefix")
            if self.condition != "balance_cents":
                raise ValueError("condition: must be balance_cents for a sum")
        elif self.code_prefix is not None:
            raise ValueError("code_prefix: must not be given together with account_id")
        elif self.currency is not None:
            raise ValueError("currency: must not be given together with account_id, which has one")
        return self


class Monitor(Answer, frozen=True, kw_only=True):
    """A balance monitor. It is triggered as long as the condition is met."""

    id: AnsweredId
    account_id: AnsweredId | UnsetType = UNSET
    code_prefix: Annotated[str, Meta(description="The monitor watches the sum of these accounts")] | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    condition: Condition
    operator: Operator
    amount_cents: Cents
    triggered: bool
    found_cents: Annotated[Cents, Meta(description="The amount after the last crossing")] | UnsetType = UNSET
    created_at: Time
    updated_at: Annotated[Time, Meta(description="When the last crossing was recorded")]
