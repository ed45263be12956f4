"""The models of requests and responses about machine clients."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from pydantic import AfterValidator, ConfigDict, Field

from ledger.events.clients import MAX_LIMITS
from ledger.values.text import PRINTABLE_PATTERN, check_printable
from web.body import Body
from web.fields import AccountId, ChosenId, Id, NotNull, ReadOnly, Roles
from web.http.scopes import SCOPES
from web.response_fields import Answer, Time, Token
from web.response_fields import Id as AnsweredId

MAX_NAME_LENGTH = 64
MAX_OVERLAP_SECONDS = 30 * 86_400
DEFAULT_OVERLAP_SECONDS = 86_400


def _scope(text: str) -> str:
    names = text.split(" ")
    if not set(names) <= SCOPES.keys() or len(names) != len(set(names)):
        raise ValueError(f"must be distinct scopes out of {', '.join(SCOPES)}, separated by single blanks")
    return text


_SCOPE = f"({'|'.join(SCOPES)})"
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH, json_schema_extra={"pattern": PRINTABLE_PATTERN}),
    AfterValidator(check_printable),
]
Scope = Annotated[
    str,
    Field(
        max_length=400,
        description=f"Distinct scopes, separated by blanks: {', '.join(SCOPES)}",
        json_schema_extra={
            "pattern": f"^{_SCOPE}( {_SCOPE})*$",
            "not": {"pattern": "|".join(f"{name}.* {name}( |$)" for name in SCOPES)},
        },
    ),
    AfterValidator(_scope),
]
Ids = Annotated[list[Id], Field(max_length=MAX_LIMITS)]
AccountIds = Annotated[list[AccountId], Field(max_length=MAX_LIMITS)]
_PAYMENTS = {"name": "payments", "roles": "customer", "scope": "accounts:read transactions:write"}
_ACCOUNT = "01890a5d-ac96-774b-bcce-b302099a8057"


class NewClient(Body):
    """`POST /clients`. `account_ids` and the accounts of `user_ids` are all that the client may reach.

    Without either, the roles alone decide: the client must then be an admin or an auditor.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{**_PAYMENTS, "account_ids": [_ACCOUNT]}]})

    id: ChosenId | None = None
    name: Name
    roles: Roles
    scope: Scope
    account_ids: AccountIds | None = None
    user_ids: Ids | None = None
    secrets: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class ClientPatch(Body):
    """`PATCH /clients/{id}` (RFC 7396). Null removes a limit.

    If the client may do other things afterwards, its tokens end.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": "accounts:read"}]})

    id: NotNull[Id] = None
    name: NotNull[Name] = None
    roles: NotNull[Roles] = None
    scope: NotNull[Scope] = None
    account_ids: AccountIds | None = None
    user_ids: Ids | None = None
    secrets: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class Rotation(Body):
    """`POST /clients/{id}/secrets`. The secret before this one stays valid for the overlap, by default a day.

    With 0, it ends at once, and so do the client's tokens.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = DEFAULT_OVERLAP_SECONDS


class TokenRequest(Body):
    """`POST /auth/token` (RFC 6749, section 4.4.2), as a form. Other parameters are ignored.

    The client authenticates with HTTP Basic or with `client_id` and `client_secret`. Without `scope`, the token has all
    scopes of the client.
    """

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"grant_type": "client_credentials", "scope": "accounts:read"}]},
    )

    grant_type: Literal["client_credentials"]
    scope: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


Secret = Annotated[str, Meta(description="Shown only once", examples=["ledger-secret-…"])]
AnsweredIds = Annotated[list[AnsweredId] | None, Meta(description="Null without such a limit", examples=[[_ACCOUNT]])]
AnsweredScope = Annotated[str, Meta(description="Separated by blanks", examples=["accounts:read transactions:write"])]


class ClientSecret(Answer, frozen=True):
    """A secret that is still accepted, without the secret itself."""

    id: AnsweredId
    expires_at: Annotated[Time | None, Meta(description="Null for the newest", examples=[None])]


class _MachineClient(Answer, frozen=True, kw_only=True):
    id: AnsweredId
    name: Annotated[str, Meta(examples=["payments"])]
    roles: Annotated[str, Meta(description="Separated by commas", examples=["customer"])]
    scope: AnsweredScope
    account_ids: AnsweredIds
    user_ids: AnsweredIds
    secrets: list[ClientSecret]


class MachineClient(_MachineClient, frozen=True, kw_only=True):
    """A machine client: what it may do, and the accounts it is limited to."""

    created_at: Time
    updated_at: Time


class RegisteredClient(MachineClient, frozen=True, kw_only=True):
    """A client with its first secret, which is shown only once: a replay of the request does not have it."""

    client_secret: Secret | UnsetType = UNSET


class RotatedClient(_MachineClient, frozen=True, kw_only=True):
    """A client with its new secret, which is shown only once: a replay of the request does not have it."""

    client_secret: Secret | UnsetType = UNSET


class AccessToken(Answer, frozen=True):
    """The access token of a client (RFC 6749, section 5.1)."""

    access_token: Token
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(ge=0, examples=[3600])]
    scope: AnsweredScope
