"""The filters `metadata.KEY=VALUE` of lists: one query parameter for each key, whose name the client completes."""

from collections.abc import Collection

from aiohttp import web

from ledger.values.text import MAX_METADATA_KEYS, MAX_METADATA_LENGTH
from web.http.params import Parameter

PREFIX = "metadata."


def _check_value(text: str) -> str:
    if len(text) > MAX_METADATA_LENGTH:
        raise ValueError(f"must have at most {MAX_METADATA_LENGTH} characters")
    return text


METADATA = Parameter(
    f"{PREFIX}KEY",
    "Only with this value of a key of the metadata, whose name replaces `KEY`; all such parameters apply",
    _check_value,
    schema={"type": "string", "maxLength": MAX_METADATA_LENGTH},
)


def is_metadata_filter(name: str, known: Collection[str]) -> bool:
    """Return whether a parameter has the name of a key, where `known` parameters have such filters."""
    return name.startswith(PREFIX) and len(name) > len(PREFIX) and METADATA.name in known


def read_metadata_filter(request: web.Request) -> dict[str, str] | None:
    """Return the values of the keys that the request filters by, or None. Raises `Refused`."""
    names = [name for name in request.query if name.startswith(PREFIX)]
    if len(set(names)) > MAX_METADATA_KEYS:
        METADATA.refuse(f"must be given for at most {MAX_METADATA_KEYS} keys")
    return {name.removeprefix(PREFIX): METADATA.named(name).read(request) or "" for name in names} or None
