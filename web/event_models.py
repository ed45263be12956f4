"""The models of stored events, as clients of the API see them: one for each topic, with the members of its `state`."""

from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger.events.cloud import event_id, event_source, event_type, schema_uri
from ledger.events.disclosure import SHAPES
from ledger.events.schemas import SAMPLE_LEDGER, meaning_of, model_of, sample_cloud_event
from web.response_fields import Answer, Id, Position, Time, Version

_NUMBER = "^[1-9][0-9]*$"


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


class CloudEvent(Answer, frozen=True, omit_defaults=True):
    """A stored event in the form of CloudEvents 1.0. /asyncapi.json has what `data` has, by `type`."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(description="The ledger and the position", examples=[event_id(SAMPLE_LEDGER, 42)])]
    source: Annotated[str, Meta(description="The ledger", examples=[event_source(SAMPLE_LEDGER)])]
    type: Annotated[str, Meta(description="The topic and its version", examples=[event_type("AccountOpened")])]
    subject: Annotated[Id, Meta(description="The stream")]
    time: Annotated[Time, Meta(description="When the event was recorded")]
    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, Meta(description="The schema of `data`", examples=[schema_uri("AccountOpened")])]
    position: Annotated[str, Meta(pattern=_NUMBER, description="The position in the log", examples=["42"])]
    streamversion: Annotated[str, Meta(pattern=_NUMBER, description="The version of the stream", examples=["3"])]
    data: Annotated[dict[str, Any], Meta(examples=[sample_cloud_event("AccountOpened")["data"]])]
    correlationid: Annotated[Id, Meta(description="The command that appended the event")] | UnsetType = UNSET


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
