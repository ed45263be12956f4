"""The models of request bodies, parsed once and strictly.

Floats, numeric strings, booleans and exponents are not accepted as integers. Control characters and unknown members are
refused. Read-only members are accepted and ignored, so that a client can send back a body that it has read.
"""

from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from ledger.commands.journal import MAX_POSTINGS
from ledger.events.users import ROLES, Role
from ledger.identity.passwords import MAX_PASSWORD_LENGTH
from ledger.money import MAX_CENTS
from ledger.settings import MAX_HOLD_SECONDS
from web.body import Body, both, describe, neither
from web.fields import (
    AccountId,
    Balance,
    Cents,
    ChosenId,
    Currency,
    DateOrTime,
    Description,
    Email,
    Frozen,
    Id,
    Metadata,
    NewEmail,
    NewUsername,
    NotNull,
    Password,
    PasswordHash,
    PasswordHashOrNone,
    PasswordOrNone,
    PositiveCents,
    ReadAt,
    ReadOnly,
    Reference,
    Roles,
    SignedCents,
    Time,
    Username,
)
from web.labels import LabelPatch, NewLabels
from web.second_factors import Otp

MAX_ITEMS = 10_000  # of a batch

_ALICE = {"username": "alice", "email": "alice@example.com", "active": True, "roles": "customer"}
_NOON = "2026-05-01T12:00:00Z"
_FROM, _TO = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-b1c2-7d3e-8f40-5a6b7c8d9e0f"
_BETWEEN = {"source_account_id": _FROM, "destination_account_id": _TO, "amount_cents": 2_500}


class Login(Body):
    """`POST /auth/login`. All members are optional here, because a missing one has an error of its own."""

    model_config = describe(
        {"username": "alice", "password": "through the looking-glass"}, **{"not": both("password", "password_hash")}
    )

    username: Annotated[str, Field(max_length=1024)] | None = None
    password: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)] | None = None
    password_hash: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)] | None = None
    otp: Otp | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        _check_one_secret(self.password, self.password_hash)
        return self


class Secret(Body):
    """The members with a user's secret. A client may send its own digest instead of a password."""

    password: Password | None = None
    password_hash: PasswordHash | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        _check_one_secret(self.password, self.password_hash)
        return self

    @property
    def secret(self) -> str | None:
        """The password, or the digest that replaces it."""
        given = self.password or self.password_hash
        return given.get_secret_value() if given else None


class _User(Secret):
    """The members that all bodies of users share."""

    password_salt: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly
    active: bool | None = None
    roles: Roles | None = None

    def role_names(self) -> tuple[Role, ...] | None:
        """Return the roles in the given order, or None if the body has none."""
        if self.roles is None:
            return None
        given = self.roles.split(",")
        return tuple(sorted((role for role in ROLES if role in given), key=given.index))


class User(_User):
    """`PUT /users/{id}`. If the secret, `active` or `roles` is absent, null or empty, it does not change."""

    model_config = describe(_ALICE, **{"not": both("password", "password_hash")})

    id: Id | None = None
    username: Username
    email: Email
    password: PasswordOrNone | None = None
    password_hash: PasswordHashOrNone | None = None


class UserPatch(_User):
    """`PATCH /users/{id}` (RFC 7396). No member of a user can be removed, so none may be null."""

    model_config = describe({"email": "alice@example.org"}, **{"not": both("password", "password_hash")})

    id: NotNull[Id] = None
    username: NotNull[Username] = None
    email: NotNull[Email] = None
    password: NotNull[Password] = None
    password_hash: NotNull[PasswordHash] = None
    active: NotNull[bool] = None
    roles: NotNull[Roles] = None


class NewUser(_User):
    """`POST /users`."""

    model_config = describe(
        {**_ALICE, "password": "through the looking-glass"},
        **{"not": {"anyOf": [both("password", "password_hash"), neither("password", "password_hash")]}},
    )

    id: ChosenId | None = None
    username: NewUsername
    email: NewEmail
    roles: Roles | None = "guest"

    @model_validator(mode="after")
    def _has_secret(self) -> Self:
        _check_given(self.secret)
        return self


class OwnPassword(Secret):
    """`POST /users/me/password`."""

    model_config = describe(
        {"current_password": "through the looking-glass", "password": "six impossible things"},
        **{"not": {"anyOf": [both("password", "password_hash"), neither("password", "password_hash")]}},
    )

    current_password: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)]

    @model_validator(mode="after")
    def _has_secret(self) -> Self:
        _check_given(self.secret)
        return self


class NewAccount(NewLabels):
    """`POST /accounts`."""

    model_config = describe({"user_id": _FROM, "balance_cents": 10_000, "currency": "USD"})

    id: ChosenId | None = None
    user_id: Id
    balance_cents: Cents | None = None
    currency: Currency | None = None
    overdraft_limit_cents: Cents | None = None
    max_balance_cents: Balance | None = None
    frozen: Frozen | None = None
    held_cents: ReadOnly
    available_cents: ReadOnly
    status: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class _Account(NewLabels):
    """The members that all changes of an account share.

    `updated_at` says which state the client has read. Another `balance_cents` is refused if the account changed since.
    """

    held_cents: ReadOnly
    available_cents: ReadOnly
    status: ReadOnly
    created_at: ReadOnly
    updated_at: ReadAt | None = None
    overdraft_limit_cents: Cents | None = None
    max_balance_cents: Balance | None = None
    frozen: Frozen | None = None


class Account(_Account):
    """`PUT /accounts/{id}`. A member that is absent or null does not change."""

    model_config = describe({"balance_cents": 7_500})

    id: Id | None = None
    user_id: Id | None = None
    balance_cents: Balance | None = None
    currency: Currency | None = None


class AccountPatch(LabelPatch, _Account):
    """`PATCH /accounts/{id}` (RFC 7396). Null removes a label, a limit of the balance or the freeze."""

    model_config = describe({"overdraft_limit_cents": 50_000})

    id: NotNull[Id] = None
    user_id: NotNull[Id] = None
    balance_cents: NotNull[Balance] = None
    currency: NotNull[Currency] = None


class UserTokens(Body):
    """`POST /auth/revoke-user`."""

    model_config = describe({"user_id": _FROM})

    user_id: Id


class Transaction(Body):
    """The members that all transactions share. The description and the metadata have no effect."""

    id: ChosenId | None = None
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    effective_at: DateOrTime | None = None
    currency: ReadOnly
    kind: ReadOnly
    status: ReadOnly
    captured_cents: ReadOnly
    captures: ReadOnly
    settled_at: ReadOnly
    reverses: ReadOnly
    reversed_by: ReadOnly
    reversed_cents: ReadOnly
    failure_codes: ReadOnly
    created_at: ReadOnly


class Transfer(Transaction):
    """`POST /transactions/transfer`."""

    model_config = describe({**_BETWEEN, "reference": "rent, May"})

    source_account_id: AccountId
    destination_account_id: AccountId
    amount_cents: PositiveCents
    expires_at: ReadOnly


class Conditions(Body):
    """Conditions under which the transfer is posted."""

    source_available_min_cents: Balance


class ConditionalTransfer(Transfer):
    """`POST /transactions/transfer`, alone. `source_version` is the version that the source account must have.

    With `execute_at`, the transfer is made at that time, and has no conditions.
    """

    model_config = describe(
        {**_BETWEEN, "conditions": {"source_available_min_cents": 10_000}},
        **{"not": {"anyOf": [both("execute_at", "source_version"), both("execute_at", "conditions")]}},
    )

    source_version: Annotated[int, Field(ge=1, le=MAX_CENTS)] | None = None
    conditions: Conditions | None = None
    execute_at: Time | None = None

    @model_validator(mode="after")
    def _no_conditions_later(self) -> Self:
        if self.execute_at is not None and (self.source_version, self.conditions) != (None, None):
            raise ValueError("execute_at: must not be given together with source_version or conditions")
        return self


class Batch(Body):
    """`POST /transactions/batch`. With `atomic`, all items are posted or none; else each has its own result."""

    model_config = describe({"atomic": False, "items": [{"id": _FROM, **_BETWEEN}]})

    atomic: bool
    items: Annotated[list[Transfer], Field(min_length=1, max_length=MAX_ITEMS)]


class Hold(Transaction):
    """`POST /transactions/hold`. The hold expires at `expires_at`, or after `expires_in_seconds`."""

    model_config = describe(
        {**_BETWEEN, "expires_in_seconds": 86_400}, **{"not": both("expires_at", "expires_in_seconds")}
    )

    source_account_id: AccountId
    destination_account_id: AccountId
    amount_cents: PositiveCents
    expires_at: Time | None = None
    expires_in_seconds: Annotated[int, Field(ge=1, le=MAX_HOLD_SECONDS)] | None = None

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise ValueError("expires_in_seconds: must not be given together with expires_at")
        return self


class Posting(Body):
    """A posting of a journal entry: the amount that an account receives; negative if it pays."""

    account_id: AccountId
    amount_cents: SignedCents
    currency: ReadOnly


class JournalEntry(Transaction):
    """`POST /transactions`. The postings sum to zero in each currency, and apply in order.

    An account may have several, for example an amount and a fee. With `execute_at`, the entry is made at that time.
    """

    model_config = describe(
        {
            "postings": [{"account_id": _FROM, "amount_cents": -2_500}, {"account_id": _TO, "amount_cents": 2_500}],
            "reference": "salaries, May",
            "metadata": {"cost-centre": "42"},
            "effective_at": _NOON,
        }
    )

    postings: Annotated[list[Posting], Field(min_length=2, max_length=MAX_POSTINGS)]
    execute_at: Time | None = None


class _Details(Body):
    """The details that a capture or a reversal may have of its own. Only `effective_at` has an effect."""

    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    effective_at: DateOrTime | None = None


class Capture(_Details):
    """`POST /transactions/{id}/capture`. Without an amount, all that is held is captured.

    If the capture is not `final`, the rest stays held.
    """

    model_config = describe({"amount_cents": 2_000, "final": False, "reference": "parcel 1 of 2"})

    amount_cents: PositiveCents | None = None
    final: bool = True


class Reversal(_Details):
    """`POST /transactions/{id}/reverse`. Without an amount, all that is left is reversed.

    With `force`, even if the account that received the money has spent it. If the account that paid is closed, the
    money goes to `destination_account_id`.
    """

    model_config = describe({"amount_cents": 500, "description": "one item came back"})

    id: ChosenId | None = None
    amount_cents: PositiveCents | None = None
    destination_account_id: AccountId | None = None
    force: bool = False


class Nothing(Body):
    """`POST /transactions/{id}/void` and `POST /accounts/{id}/reopen`: an empty object, or no body."""

    model_config = describe({})


def _check_given(secret: str | None) -> None:
    if secret is None:
        raise ValueError("password: must be given")


def _check_one_secret(password: SecretStr | None, password_hash: SecretStr | None) -> None:
    if password is not None and password_hash is not None:
        raise ValueError("password_hash: must not be given together with password, whose other name it is")
