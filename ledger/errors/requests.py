"""Refusals of a request: its members, parameters, conditions and repetition."""

import difflib
import re
from collections.abc import Collection
from typing import Literal

from ledger.errors.refusal import Refusal

Place = Literal["query", "path", "header"]

MAX_NAME_LENGTH = 64  # of a name from a request that a message repeats
_is_word = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_NAME_LENGTH}}}", re.ASCII).fullmatch


def invalid(pointer: str, message: str) -> Refusal:
    """Return the refusal of a member of the body; `pointer` is its JSON pointer (RFC 6901)."""
    return Refusal("validation_error", message, detail={"pointer": pointer})


def unknown_member(unknown: str, members: Collection[str]) -> Refusal:
    """Return the refusal of the member at this pointer; `members` are those that the object may have."""
    name = unknown.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    return invalid(unknown, _unknown("member", name, members))


def invalid_parameter(parameter: str, message: str, place: Place = "query") -> Refusal:
    """Return the refusal of a parameter of the query or the path, or of a header field."""
    return Refusal("validation_error", message, detail={"parameter": parameter, "in": place})


def unknown_parameter(name: str, parameters: Collection[str]) -> Refusal:
    """Return the refusal of a query parameter that the route does not have; `parameters` are those that it has."""
    return invalid_parameter(name, _unknown("parameter", name, parameters))


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    """Return a message with the unknown name if it is a plain word, the nearest known name, and all known names."""
    subject = f"unknown {kind} {name}" if _is_word(name) else f"unknown {kind}"
    names = ", ".join(known) or "none"
    nearest = difflib.get_close_matches(name[:MAX_NAME_LENGTH], known, n=1)
    return f"{subject}; did you mean {nearest[0]}? Known: {names}" if nearest else f"{subject}; known: {names}"


def no_event_after(position: int) -> Refusal:
    """Refuse to return an event after a position while the log has none that the client may have."""
    return Refusal("resource_not_found", f"no event after position {position} yet", detail={"after": str(position)})


def id_mismatch() -> Refusal:
    """Refuse a body whose id differs from the id in the path."""
    return Refusal("id_mismatch", "the id in the path differs from the id in the body", detail={"pointer": "/id"})


def precondition_failed(version: int) -> Refusal:
    """Refuse a change of a resource that is not at a version the client expects."""
    return Refusal(
        "precondition_failed",
        "the resource has changed",
        reason="its version must be the expected one",
        detail={"version": str(version)},
    )


def condition_not_met(pointer: str) -> Refusal:
    """Refuse a request whose condition is not met."""
    return Refusal("condition_not_met", "a condition of the request is not met", detail={"pointer": pointer})


def idempotency_key_reused() -> Refusal:
    """Refuse an idempotency key that was used for another request."""
    return Refusal(
        "idempotency_key_reused",
        "the idempotency key was used for another request",
        reason="a key belongs to one request",
    )


def idempotency_key_in_use() -> Refusal:
    """Refuse a repetition while the first request with its key is still running."""
    return Refusal("idempotency_key_in_use", "a request with this idempotency key is still running")
