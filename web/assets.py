"""The models of requests and responses about assets."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from pydantic import AfterValidator, Field

from ledger.events.assets import MAX_NAME_LENGTH
from ledger.money import MAX_DIGITS
from ledger.values.text import PRINTABLE_PATTERN, check_printable
from web.body import Body, describe
from web.fields import Currency as RequestedCode
from web.fields import ReadOnly
from web.response_fields import Answer, Currency, Time

Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH, json_schema_extra={"pattern": PRINTABLE_PATTERN}),
    AfterValidator(check_printable),
]


class NewAsset(Body):
    """`POST /assets`. One unit of the asset is `10 ** digits` of its minor unit; this never changes."""

    model_config = describe({"code": "HOURS", "name": "Hours of work", "digits": 2})

    code: RequestedCode
    name: Name
    digits: Annotated[int, Field(ge=0, le=MAX_DIGITS)]
    source: ReadOnly
    created_at: ReadOnly


class Asset(Answer, frozen=True):
    """A currency of ISO 4217, or an asset that an admin has registered. Only the latter has a name and a time."""

    code: Currency
    digits: Annotated[int, Meta(ge=0, le=MAX_DIGITS, description="The decimal places of an amount", examples=[2])]
    source: Literal["iso4217", "registered"]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH, examples=["Hours of work"])] | UnsetType = UNSET
    created_at: Time | UnsetType = UNSET
