"""What clients may send, parsed once and strictly.

No floats, numeric strings, booleans or exponents pass for integers; no control characters, and no members that nobody
knows. Read-only members are accepted and ignored, so that a body that was read can be sent back.
"""

from typing import Annotated, Any, Self

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from ledger.commands.journal import MAX_POSTINGS
from ledger.events.users import ROLES, Role
from ledger.identity.passwords import MAX_PASSWORD_LENGTH
from ledger.money import MAX_CENTS
from ledger.settings import MAX_HOLD_SECONDS
from web.fields import (
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

MAX_ITEMS = 10_000  # of a batch


class Body(BaseModel):
    """A JSON object with no other members than these."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    def canonical(self) -> bytes:
        """Return the same bytes for all bodies that say the same in other words.

        The order of members, null or a default for an absent one, the spelling of ids and times, and members that are
        ignored make no difference. The bytes hold secrets: they are for hashing, and nothing else.
        """
        said = self.model_dump(exclude_none=True, exclude_defaults=True)
        return msgspec.json.encode(said, enc_hook=_plain, order="sorted")


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _described(*examples: dict[str, Any], **rules: Any) -> ConfigDict:
    """What the document says of a body beside its members: examples, and the rules over several members."""
    return ConfigDict(json_schema_extra={"examples": list(examples), **rules})


def _both(first: str, second: str) -> dict[str, Any]:
    """Return the schema of bodies that have both of these members; null means that one is not there."""
    return {"required": [first, second], "properties": {first: _NOT_NULL, second: _NOT_NULL}}


def _neither(first: str, second: str) -> dict[str, Any]:
    return {"properties": {first: _NULL, second: _NULL}}


_NULL = {"type": "null"}
_NOT_NULL = {"not": _NULL}
_ALICE = {"username": "alice", "email": "alice@example.com", "active": True, "roles": "customer"}
_NOON = "2026-05-01T12:00:00Z"
_FROM, _TO = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-b1c2-7d3e-8f40-5a6b7c8d9e0f"

_BETWEEN = {"source_account_id": _FROM, "destination_account_id": _TO, "amount_cents": 2_500}


class Login(Body):
    """`POST /auth/login`. That a part is missing has an answer of its own, so all are optional here."""

    model_config = _described(
        {"username": "alice", "password": "wonderland"}, **{"not": _both("password", "password_hash")}
    )

    username: Annotated[str, Field(max_length=1024)] | None = None
    password: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)] | None = None
    password_hash: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)] | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        _check_one_secret(self.password, self.password_hash)
        return self


class _User(Body):
    """What the bodies of users have in common. A client may send a digest of its own making instead of a password."""

    password_salt: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly
    password: Password | None = None
    password_hash: PasswordHash | None = None
    active: bool | None = None
    roles: Roles | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        _check_one_secret(self.password, self.password_hash)
        return self

    @property
    def secret(self) -> str | None:
        """The password, or the digest, which serves as one."""
        given = self.password or self.password_hash
        return given.get_secret_value() if given else None

    def role_names(self) -> tuple[Role, ...] | None:
        """Return the roles in the order in which they were given, if they were."""
        if self.roles is None:
            return None
        given = self.roles.split(",")
        return tuple(sorted((role for role in ROLES if role in given), key=given.index))


class User(_User):
    """`PUT /users/{id}`. Secret, `active` and `roles` stay as they are when they are not given, null or empty."""

    model_config = _described(_ALICE, **{"not": _both("password", "password_hash")})

    id: Id | None = None
    username: Username
    email: Email
    password: PasswordOrNone | None = None
    password_hash: PasswordHashOrNone | None = None


class UserPatch(_User):
    """`PATCH /users/{id}` (RFC 7396). Nothing of a user can be taken away, so nothing may be null."""

    model_config = _described({"email": "alice@example.org"}, **{"not": _both("password", "password_hash")})

    id: NotNull[Id] = None
    username: NotNull[Username] = None
    email: NotNull[Email] = None
    password: NotNull[Password] = None
    password_hash: NotNull[PasswordHash] = None
    active: NotNull[bool] = None
    roles: NotNull[Roles] = None


class NewUser(_User):
    """`POST /users`."""

    model_config = _described(
        {**_ALICE, "password": "wonderland"},
        **{"not": {"anyOf": [_both("password", "password_hash"), _neither("password", "password_hash")]}},
    )

    id: ChosenId | None = None
    username: NewUsername
    email: NewEmail
    roles: Roles | None = "guest"

    @model_validator(mode="after")
    def _has_secret(self) -> Self:
        if self.secret is None:
            raise ValueError("password: must be given")
        return self


class NewAccount(Body):
    """`POST /accounts`."""

    model_config = _described({"user_id": _FROM, "balance_cents": 10_000, "currency": "USD"})

    id: ChosenId | None = None
    user_id: Id
    balance_cents: Cents | None = None
    currency: Currency | None = None
    overdraft_limit_cents: Cents | None = None
    frozen: Frozen | None = None
    held_cents: ReadOnly
    available_cents: ReadOnly
    status: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class _Account(Body):
    """What changes of an account have in common.

    `updated_at` says what the client read: another `balance_cents` than that of now is refused if it is not of now.
    """

    held_cents: ReadOnly
    available_cents: ReadOnly
    status: ReadOnly
    created_at: ReadOnly
    updated_at: ReadAt | None = None
    overdraft_limit_cents: Cents | None = None
    frozen: Frozen | None = None


class Account(_Account):
    """`PUT /accounts/{id}`. What is not given, or null, stays as it is."""

    model_config = _described({"balance_cents": 7_500})

    id: Id | None = None
    user_id: Id | None = None
    balance_cents: Balance | None = None
    currency: Currency | None = None


class AccountPatch(_Account):
    """`PATCH /accounts/{id}` (RFC 7396). Null takes the overdraft limit or the freeze away."""

    model_config = _described({"overdraft_limit_cents": 50_000})

    id: NotNull[Id] = None
    user_id: NotNull[Id] = None
    balance_cents: NotNull[Balance] = None
    currency: NotNull[Currency] = None


class UserTokens(Body):
    """`POST /auth/revoke-user`."""

    model_config = _described({"user_id": _FROM})

    user_id: Id


class Transaction(Body):
    """What everything that moves money has in common. Who asks may say what it is for; it has no effect."""

    id: ChosenId | None = None
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    effective_at: DateOrTime | None = None
    currency: ReadOnly
    kind: ReadOnly
    status: ReadOnly
    captured_cents: ReadOnly
    settled_at: ReadOnly
    reverses: ReadOnly
    reversed_by: ReadOnly
    created_at: ReadOnly


class Transfer(Transaction):
    """`POST /transactions/transfer`."""

    model_config = _described({**_BETWEEN, "reference": "rent, May"})

    source_account_id: Id
    destination_account_id: Id
    amount_cents: PositiveCents
    expires_at: ReadOnly


class Conditions(Body):
    """What must be so before the transfer, or else it is not made."""

    source_available_min_cents: Balance


class ConditionalTransfer(Transfer):
    """`POST /transactions/transfer`, alone: `source_version` says at which version the source must be."""

    model_config = _described({**_BETWEEN, "conditions": {"source_available_min_cents": 10_000}})

    source_version: Annotated[int, Field(ge=1, le=MAX_CENTS)] | None = None
    conditions: Conditions | None = None


class Batch(Body):
    """`POST /transactions/batch`. With `atomic`, all items or none; else each has a result of its own."""

    model_config = _described({"atomic": False, "items": [{"id": _FROM, **_BETWEEN}]})

    atomic: bool
    items: Annotated[list[Transfer], Field(min_length=1, max_length=MAX_ITEMS)]


class Hold(Transaction):
    """`POST /transactions/hold`. It ends by itself at `expires_at`, or after `expires_in_seconds`."""

    model_config = _described(
        {**_BETWEEN, "expires_in_seconds": 86_400}, **{"not": _both("expires_at", "expires_in_seconds")}
    )

    source_account_id: Id
    destination_account_id: Id
    amount_cents: PositiveCents
    expires_at: Time | None = None
    expires_in_seconds: Annotated[int, Field(ge=1, le=MAX_HOLD_SECONDS)] | None = None

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise ValueError("expires_in_seconds: must not be given together with expires_at")
        return self


class Posting(Body):
    """One leg of a journal entry: what an account gets, or what leaves it, which is negative."""

    account_id: Id
    amount_cents: SignedCents
    currency: ReadOnly


class JournalEntry(Transaction):
    """`POST /transactions`. The postings sum to zero in each currency, and each is of another account."""

    model_config = _described(
        {
            "postings": [{"account_id": _FROM, "amount_cents": -2_500}, {"account_id": _TO, "amount_cents": 2_500}],
            "reference": "salaries, May",
            "metadata": {"cost-centre": "42"},
            "effective_at": _NOON,
        }
    )

    postings: Annotated[list[Posting], Field(min_length=2, max_length=MAX_POSTINGS)]

    @model_validator(mode="after")
    def _each_account_once(self) -> Self:
        if len({posting.account_id for posting in self.postings}) < len(self.postings):
            raise ValueError("postings: must each be of another account")
        return self


class Capture(Body):
    """`POST /transactions/{id}/capture`. Without an amount, all that is held."""

    model_config = _described({"amount_cents": 2_000})

    amount_cents: PositiveCents | None = None


class Reversal(Body):
    """`POST /transactions/{id}/reverse`. With `force`, also where the money is not there any more."""

    model_config = _described({"description": "sent to the wrong account"})

    id: ChosenId | None = None
    force: bool = False
    description: Description | None = None


class Nothing(Body):
    """`POST /transactions/{id}/void`: an empty object, or nothing at all."""

    model_config = _described({})


def _check_one_secret(password: SecretStr | None, password_hash: SecretStr | None) -> None:
    if password is not None and password_hash is not None:
        raise ValueError("password_hash: must not be given together with password, whose other name it is")
