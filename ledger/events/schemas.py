"""The JSON Schemas (2020-12) and samples of all events, from the table of events and the meanings of their members.

Each event has two schemas: that of its members as the log has them, and that of the members that leave the ledger,
which is the schema of its CloudEvent's `data`. Amounts are integers in minor units, times are RFC 3339 in UTC.
"""

import inspect
from datetime import UTC, datetime
from functools import cache, reduce
from operator import or_
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger.events.cloud import schema_uri, to_cloud_event
from ledger.events.disclosure import SHAPES, disclosed_members, fields_of, find_nested
from ledger.events.members import MEMBERS, UNUSUAL, Member
from ledger.money import MAX_CENTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TOPICS = {shape: topic for topic, shape in SHAPES.items()}
_LIMITED: dict[Any, Any] = {datetime: Annotated[datetime, Meta(tz=True)]}
_CENTS = Annotated[int, Meta(ge=-MAX_CENTS, le=MAX_CENTS)]


class Sample(NamedTuple):
    """A sample of an event in the log."""

    topic: str
    state: bytes
    position: int = 42
    stream_id: UUID = UUID("01890a5d-ac96-774b-bcce-b302099a8059")
    version: int = 7
    recorded_at: datetime = datetime(2026, 5, 1, 12, tzinfo=UTC)
    command_id: UUID | None = UUID("01890a5d-ac96-774b-bcce-b302099a8081")


SAMPLE_LEDGER = UUID("01890a5d-ac96-774b-bcce-b302099a8080")


def name_of(shape: type[msgspec.Struct]) -> str:
    """Return the name of a class in schemas: the topic of an event; `Stored` and its own name for a part of events."""
    return _TOPICS.get(shape) or f"Stored{shape.__name__}"


def meaning_of(shape: type[msgspec.Struct]) -> str:
    """Return what a class means: the first paragraph of its description, in one line."""
    return " ".join(inspect.cleandoc(shape.__doc__ or "").split("\n\n")[0].split())


def describe_member(shape: type[msgspec.Struct], name: str) -> Member:
    """Return the meaning of a class's member. Raises `LookupError` if nobody has described it."""
    return MEMBERS.get(f"{name_of(shape)}.{name}") or MEMBERS[name]


@cache
def model_of(shape: type[msgspec.Struct], *, disclosed: bool) -> type[msgspec.Struct]:
    """Return a class with the members of an event, or only those that leave the ledger, each with its description.

    A class with all members refuses any other member. Consumers ignore members that later versions add.
    """
    chosen = disclosed_members(shape)
    return msgspec.defstruct(
        name_of(shape),
        [
            _describe(shape, field, disclosed=disclosed)
            for field in msgspec.structs.fields(shape)
            if not disclosed or field.encode_name in chosen
        ],
        namespace={"__doc__": meaning_of(shape)},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=not disclosed,
    )


def _describe(shape: type[msgspec.Struct], field: msgspec.structs.FieldInfo, *, disclosed: bool) -> Any:
    """Return a member with its type. An optional one may be absent, and is never null if its class omits defaults."""
    member = describe_member(shape, field.encode_name)
    is_absent = field.default is None and shape.__struct_config__.omit_defaults
    kind = _without_null(field.type) if is_absent else field.type
    kind = _limit(kind, is_money=field.encode_name.endswith("_cents"), disclosed=disclosed)
    meta = Meta(description=member.text, examples=None if member.is_part else [member.sample])
    described = Annotated[kind, meta]  # type: ignore[valid-type]  # made from the type of the event
    return (field.encode_name, described) if field.required else (field.encode_name, described | UnsetType, UNSET)


def _without_null(kind: Any) -> Any:
    return reduce(or_, (part for part in get_args(kind) if part is not NoneType))


def _limit(kind: Any, *, is_money: bool, disclosed: bool) -> Any:
    """Return a type that states the limits of amounts and the form of times, with the models of structs in it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return model_of(kind, disclosed=disclosed)
    if kind is int and is_money:
        return _CENTS
    parts = [_limit(part, is_money=is_money, disclosed=disclosed) for part in get_args(kind)]
    if get_origin(kind) in {Union, UnionType}:
        return reduce(or_, parts)
    return GenericAlias(list, (parts[0],)) if get_origin(kind) is tuple else _LIMITED.get(kind, kind)


def state_schema(topic: str) -> dict[str, Any]:
    """Return the schema of an event's members in the log."""
    return _schema_of(model_of(SHAPES[topic], disclosed=False))


def data_schema(topic: str) -> dict[str, Any]:
    """Return the schema of an event's members that leave the ledger, under its name in CloudEvents."""
    return {"$schema": DIALECT, "$id": schema_uri(topic), **_schema_of(model_of(SHAPES[topic], disclosed=True))}


def _schema_of(model: type[msgspec.Struct]) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([model], ref_template="#/$defs/{name}")
    own: dict[str, Any] = parts.pop(model.__name__)
    return own | ({"$defs": parts} if parts else {})


def sample_state(topic: str) -> dict[str, Any]:
    """Return a sample of an event's members in the log."""
    return _sample_of(SHAPES[topic])


def sample_cloud_event(topic: str) -> dict[str, object]:
    """Return a sample of an event as it leaves the ledger. Raises `ValueError` for an event that does not leave."""
    return to_cloud_event(Sample(topic, msgspec.json.encode(sample_state(topic))), SAMPLE_LEDGER)


def _sample_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    fields = {field.encode_name: field.type for field in fields_of(shape)}
    usual = [name for name in fields if not {name, f"{name_of(shape)}.{name}"} & UNUSUAL]
    return {name: _sample_member(describe_member(shape, name), fields[name]) for name in usual}


def _sample_member(member: Member, kind: msgspec.inspect.Type) -> Any:
    nested = find_nested(kind)
    if nested is None or not member.is_part:
        return member.sample
    return [_sample_of(nested)] if isinstance(kind, msgspec.inspect.VarTupleType) else _sample_of(nested)
