"""The members of response bodies: the type of each, and how the document describes it."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from ledger.events.account_labels import AccountType
from ledger.events.accounts import Freeze
from ledger.money import CODE_PATTERN, MAX_CENTS, MAX_CODE_LENGTH
from ledger.values import account_codes

Id = Annotated[UUID, Meta(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])]
Time = Annotated[datetime, Meta(tz=True, examples=["2026-05-01T12:00:00.000000Z"])]
Cents = Annotated[int, Meta(ge=-MAX_CENTS, le=MAX_CENTS, description="In the currency's minor unit", examples=[2500])]
Amount = Annotated[int, Meta(ge=1, le=MAX_CENTS, description="In the currency's minor unit", examples=[2500])]
CURRENCY: dict[str, Any] = {
    "x-component": "Currency",
    "type": "string",
    "pattern": CODE_PATTERN,
    "maxLength": MAX_CODE_LENGTH,
    "description": "An ISO 4217 code, or the code of a registered asset",
    "examples": ["USD"],
}
Currency = Annotated[str, Meta(pattern=CODE_PATTERN, extra_json_schema=CURRENCY)]
FREEZE: dict[str, Any] = {
    "x-component": "Freeze",
    "type": "string",
    "enum": sorted(get_args(Freeze)),
    "description": "`debits`: no money leaves the account; `all`: none comes in either",
    "examples": ["none"],
}
ACCOUNT_TYPE: dict[str, Any] = {
    "x-component": "AccountType",
    "type": "string",
    "enum": sorted(get_args(AccountType)),
    "description": "Where the account belongs in the books",
    "examples": ["asset"],
}
ACCOUNT_REF: dict[str, Any] = {  # a UUID in canonical form has the form of a code as well
    "x-component": "AccountRef",
    "type": "string",
    "maxLength": account_codes.MAX_CODE_LENGTH,
    "pattern": account_codes.CODE_PATTERN,
    "description": "The id of an account, or its code",
    "examples": ["01890a5d-ac96-774b-bcce-b302099a8057", "assets:bank:main"],
}
PositiveSum = Annotated[int, Meta(ge=0, le=MAX_CENTS, examples=[10000])] | None
PositiveSumText = Annotated[str, Meta(pattern="^(0|[1-9][0-9]*)$", examples=["10000"])]
Version = Annotated[int, Meta(ge=1, description="The number of the event in its stream, from 1", examples=[3])]
Position = Annotated[int, Meta(ge=1, description="The position in the log", examples=[42])]
Token = Annotated[str, Meta(description="RFC 7519", examples=["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl"])]
Text = Annotated[str, Meta(min_length=1, max_length=500)]
EffectiveAt = Annotated[Time, Meta(description="When the transaction takes effect for bookkeeping")]
CountedBy = Annotated[Time, Meta(description="The effective time by which entries count")]
ExecuteAt = Annotated[Time, Meta(description="When the scheduled transaction is to be executed")]
SettledAt = Annotated[Time, Meta(description="When the scheduled transaction was posted, failed or was cancelled")]
FailureCodes = Annotated[
    list[str],
    Meta(min_length=1, description="Why it failed: codes of errors", examples=[["transfer_insufficient_funds"]]),
]
ScheduledStatus = Annotated[Literal["posted", "scheduled", "failed", "voided"], Meta(examples=["posted"])]
Metadata = Annotated[dict[str, str], Meta(description="Key-value pairs of the client")]
Reference = Annotated[str, Meta(min_length=1, max_length=200, examples=["rent, May"])]
Word = Annotated[str, Meta(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])]
Kind = Literal["transfer", "opening", "adjustment", "hold", "journal", "reversal"]
KIND: dict[str, Any] = {
    "x-component": "TransactionKind",
    "type": "string",
    "enum": sorted(get_args(Kind)),
    "description": "What kind of transaction it is",
    "examples": ["transfer"],
}


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with these members and no others."""
