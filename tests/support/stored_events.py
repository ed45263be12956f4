"""A stored sample of every event, from `tests/unit/events/stored_events.jsonl`, and the classes of its parts."""

from collections.abc import Iterator

import msgspec

from ledger.events.disclosure import fields_of, find_nested
from tests.support.processes import ROOT


class Sample(msgspec.Struct):
    """A stored event. `stream` identifies its stream."""

    stream: str
    topic: str
    state: msgspec.Raw


SAMPLES = msgspec.json.decode(
    b"[" + b",".join((ROOT / "tests/unit/events/stored_events.jsonl").read_bytes().splitlines()) + b"]",
    type=list[Sample],
)


def list_shapes(shape: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Yield a class, and those of its members."""
    yield shape
    for field in fields_of(shape):
        if (nested := find_nested(field.type)) is not None:
            yield from list_shapes(nested)
