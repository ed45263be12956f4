"""docs/lessons.md: every lesson number in the code exists, and the tests that a lesson names refer to it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"\blessons?\s+(\d+(?:(?:,\s*|\s+(?:and|to)\s+)\d+)*)", re.IGNORECASE)
LESSON = re.compile(r"^(\d+)\. (.+(?:\n +.+)*)", re.MULTILINE)
OPEN = re.compile(r"\*Open(?:: issue \d+)?\.\*$")


def lessons_in(text: str) -> Iterator[int]:
    """Yield the numbers in references such as "Lesson 4", "Lessons 5 and 33" and "Lessons 10 to 14"."""
    for reference in REFERENCE.finditer(text):
        numbers = [int(number) for number in re.findall(r"\d+", reference[1])]
        yield from range(numbers[0], numbers[-1] + 1) if " to " in reference[1] else numbers


LESSONS = {
    int(found[1]): " ".join(found[2].split()) for found in LESSON.finditer((ROOT / "docs/lessons.md").read_text())
}
SOURCES = [
    path
    for folder in ("benchmarks", "examples", "ledger", "migrations", "tests", "web")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
]
USED = {path: set(lessons_in(path.read_text())) for path in SOURCES}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lesson 4.", [4]),
        ("(lesson 15).", [15]),
        ("Lessons 1, 3 and 4: …", [1, 3, 4]),
        ("Lessons 10 to 12.", [10, 11, 12]),
    ],
)
def test_references_are_read_in_all_their_forms(text: str, expected: list[int]) -> None:
    assert expected == list(lessons_in(text))


def test_lessons_are_numbered_without_gaps() -> None:
    assert list(range(1, len(LESSONS) + 1)) == list(LESSONS)


def test_every_lesson_that_is_referred_to_exists() -> None:
    assert {} == {path.name: numbers - LESSONS.keys() for path, numbers in USED.items() if numbers - LESSONS.keys()}


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_names_tests_that_refer_to_it(number: int) -> None:
    referring = {path.name for path, numbers in USED.items() if number in numbers and path.name.startswith("test_")}
    named = set(re.findall(r"`(test_\w+\.py)`", LESSONS[number]))
    if OPEN.search(LESSONS[number]):
        assert (set(), set()) == (named, referring), "a lesson with a test is no longer open"
    else:
        assert named, "a lesson must name its tests or be open"
        assert set() == named - referring, "these files do not refer to the lesson"
