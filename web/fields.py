"""The members of request bodies: how each is parsed, and how the document describes it."""

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, TypeVar
from unicodedata import normalize
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
)

from ledger.events.accounts import Freeze
from ledger.events.users import ROLES
from ledger.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from ledger.money import MAX_CENTS, check_code
from ledger.values.account_codes import AccountRef, parse_account
from ledger.values.derived import is_derived
from ledger.values.ids import parse_id
from ledger.values.names import MAX_EMAIL_LENGTH, MAX_USERNAME_LENGTH, check_email, check_username
from ledger.values.text import (
    EMAIL_PATTERN,
    IDENTIFYING_PATTERN,
    KNOWN_EMAIL_PATTERN,
    MAX_DESCRIPTION_LENGTH,
    MAX_METADATA_KEYS,
    MAX_METADATA_LENGTH,
    MAX_METADATA_NAME_LENGTH,
    MAX_REFERENCE_LENGTH,
    PRINTABLE_PATTERN,
    READABLE_PATTERN,
    check_identifying,
    check_printable,
    check_readable,
    reference,
)
from ledger.values.timestamps import DATE_OR_TIME_PATTERN, parse_start, parse_time
from web.response_fields import ACCOUNT_REF, CURRENCY, FREEZE

_is_email = re.compile(r"[^@\s]+@[^@\s]+").fullmatch


def _roles(text: str) -> str:
    names = [name.strip(" ") for name in text.split(",")]
    unknown = set(names) - set(ROLES)
    if unknown or len(names) != len(set(names)):
        raise ValueError(f"must be distinct roles out of {', '.join(ROLES)}, separated by commas")
    return ",".join(names)


def _id(value: object) -> UUID:
    if not isinstance(value, str):
        raise ValueError("must be a UUID, as text")  # noqa: TRY004 - pydantic takes no TypeError
    return parse_id(value)


def _account(value: object) -> AccountRef:
    if not isinstance(value, str):
        raise ValueError("must be a UUID or a code, as text")  # noqa: TRY004 - pydantic takes no TypeError
    return parse_account(value)


def _chosen_id(value: object) -> UUID:
    chosen = _id(value)
    if is_derived(chosen):
        raise ValueError("must not be of version 8, which is for ids of the ledger's own")
    return chosen


def _email(text: str) -> str:
    if not _is_email(text):
        raise ValueError("must be an e-mail address, such as alice@example.com")
    return text


def _not_zero(cents: int) -> int:
    if cents == 0:
        raise ValueError("must not be 0")
    return cents


def _time(value: object) -> datetime:
    return parse_time(_text(value))


def _date_or_time(value: object) -> datetime:
    return parse_start(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a time, as text")  # noqa: TRY004 - pydantic takes no TypeError
    return value


def _read_at(value: object) -> datetime:
    """Return the time that a client has read; without a zone it is UTC, as in bodies of the reference service."""
    text = _text(value)
    with suppress(ValueError):
        return parse_time(f"{text}Z")
    return parse_time(text)


def _password_or_none(secret: SecretStr) -> SecretStr:
    if 0 < len(secret.get_secret_value()) < MIN_PASSWORD_LENGTH:
        raise ValueError(f"must have at least {MIN_PASSWORD_LENGTH} characters, or none to leave it as it is")
    return secret


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("must not be null: it cannot be taken away")
    return value


def _without_null(schema: dict[str, Any]) -> None:
    options = schema.pop("anyOf", [schema])
    schema.update(next(option for option in options if option.get("type") != "null"))


T = TypeVar("T")
NotNull = Annotated[T | None, BeforeValidator(_not_null), Field(json_schema_extra=_without_null)]  # may be absent


MetadataT = TypeVar("MetadataT", str, str | None)


def with_composed_keys(metadata: dict[str, MetadataT]) -> dict[str, MetadataT]:
    """Return metadata with composed keys (normalization form C). Raises `ValueError` if two keys look the same."""
    composed = {normalize("NFC", key): value for key, value in metadata.items()}
    if len(composed) < len(metadata):
        raise ValueError("must not have keys that look the same")
    return composed


_BLANK_OR_READABLE = f"^({READABLE_PATTERN.removeprefix('^').removesuffix('$')})?$"
_EMAIL = Field(max_length=MAX_EMAIL_LENGTH)
_ROLE = f" *({'|'.join(ROLES)}) *"
_TWICE = "|".join(f"{role}.*{role}" for role in ROLES)


def _pattern(pattern: str) -> Any:
    """Return the pattern that the document shows for a text that a function checks."""
    return Field(json_schema_extra={"pattern": pattern})


Id = Annotated[UUID, PlainValidator(_id), WithJsonSchema({"type": "string", "format": "uuid"})]
# An account by its id, or by its code until `web.http.account_refs` replaces that with the id.
AccountId = Annotated[UUID, PlainValidator(_account), PlainSerializer(str), WithJsonSchema(ACCOUNT_REF)]
ChosenId = Annotated[
    UUID,
    PlainValidator(_chosen_id),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": "^.{14}[^8]", "description": "Not of version 8"}),
]
Cents = Annotated[int, Field(ge=0, le=MAX_CENTS)]
PositiveCents = Annotated[int, Field(ge=1, le=MAX_CENTS)]
Balance = Annotated[int, Field(ge=-MAX_CENTS, le=MAX_CENTS)]
SignedCents = Annotated[
    int, Field(ge=-MAX_CENTS, le=MAX_CENTS, json_schema_extra={"not": {"const": 0}}), AfterValidator(_not_zero)
]
Currency = Annotated[str, AfterValidator(check_code), WithJsonSchema(CURRENCY)]
Frozen = Annotated[Freeze, WithJsonSchema(FREEZE)]
_USERNAME = Field(min_length=1, max_length=MAX_USERNAME_LENGTH)
NewUsername = Annotated[str, _USERNAME, AfterValidator(check_username), _pattern(IDENTIFYING_PATTERN)]
NewEmail = Annotated[str, _EMAIL, AfterValidator(_email), AfterValidator(check_email), _pattern(EMAIL_PATTERN)]
# A user may have got this name before the rules for names existed, so only a new name is checked, by the command.
Username = Annotated[str, _USERNAME, AfterValidator(check_printable), _pattern(PRINTABLE_PATTERN)]
Email = Annotated[str, _EMAIL, AfterValidator(_email), AfterValidator(check_printable), _pattern(KNOWN_EMAIL_PATTERN)]
Roles = Annotated[
    str,
    Field(
        max_length=64,
        description=f"Distinct roles, separated by commas: {', '.join(ROLES)}",
        json_schema_extra={"pattern": f"^{_ROLE}(,{_ROLE})*$", "not": {"pattern": _TWICE}},
    ),
    AfterValidator(_roles),
]
Reference = Annotated[
    str,
    Field(min_length=1, max_length=MAX_REFERENCE_LENGTH),
    AfterValidator(reference),
    _pattern(IDENTIFYING_PATTERN),
]
Description = Annotated[
    str,
    Field(min_length=1, max_length=MAX_DESCRIPTION_LENGTH),
    AfterValidator(check_readable),
    _pattern(READABLE_PATTERN),
]
MetadataKey = Annotated[
    str, Field(min_length=1, max_length=MAX_METADATA_NAME_LENGTH), AfterValidator(check_identifying)
]
MetadataValue = Annotated[
    str, Field(max_length=MAX_METADATA_LENGTH), AfterValidator(check_readable), _pattern(_BLANK_OR_READABLE)
]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(
        max_length=MAX_METADATA_KEYS,
        json_schema_extra={"propertyNames": {"maxLength": MAX_METADATA_NAME_LENGTH, "pattern": IDENTIFYING_PATTERN}},
    ),
    AfterValidator(with_composed_keys),
]
Time = Annotated[datetime, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
ReadAt = Annotated[
    datetime,
    PlainValidator(_read_at),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "The `updated_at` that the client has read",
        }
    ),
]
Password = Annotated[SecretStr, Field(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)]
PasswordHash = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
PasswordOrNone = Annotated[
    SecretStr,
    Field(max_length=MAX_PASSWORD_LENGTH, json_schema_extra={"pattern": rf"^([\s\S]{{{MIN_PASSWORD_LENGTH},}})?$"}),
    AfterValidator(_password_or_none),
]
PasswordHashOrNone = Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)]
DateOrTime = Annotated[
    datetime,
    PlainValidator(_date_or_time),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": DATE_OR_TIME_PATTERN,
            "description": "RFC 3339; a plain date is midnight UTC",
            "examples": ["2026-05-01", "2026-05-01T12:00:00Z"],
        }
    ),
]
ReadOnly = Annotated[Any, Field(default=None, exclude=True, repr=False, json_schema_extra={"readOnly": True})]
