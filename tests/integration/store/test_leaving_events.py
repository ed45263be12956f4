"""Every event of a log with all kinds of them fits its schemas, and leaves without the texts that stay."""

from collections.abc import Iterator
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from ledger.events.cloud import encode_cloud_event
from ledger.events.disclosure import DISCLOSED_TOPICS, SHAPES, TEXTS
from ledger.events.schemas import data_schema, state_schema
from ledger.runtime import Runtime
from ledger.store.reader import read


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value."""
    match value:
        case dict():
            for inner in value.values():
                yield from texts_in(inner)
        case list():
            for inner in value:
                yield from texts_in(inner)
        case str():
            yield value
        case _:
            return


async def test_every_event_of_the_log_fits_its_schemas_and_leaves_without_withheld_texts(busy: Runtime) -> None:
    stretch = await read(busy.pool, 0, limit=10_000)
    assert stretch.is_last
    schemas = {topic: Draft202012Validator(state_schema(topic)) for topic in SHAPES}
    schemas_of_data = {topic: Draft202012Validator(data_schema(topic)) for topic in DISCLOSED_TOPICS}
    assert {event.topic for event in stretch.events} >= DISCLOSED_TOPICS

    for event in stretch.events:
        state = event.body()["state"]
        schemas[event.topic].validate(state)
        if event.topic not in DISCLOSED_TOPICS:
            continue
        body = encode_cloud_event(event, busy.ledger_id)
        schemas_of_data[event.topic].validate(msgspec.json.decode(body)["data"])
        withheld = TEXTS[SHAPES[event.topic]].withheld if SHAPES[event.topic] in TEXTS else ()
        hidden = {text for name in withheld for text in texts_in(state.get(name))}
        assert [] == [text for text in hidden if f'"{text}"'.encode() in body], event.topic
