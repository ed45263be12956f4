"""Matching a statement with entries: only what leaves no choice is matched, whatever the order of either side."""

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.commands.matching import (
    MAX_PAIRS,
    Ambiguity,
    Candidate,
    Line,
    Match,
    Matching,
    NewLine,
    identify_lines,
    match,
)

FIRST = date(2026, 5, 1)
WINDOW = 3


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


def line(
    key: str, on: int, cents: int = 500, reference: str | None = None, text: str = "", e2e: str | None = None
) -> Line:
    return Line(key, day(on), cents, reference, e2e, text)


def entry(version: int, on: int, cents: int = 500, *references: str, bank: str | None = None) -> Candidate:
    return Candidate(version, day(on), cents, frozenset({*references, *([bank] if bank else [])}), bank)


def taken(version: int, on: int, cents: int = 500) -> Candidate:
    return Candidate(version, day(on), cents, is_taken=True)


def test_amount_side_and_window_must_fit() -> None:
    matching = match([line("a", 1), line("b", 1, -700)], [entry(1, 4), entry(2, 1, 700), entry(3, 5, -700)], WINDOW)
    assert [Match("a", 1, "window")] == matching.matches
    assert ["b"] == [one.key for one in matching.lines_left]
    assert [3, 2] == [one.version for one in matching.entries_left]
    assert [] == matching.ambiguities


def test_references_come_before_days() -> None:
    entries = [entry(1, 1), entry(2, 3, 500, bank="r-2"), entry(3, 2, 500, "INV-7")]
    matching = match([line("a", 1, reference="r-2"), line("b", 1, reference="r-3", e2e="INV-7")], entries, WINDOW)
    assert [Match("a", 2, "reference"), Match("b", 3, "reference")] == matching.matches
    assert [1] == [one.version for one in matching.entries_left]


def test_the_same_day_comes_before_the_window() -> None:
    lines = [line("a", 1), line("b", 2), line("c", 3)]
    matching = match(lines, [entry(1, 3), entry(2, 1), entry(3, 2)], WINDOW)
    assert [("a", 2), ("b", 3), ("c", 1)] == [(one.key, one.version) for one in matching.matches]
    assert {"day"} == {one.by for one in matching.matches}


def test_two_choices_are_reported_and_not_guessed() -> None:
    """One line and two entries; two lines and one entry; two lines that say different things, and two entries."""
    assert [Ambiguity(("a",), (1, 2))] == match([line("a", 1)], [entry(1, 1), entry(2, 1)], WINDOW).ambiguities
    assert [Ambiguity(("a", "b"), (1,))] == match([line("a", 1), line("b", 1)], [entry(1, 1)], WINDOW).ambiguities
    lines = [line("a", 1, text="rent"), line("b", 1, text="power")]
    assert [Ambiguity(("a", "b"), (1, 2))] == match(lines, [entry(1, 1), entry(2, 1)], WINDOW).ambiguities
    chain = match([line("a", 1), line("b", 5)], [entry(1, 3), entry(2, 7)], WINDOW)
    assert [Ambiguity(("a", "b"), (1, 2))] == chain.ambiguities
    assert [] == chain.matches


def test_lines_that_say_the_same_are_matched_if_there_is_an_entry_for_each() -> None:
    lines = [line("a", 1), line("b", 1)]
    assert [("a", 1), ("b", 2)] == [one[:2] for one in match(lines, [entry(2, 1), entry(1, 1)], WINDOW).matches]
    assert [] == match(lines, [entry(1, 1), entry(2, 1), entry(3, 1)], WINDOW).matches


def test_an_entry_with_another_reference_of_the_bank_is_another_one() -> None:
    matching = match([line("a", 1, reference="r-1")], [entry(1, 1, 500, bank="r-2")], WINDOW)
    assert (["a"], [1]) == ([one.key for one in matching.lines_left], [one.version for one in matching.entries_left])


def test_an_entry_that_another_line_has_is_never_matched_again() -> None:
    """The line may be the one that was matched, from a file in another format. So it takes no other entry either."""
    matching = match([line("a", 1)], [taken(1, 1), entry(2, 2)], WINDOW)
    assert ([], [Ambiguity(("a",), (1, 2))]) == (matching.matches, matching.ambiguities)
    assert [Match("a", 2, "window")] == match([line("a", 1)], [taken(1, 2), entry(2, 2)], WINDOW).matches
    assert [Match("a", 2, "reference")] == match(
        [line("a", 1, reference="r")], [taken(1, 1), entry(2, 2, 500, "r")], WINDOW
    ).matches


def test_a_multitude_of_one_amount_is_matched_by_references_alone() -> None:
    count = int(MAX_PAIRS**0.5) + 2
    lines = [line(f"{number:04}", number % 28 + 1, text=str(number)) for number in range(count)]
    entries = [entry(number, number % 28 + 1) for number in range(count)]
    lines[0], entries[0] = line("0000", 1, reference="r"), entry(0, 2, 500, bank="r")
    matching = match(lines, entries, WINDOW)
    assert [Match("0000", 0, "reference")] == matching.matches
    assert [count - 1] == [len(group.versions) for group in matching.ambiguities]


def test_lines_are_known_by_the_reference_of_the_bank_or_by_what_they_say() -> None:
    known = NewLine(day(1), 500, "r-1", text="Rent")
    reworded, plain = known._replace(text="RENT"), NewLine(day(1), 500, text="Fee")
    first = [one.key for one in identify_lines([known, plain, plain, plain._replace(text="fee")])]
    assert 4 == len(set(first))
    again = [one.key for one in identify_lines([plain, reworded, plain])]
    assert [first[1], first[0], first[2]] == again
    others = identify_lines([known._replace(day=day(2)), known._replace(amount_cents=-500)])
    assert {one.key for one in others}.isdisjoint(first)


REFERENCES = st.one_of(st.none(), st.sampled_from(["r-1", "r-2", "r-3"]))
LINES = st.lists(
    st.builds(
        NewLine,
        day=st.integers(1, 9).map(day),
        amount_cents=st.sampled_from([-500, 500, 700]),
        bank_reference=REFERENCES,
        end_to_end_id=REFERENCES,
        text=st.sampled_from(["", "fee"]),
    ),
    max_size=8,
).map(lambda lines: list({one.key: one for one in identify_lines(lines)}.values()))
ENTRIES = st.lists(
    st.builds(
        lambda on, cents, references, bank, is_taken: Candidate(
            0, on, cents, frozenset() if is_taken else references, None if is_taken else bank, is_taken
        ),
        st.integers(1, 9).map(day),
        st.sampled_from([-500, 500, 700]),
        st.frozensets(st.sampled_from(["r-1", "r-2", "r-3"]), max_size=2),
        REFERENCES,
        st.booleans(),
    ),
    max_size=8,
).map(lambda entries: [one._replace(version=version) for version, one in enumerate(entries, 1)])


def in_order(matching: Matching) -> tuple[object, ...]:
    return (
        sorted(matching.matches),
        sorted(matching.ambiguities),
        sorted(one.key for one in matching.lines_left),
        sorted(one.version for one in matching.entries_left),
    )


@given(lines=LINES, entries=ENTRIES, window=st.integers(0, 5), data=st.data())
@settings(max_examples=400)
def test_each_line_and_each_entry_is_in_one_place_whatever_the_order(
    lines: list[Line], entries: list[Candidate], window: int, data: st.DataObject
) -> None:
    matching = match(lines, entries, window)
    keys = [one.key for one in matching.matches] + [key for group in matching.ambiguities for key in group.keys]
    assert sorted([*keys, *(one.key for one in matching.lines_left)]) == sorted(one.key for one in lines)
    versions = [one.version for one in matching.matches] + [
        version for group in matching.ambiguities for version in group.versions
    ]
    versions += [one.version for one in matching.entries_left]
    assert len(versions) == len(set(versions))
    free = {one.version for one in entries if not one.is_taken}
    assert free <= set(versions)
    by_key, by_version = {one.key: one for one in lines}, {one.version: one for one in entries}
    for one in matching.matches:
        line, entry = by_key[one.key], by_version[one.version]
        assert one.version in free
        assert line.amount_cents == entry.amount_cents
        assert abs((line.day - entry.day).days) <= window
    shuffled = match(data.draw(st.permutations(lines)), data.draw(st.permutations(entries)), window)
    assert in_order(matching) == in_order(shuffled)


@given(lines=LINES, entries=ENTRIES, window=st.integers(0, 5))
@settings(max_examples=200)
def test_what_is_left_has_no_counterpart(lines: list[Line], entries: list[Candidate], window: int) -> None:
    matching = match(lines, entries, window)
    for line in matching.lines_left:
        for entry in matching.entries_left:
            contradicts = None not in (line.bank_reference, entry.bank_reference)
            is_near = abs((line.day - entry.day).days) <= window
            assert contradicts or not is_near or line.amount_cents != entry.amount_cents
