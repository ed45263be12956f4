"""The base of all request bodies, and what the document says of them beyond their members."""

from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, SecretStr

_NULL = {"type": "null"}
_NOT_NULL = {"not": _NULL}


class Body(BaseModel):
    """A JSON object with these members and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    def canonical(self) -> bytes:
        """Return the canonical form: the same bytes for equivalent bodies.

        It does not depend on the order of members, on null or a default for an absent member, on the spelling of ids
        and times, or on read-only members. The bytes hold secrets: use them for hashing only.
        """
        members = self.model_dump(exclude_none=True, exclude_defaults=True)
        return msgspec.json.encode(members, enc_hook=_plain, order="sorted")


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def describe(*examples: dict[str, Any], **rules: Any) -> ConfigDict:
    """Return what the document adds to a body's members: examples, and rules over several members."""
    return ConfigDict(json_schema_extra={"examples": list(examples), **rules})


def both(first: str, second: str) -> dict[str, Any]:
    """Return the schema of bodies that have both of these members; a null member counts as absent."""
    return {"required": [first, second], "properties": {first: _NOT_NULL, second: _NOT_NULL}}


def neither(first: str, second: str) -> dict[str, Any]:
    """Return the schema of bodies that have neither of these members."""
    return {"properties": {first: _NULL, second: _NULL}}
