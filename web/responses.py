"""The models of response bodies. The document shows them, and the tests check every response against them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from ledger.commands.journal import MAX_POSTINGS
from ledger.events.account_labels import MAX_NAME_LENGTH, AccountType
from ledger.events.accounts import Freeze
from ledger.money import MAX_CENTS
from web.response_fields import (
    ACCOUNT_TYPE,
    FREEZE,
    KIND,
    Amount,
    Answer,
    Cents,
    CountedBy,
    Currency,
    EffectiveAt,
    ExecuteAt,
    FailureCodes,
    Id,
    Kind,
    Metadata,
    Position,
    PositiveSum,
    PositiveSumText,
    Reference,
    ScheduledStatus,
    SettledAt,
    Text,
    Time,
    Token,
    Version,
    Word,
)


class Greeting(Answer, frozen=True):
    """A greeting to an authenticated caller."""

    message: Annotated[str, Meta(examples=["Ledger is ready."])]


class Health(Answer, frozen=True):
    """The service responds."""

    status: Literal["healthy"]


class Liveness(Answer, frozen=True):
    """The worker's event loop is running."""

    status: Literal["alive"]


class Readiness(Answer, frozen=True):
    """The worker accepts requests; without Redis, more slowly."""

    status: Literal["ready"]
    checks: Annotated[dict[str, str], Meta(examples=[{"postgresql": "ok", "redis": "degraded"}])]


class Release(Answer, frozen=True):
    """The name and version of the service."""

    name: Literal["ledger"]
    version: Annotated[str, Meta(examples=["0.1.0"])]


class Tokens(Answer, frozen=True):
    """A session's pair of tokens; `expires_in` is the access token's lifetime in seconds."""

    access_token: Token
    refresh_token: Token
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(ge=0, examples=[3600])]


class Cleanup(Answer, frozen=True):
    """The number of purged tokens; access and refresh tokens are counted separately."""

    deleted_tokens: Annotated[int, Meta(ge=0, examples=[2])]


class Session(Answer, frozen=True):
    """A session, which begins with a login, while it is valid."""

    id: Id
    user_id: Id
    created_at: Time
    refreshed_at: Time
    expires_at: Time
    address: Annotated[str, Meta(examples=["192.0.2.7"])] | UnsetType = UNSET  # of the last login or refresh
    agent: Annotated[str, Meta(examples=["curl/8.14.1"])] | UnsetType = UNSET


class User(Answer, frozen=True):
    """A user. No response has a password, or anything derived from one."""

    id: Id
    username: Annotated[str, Meta(examples=["alice"])]
    email: Annotated[str, Meta(examples=["alice@example.com"])]
    active: bool
    roles: Annotated[str, Meta(description="Separated by commas", examples=["customer"])]
    created_at: Time
    updated_at: Time


class Account(Answer, frozen=True):
    """An account. At a point in time it also has the `version` and `position` of that time.

    With `effective_at`, its balance is that of the entries that count by then.
    """

    id: Id
    user_id: Annotated[Id | None, Meta(description="Null for the ledger's own `world` accounts only")]
    balance_cents: Cents
    held_cents: Annotated[int, Meta(ge=0, le=MAX_CENTS, description="Set aside by pending holds", examples=[0])]
    available_cents: Annotated[
        int,
        Meta(
            ge=-MAX_CENTS,
            le=MAX_CENTS,
            description="What can be spent: the balance plus the overdraft limit, minus held money",
            examples=[2500],
        ),
    ]
    overdraft_limit_cents: Annotated[
        int, Meta(ge=0, le=MAX_CENTS, description="How far the balance may fall below zero", examples=[0])
    ]
    max_balance_cents: Annotated[
        Cents | None, Meta(description="What the balance may not exceed; null without a limit")
    ]
    frozen: Annotated[Freeze, Meta(extra_json_schema=FREEZE)]
    currency: Currency
    status: Literal["open", "closed"]
    created_at: Time
    updated_at: Time
    code: Annotated[str, Meta(examples=["assets:bank:main"])] | UnsetType = UNSET
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH, examples=["Main account"])] | UnsetType = UNSET
    type: Annotated[AccountType, Meta(extra_json_schema=ACCOUNT_TYPE)] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    version: Version | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    effective_at: CountedBy | UnsetType = UNSET


class Posting(Answer, frozen=True):
    """A posting of a journal entry; what an account paid is negative."""

    account_id: Id
    amount_cents: Cents
    currency: Currency


Postings = Annotated[list[Posting], Meta(min_length=1, max_length=MAX_POSTINGS)]


class _Transaction(Answer, frozen=True, kw_only=True, tag_field="kind"):
    """The members that all kinds of transactions share. Members that do not apply are absent."""

    id: Id
    reference: Reference | None
    description: Text | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    effective_at: EffectiveAt | UnsetType = UNSET
    created_at: Time
    reversed_by: Annotated[Id, Meta(description="The reversal of this one, or of its last part")] | UnsetType = UNSET
    reversed_cents: Annotated[Amount, Meta(description="What partial reversals moved back")] | UnsetType = UNSET


class _BetweenTwo(_Transaction, frozen=True, kw_only=True):
    """A transaction between two accounts."""

    source_account_id: Id
    destination_account_id: Id
    amount_cents: Amount
    currency: Currency


class Transfer(_BetweenTwo, frozen=True, kw_only=True, tag="transfer"):
    """A transfer between two accounts, which may be scheduled."""

    status: ScheduledStatus
    execute_at: ExecuteAt | UnsetType = UNSET
    settled_at: SettledAt | UnsetType = UNSET
    failure_codes: FailureCodes | UnsetType = UNSET


class Opening(_BetweenTwo, frozen=True, kw_only=True, tag="opening"):
    """The opening balance of an account, which came from the ledger's own `world` account."""

    status: Literal["posted"]


class Adjustment(_BetweenTwo, frozen=True, kw_only=True, tag="adjustment"):
    """A correction of an account's balance, from or to the ledger's own `world` account."""

    status: Literal["posted"]


class Capture(Answer, frozen=True, kw_only=True):
    """A capture, which moved money of a hold."""

    amount_cents: Amount
    reference: Reference | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    effective_at: EffectiveAt | UnsetType = UNSET
    created_at: Time


class Hold(_BetweenTwo, frozen=True, kw_only=True, tag="hold"):
    """A hold: money set aside for another account until it is captured or released, or the hold expires."""

    status: Annotated[Literal["pending", "captured", "voided", "expired"], Meta(examples=["pending"])]
    expires_at: Time
    settled_at: (
        Annotated[Time, Meta(description="When the hold was last captured, or its release or expiry was recorded")]
        | UnsetType
    ) = UNSET
    captured_cents: Annotated[Amount, Meta(description="The part that was captured so far")] | UnsetType = UNSET
    captures: (
        Annotated[list[Capture], Meta(min_length=1, description="If it is captured in parts, or with details")]
        | UnsetType
    ) = UNSET


class JournalEntry(_Transaction, frozen=True, kw_only=True, tag="journal"):
    """A journal entry, which moved money between several accounts at once, or is scheduled."""

    status: ScheduledStatus
    postings: Postings
    execute_at: ExecuteAt | UnsetType = UNSET
    settled_at: SettledAt | UnsetType = UNSET
    failure_codes: FailureCodes | UnsetType = UNSET


class Reversal(_Transaction, frozen=True, kw_only=True, tag="reversal"):
    """A reversal of another transaction, or of a part of it.

    It has `postings` if that was a journal entry; otherwise it is between two accounts.
    """

    status: Literal["posted"]
    reverses: Annotated[Id, Meta(description="The transaction that this one reversed")]
    requested_effective_at: (
        Annotated[Time, Meta(description="If it is in a closed period: then `effective_at` is the first open day")]
        | UnsetType
    ) = UNSET
    source_account_id: Id | UnsetType = UNSET
    destination_account_id: Id | UnsetType = UNSET
    amount_cents: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    postings: Postings | UnsetType = UNSET


Transaction = Annotated[
    Transfer | Opening | Adjustment | Hold | JournalEntry | Reversal,
    Meta(
        extra_json_schema={
            "x-component": "Transaction",
            "description": "A transaction of any kind; `kind` says which.",
        }
    ),
]


Voided = Annotated[
    Hold | Transfer | JournalEntry,
    Meta(extra_json_schema={"x-component": "Voided", "description": "A hold or a scheduled transaction that ended."}),
]


class ItemResult(Answer, frozen=True, omit_defaults=True):
    """The result of an item: its transaction, or its errors; `replayed` if an earlier request made the transaction."""

    status: Annotated[int, Meta(ge=200, le=599, description="The status that the item alone would get", examples=[200])]
    transaction: Transfer | UnsetType = UNSET
    replayed: bool | UnsetType = UNSET
    errors: Annotated[list["Reason"], Meta(min_length=1)] | UnsetType = UNSET


class BatchResult(Answer, frozen=True):
    """The results of a batch's items, in order."""

    results: Annotated[list[ItemResult], Meta(min_length=1)]


class Entry(Answer, frozen=True):
    """An entry of an account's statement, with the balance after it; what the account paid is negative."""

    account_id: Id
    version: Version
    position: Position
    transaction_id: Id
    other_account_id: Annotated[Id | None, Meta(description="Null if there are several")]
    amount_cents: Cents
    balance_cents: Cents
    kind: Annotated[Kind, Meta(extra_json_schema=KIND)]
    reference: Reference | None
    created_at: Time
    description: Text | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    effective_at: EffectiveAt | UnsetType = UNSET
    reverses: Annotated[Id, Meta(description="The transaction that this one reversed")] | UnsetType = UNSET


class CurrencyBalance(Answer, frozen=True):
    """The debits and credits of all accounts in a currency, in minor units; they sum to zero.

    Sums can be larger than any balance. A sum beyond 2^53 - 1 is null as an integer; as text it is always there.
    """

    currency: Currency
    accounts: Annotated[int, Meta(ge=1, examples=[3])]
    debit_cents: PositiveSum
    credit_cents: PositiveSum
    sum_cents: Annotated[int, Meta(ge=-MAX_CENTS, le=MAX_CENTS, examples=[0])] | None
    debit_cents_text: PositiveSumText
    credit_cents_text: PositiveSumText
    sum_cents_text: Annotated[str, Meta(pattern="^(0|-?[1-9][0-9]*)$", examples=["0"])]


class TrialBalance(Answer, frozen=True):
    """The trial balance at a position of the log."""

    position: Annotated[int, Meta(ge=0, examples=[42])]
    balanced: bool
    currencies: list[CurrencyBalance]
    effective_at: CountedBy | UnsetType = UNSET


class Command(Answer, frozen=True):
    """A command with its outcome: a result, or the codes of a refusal."""

    command_id: Id
    name: Annotated[str, Meta(examples=["TransferMoney"])]
    user_id: Annotated[Id | None, Meta(description="Null if the ledger itself acted, such as for a hold that expired")]
    session_id: Id | None
    jti: Id | None
    request_id: Word | None
    outcome: Literal["accepted", "refused"]
    result: Annotated[dict[str, Any] | list[dict[str, Any]], Meta(examples=[{"amount_cents": 2500}])]
    recorded_at: Time


class KeySet(Answer, frozen=True):
    """A set of public keys (RFC 7517, section 5); empty if there are none."""

    keys: list[dict[str, str]]


class Reason(Answer, frozen=True):
    """A reason for an error.

    `detail` names what is wrong: a resource by its id, a member of the body by its JSON pointer (RFC 6901), or a
    `parameter` by its name and where it is (`in`).
    """

    code: Annotated[str, Meta(description="Stable: clients may rely on it")]
    kind: str
    message: str
    description: Annotated[str, Meta(description="What is wrong, in a sentence")]
    help: Annotated[str, Meta(description="What the client can do")]
    doc_url: Annotated[str, Meta(description="The page about the code: a URI reference (RFC 3986)")]
    instance: str
    trace_id: Word
    timestamp: Time
    detail: dict[str, str] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Problem(Answer, frozen=True):
    """A problem (RFC 9457) with all reasons why a request was refused; the first one gives the status."""

    type: Annotated[str, Meta(description="The page about the first code: a URI reference (RFC 3986)")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: str
    errors: Annotated[list[Reason], Meta(min_length=1)]
    error: Annotated[str, Meta(description="The code, as OAuth 2.0 names it (RFC 6749, section 5.2)")] | UnsetType = (
        UNSET
    )
    error_description: str | UnsetType = UNSET
