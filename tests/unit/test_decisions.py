"""docs/decisions/: the index matches the records, and records name existing tests and records."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
INDEX = (FOLDER / "README.md").read_text()
TESTS = {path.name for path in (ROOT / "tests").rglob("*.py")}


def field(record: Path, name: str) -> str:
    """Return the text of a `- Name: …` item, which may continue on indented lines."""
    found = re.search(rf"^- {name}: (.+(?:\n  .+)*)", record.read_text(), re.MULTILINE)
    assert found is not None, f"{record.name} has no {name}"
    return " ".join(found[1].split())


def number_of(record: Path) -> int:
    """Return the number in the name of the file."""
    return int(record.name[:4])


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_the_index_has_the_title_the_status_and_the_date_of_a_record(record: Path) -> None:
    title = record.read_text().splitlines()[0].removeprefix(f"# {number_of(record)}. ")
    status = re.sub(r"\[decision (\d+)\]\([^)]*\)", r"\1", field(record, "Status"))
    row = f"| {number_of(record)} | [{title}]({record.name}) | {status} | {field(record, 'Date')} | "
    assert row in INDEX


def test_records_are_numbered_without_gaps_and_the_index_has_no_others() -> None:
    assert list(range(1, len(RECORDS) + 1)) == [number_of(record) for record in RECORDS]
    assert len(RECORDS) == len(re.findall(r"^\| \d+ \|", INDEX, re.MULTILINE))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_has_a_context_one_decision_and_consequences(record: Path) -> None:
    sections = re.findall(r"^## (.+)", record.read_text(), re.MULTILINE)
    assert ["Context", "Decision"] == sections[:2]
    assert "Consequences" in sections
    assert record.read_text().partition("\n## Decision\n\n")[2].startswith("**")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_the_tests_and_the_records_that_a_record_names_exist(record: Path) -> None:
    text = record.read_text()
    assert {name for name in re.findall(r"`(test_\w+\.py)`", text) if name not in TESTS} == set()
    assert [link for link in re.findall(r"\]\(([^)#:]+\.md)\)", text) if not (FOLDER / link).is_file()] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_an_accepted_record_names_its_tests(record: Path) -> None:
    if field(record, "Status").startswith("accepted"):
        assert re.search(r"`test_\w+\.py`", field(record, "Held by"))


def test_a_record_and_the_one_that_replaces_it_name_each_other() -> None:
    pairs = {"replaced by": set[tuple[int, int]](), "replaces": set[tuple[int, int]]()}
    for record in RECORDS:
        for word, other in re.findall(r"(replaced by|replaces) \[decision (\d+)\]", field(record, "Status")):
            old, new = sorted((number_of(record), int(other)))
            pairs[word].add((old, new))
    assert pairs["replaced by"] == pairs["replaces"] != set()
