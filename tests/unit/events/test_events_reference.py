"""docs/reference/events.md has every event with its meaning, members and sample, as the code has them."""

from ledger.events import reference
from ledger.events.disclosure import DISCLOSED_TOPICS, SHAPES, fields_of
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/events.md").read_text()
SECTIONS = dict(text.split("\n", 1) for text in PAGE.split("\n### ")[1:])


def test_the_reference_is_up_to_date_with_the_code() -> None:
    assert reference.markdown() == PAGE, "run `make reference`"


def test_every_event_has_a_section_with_all_its_members_and_a_sample() -> None:
    assert set(SHAPES) == set(SECTIONS)
    for topic, shape in SHAPES.items():
        names = {field.encode_name for field in fields_of(shape)}
        assert [] == [name for name in names if f"| `{name}`" not in SECTIONS[topic]]
        assert bool(names) == ("```json" in SECTIONS[topic])


def test_the_reference_says_which_events_stay() -> None:
    staying = {topic for topic, text in SECTIONS.items() if "This event stays in the ledger." in text}
    assert set(SHAPES) - DISCLOSED_TOPICS == staying
