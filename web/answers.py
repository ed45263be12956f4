"""What clients are answered: the shapes that the document shows, and that every answer in the tests is held to."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger.commands.journal import MAX_POSTINGS
from ledger.events.accounts import Freeze
from ledger.events.transfers import JournalKind, Status, TransferKind
from ledger.money import MAX_CENTS

Id = Annotated[UUID, Meta(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])]
Time = Annotated[datetime, Meta(tz=True, examples=["2026-05-01T12:00:00.000000Z"])]
Cents = Annotated[int, Meta(ge=-MAX_CENTS, le=MAX_CENTS, description="In the currency's minor unit", examples=[2500])]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217", examples=["USD"])]
Version = Annotated[int, Meta(ge=1, description="Which event of its stream, from 1", examples=[3])]
Position = Annotated[int, Meta(ge=1, description="Where in the log", examples=[42])]
Token = Annotated[str, Meta(description="RFC 7519", examples=["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl"])]
Reference = Annotated[str, Meta(min_length=1, max_length=200, examples=["rent, May"])]
Word = Annotated[str, Meta(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])]


Kind = Annotated[TransferKind | JournalKind | Literal["hold"], Meta(examples=["transfer"])]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with these members and no others."""


class Greeting(Answer, frozen=True):
    """The service knows who is calling."""

    message: Annotated[str, Meta(examples=["Ledger is ready."])]


class Health(Answer, frozen=True):
    """The service answers."""

    status: Literal["healthy"]


class Liveness(Answer, frozen=True):
    """The worker's event loop turns."""

    status: Literal["alive"]


class Readiness(Answer, frozen=True):
    """The worker takes requests; without Redis it does so more slowly."""

    status: Literal["ready"]
    checks: Annotated[dict[str, str], Meta(examples=[{"postgresql": "ok", "redis": "degraded"}])]


class Release(Answer, frozen=True):
    """What is running."""

    name: Literal["ledger"]
    version: Annotated[str, Meta(examples=["0.1.0"])]


class Tokens(Answer, frozen=True):
    """A session's pair of tokens; `expires_in` is the access token's lifetime in seconds."""

    access_token: Token
    refresh_token: Token
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(ge=0, examples=[3600])]


class Cleanup(Answer, frozen=True):
    """How many revoked tokens are forgotten, access and refresh tokens counted apart."""

    deleted_tokens: Annotated[int, Meta(ge=0, examples=[2])]


class Session(Answer, frozen=True):
    """A login that is still in force."""

    id: Id
    user_id: Id
    created_at: Time
    refreshed_at: Time
    expires_at: Time


class User(Answer, frozen=True):
    """A user; never a password, nor anything that was made of one."""

    id: Id
    username: Annotated[str, Meta(examples=["alice"])]
    email: Annotated[str, Meta(examples=["alice@example.com"])]
    active: bool
    roles: Annotated[str, Meta(description="Separated by commas", examples=["customer"])]
    created_at: Time
    updated_at: Time


class Account(Answer, frozen=True):
    """An account. At a point in time it also has the `version` and `position` of that time."""

    id: Id
    user_id: Annotated[Id | None, Meta(description="Null for the ledger's own `world` accounts only")]
    balance_cents: Cents
    held_cents: Annotated[int, Meta(ge=0, le=MAX_CENTS, description="What pending holds set aside", examples=[0])]
    available_cents: Annotated[
        int,
        Meta(
            ge=-MAX_CENTS,
            le=MAX_CENTS,
            description="What can be spent: the balance without what is held, and the overdraft limit",
            examples=[2500],
        ),
    ]
    overdraft_limit_cents: Annotated[
        int, Meta(ge=0, le=MAX_CENTS, description="How far the balance may fall below zero", examples=[0])
    ]
    frozen: Annotated[
        Freeze, Meta(description="`debits`: no money leaves; `all`: none comes in either", examples=["none"])
    ]
    currency: Currency
    status: Literal["open", "closed"]
    created_at: Time
    updated_at: Time
    version: Version | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class Posting(Answer, frozen=True):
    """One leg of a journal entry: what an account got, or what left it, which is negative."""

    account_id: Id
    amount_cents: Cents
    currency: Currency


class Transaction(Answer, frozen=True):
    """Money that moved, or is held: between two accounts, or as `postings` between several.

    What a transaction of its kind never has, or this one has not, is left out.
    """

    id: Id
    kind: Kind
    reference: Reference | None
    status: Annotated[Status, Meta(examples=["posted"])]
    created_at: Time
    source_account_id: Id | UnsetType = UNSET
    destination_account_id: Id | UnsetType = UNSET
    amount_cents: Cents | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    postings: Annotated[list[Posting], Meta(max_length=MAX_POSTINGS)] | UnsetType = UNSET
    description: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    effective_at: Time | UnsetType = UNSET
    expires_at: Time | UnsetType = UNSET
    settled_at: Annotated[Time, Meta(description="When the hold ended")] | UnsetType = UNSET
    captured_cents: Annotated[int, Meta(ge=1, le=MAX_CENTS, description="What of the hold moved")] | UnsetType = UNSET
    reverses: Annotated[Id, Meta(description="What this one moved back")] | UnsetType = UNSET
    reversed_by: Annotated[Id, Meta(description="What moved this one back")] | UnsetType = UNSET


class ItemResult(Answer, frozen=True, omit_defaults=True):
    """What became of an item: its transaction, which may be there since an earlier request, or why there is none."""

    status: Annotated[int, Meta(ge=200, le=599, description="What the item would be answered alone", examples=[200])]
    transaction: Transaction | UnsetType = UNSET
    replayed: Literal[True] | UnsetType = UNSET
    errors: Annotated[list["Reason"], Meta(min_length=1)] | UnsetType = UNSET


class BatchResult(Answer, frozen=True):
    """What became of each item, in order."""

    results: Annotated[list[ItemResult], Meta(min_length=1)]


class Entry(Answer, frozen=True):
    """A line of an account's statement, with the balance after it; what left the account is negative."""

    account_id: Id
    version: Version
    position: Position
    transaction_id: Id
    other_account_id: Annotated[Id | None, Meta(description="None if there are several")]
    amount_cents: Cents
    balance_cents: Cents
    kind: Kind
    reference: Reference | None
    created_at: Time


class StoredEvent(Answer, frozen=True):
    """An event as it is stored; what `state` holds depends on the `topic`."""

    position: Position
    stream_id: Id
    version: Version
    topic: Annotated[str, Meta(examples=["AccountOpened"])]
    recorded_at: Time
    command_id: Id | None
    state: Annotated[dict[str, Any], Meta(examples=[{"owner_id": None, "currency": "USD"}])]


class CurrencyBalance(Answer, frozen=True):
    """What the accounts of a currency owe and have together, in cents; the sum is zero."""

    currency: Currency
    accounts: Annotated[int, Meta(ge=1, examples=[3])]
    debit_cents: Annotated[int, Meta(ge=0, examples=[10000])]
    credit_cents: Annotated[int, Meta(ge=0, examples=[10000])]
    sum_cents: Annotated[int, Meta(examples=[0])]


class TrialBalance(Answer, frozen=True):
    """Whether the books are balanced, as of a position of the log."""

    position: Annotated[int, Meta(ge=0, examples=[42])]
    balanced: bool
    currencies: list[CurrencyBalance]


class Command(Answer, frozen=True):
    """A command that somebody gave, and what came of it: a result, or the codes of a refusal."""

    command_id: Id
    name: Annotated[str, Meta(examples=["TransferMoney"])]
    user_id: Id
    session_id: Id | None
    jti: Id | None
    request_id: Word | None
    outcome: Literal["accepted", "refused"]
    result: Annotated[dict[str, Any] | list[dict[str, Any]], Meta(examples=[{"amount_cents": 2500}])]
    recorded_at: Time


class Keys(Answer, frozen=True):
    """A set of public keys (RFC 7517, section 5); empty if there is none to show."""

    keys: list[dict[str, str]]


class Reason(Answer, frozen=True):
    """One thing that is wrong.

    `detail` names the offender: by its id, by the JSON pointer (RFC 6901) of a member of the body, or by the name of a
    `parameter` and what it is `in`.
    """

    code: Annotated[str, Meta(description="Stable: clients may rely on it")]
    kind: str
    message: str
    description: Annotated[str, Meta(description="What the matter is, in a sentence")]
    help: Annotated[str, Meta(description="What the client can do")]
    doc_url: Annotated[str, Meta(description="The page about the code: a URI reference (RFC 3986)")]
    instance: str
    trace_id: Word
    timestamp: Time
    detail: dict[str, str] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Problem(Answer, frozen=True):
    """Why a request was refused (RFC 9457), with all the reasons; the first one gives the status."""

    type: Annotated[str, Meta(description="The page about the first code: a URI reference (RFC 3986)")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: str
    errors: Annotated[list[Reason], Meta(min_length=1)]


class ErrorType(Answer, frozen=True):
    """What a code means, and what a client can do about it; `example` is a problem that has it."""

    code: Annotated[str, Meta(examples=["user_not_found"])]
    status: Annotated[int, Meta(ge=400, le=599, examples=[404])]
    kind: Annotated[str, Meta(examples=["resource_not_found"])]
    title: Annotated[str, Meta(examples=["User not found"])]
    description: Annotated[str, Meta(examples=["There is no user with this id, or the caller may not see it."])]
    help: Annotated[str, Meta(examples=["Check the id. Admins can list all users."])]
    doc_url: Annotated[str, Meta(description="The page's path", examples=["/errors/user_not_found"])]
    example: Problem | UnsetType = UNSET
