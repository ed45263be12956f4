"""The messages about invalid bodies, in the words of this service.

Pydantic's own messages speak of inputs and fields, do not name unknown members, and change between releases.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ledger import errors
from ledger.errors import Refusal

MAX_REFUSALS = 100  # of one body
MESSAGES = {
    "missing": "must be given",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be an integer, without quotes, fraction or exponent",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false",
    "literal_error": "must be {expected}",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "too_short": "must have at least {min_length} {units}",
    "too_long": "must have at most {max_length} {units}",
    "value_error": "{error}",
}
UNFORESEEN = "must be valid"
_UNITS = {"Value": "characters", "List": "items", "Dictionary": "members"}


def refusals_of(model: type[BaseModel], problems: Sequence[ErrorDetails]) -> list[Refusal]:
    """Return the refusals of a body that does not fit this model, up to `MAX_REFUSALS`."""
    return [_refusal(model, problem) for problem in problems[:MAX_REFUSALS]]


def _refusal(model: type[BaseModel], problem: ErrorDetails) -> Refusal:
    place, message = problem["loc"], _message(problem)
    if problem["type"] == "extra_forbidden":
        return errors.unknown_member(_pointer(place), _members_at(model, place[:-1]))
    if _is_name(place):
        return errors.invalid(_pointer(place[:-1]), message.replace("must", "the member's name must", 1))
    if not place and ": " in message:  # a rule on several members: the message begins with one of them
        member, message = message.split(": ", 1)
        return errors.invalid(f"/{member}", message)
    return errors.invalid(_pointer(place), message if place else f"the body {message}")


def _message(problem: ErrorDetails) -> str:
    context: Mapping[str, Any] = problem.get("ctx", {})
    if context.get("min_length") == 1:
        return "must not be empty"
    units = _UNITS.get(context.get("field_type", ""))
    expected = str(context.get("expected")).replace("'", "")
    return MESSAGES.get(problem["type"], UNFORESEEN).format_map({**context, "units": units, "expected": expected})


def _pointer(place: Sequence[int | str]) -> str:
    """Return the JSON pointer (RFC 6901) of a place."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def _is_name(place: Sequence[int | str]) -> bool:
    """Return whether the place is a member's name in `metadata`, and not the value of a member called `[key]`."""
    return place[-1:] == ("[key]",) and place[-3:-2] == ("metadata",)


def members_of(model: type[BaseModel]) -> list[str]:
    """Return the members that have an effect; read-only ones have none."""
    return [name for name, field in model.model_fields.items() if not field.exclude]


def _members_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Return the members that the object at this place may have."""
    for part in place:
        if isinstance(part, str):
            model = next(_models_in(model.model_fields[part].annotation))
    return members_of(model)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
