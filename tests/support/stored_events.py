"""A stored sample of every event, from `tests/unit/events/stored_events.jsonl`."""

import msgspec

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
