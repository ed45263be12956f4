"""The models of stored events, as clients of the API see them: one for each topic, with the members of its `state`."""

from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ledger.events.disclosure import SHAPES
from ledger.events.schemas import meaning_of, model_of
from web.response_fields import Answer, Id, Position, Time, Version


class _Envelope(Answer, frozen=True, kw_only=True, tag_field="topic"):
    """What all stored events have."""

    position: Position
    stream_id: Id
    version: Version
    recorded_at: Time
    command_id: Id | None


def _model_with_envelope(topic: str) -> Any:
    """Return the model of the stored events of a topic."""
    shape = SHAPES[topic]
    return msgspec.defstruct(
        f"{topic}Event",
        [("state", model_of(shape, disclosed=False))],
        bases=(_Envelope,),
        namespace={"__doc__": meaning_of(shape)},
        frozen=True,
        kw_only=True,
        tag=topic,
    )


_ANY: Any = reduce(or_, map(_model_with_envelope, SHAPES))
STORED_EVENT: Any = Annotated[
    _ANY,
    Meta(
        extra_json_schema={
            "x-component": "StoredEvent",
            "description": "A stored event of any topic; `topic` says which, and what `state` has.",
        }
    ),
]
STORED_EVENTS: Any = GenericAlias(list, (STORED_EVENT,))
