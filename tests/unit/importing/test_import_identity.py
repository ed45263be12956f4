"""The identity of a line is its id, its reference, or what it says within a run: not how the file is saved."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.importing.faults import OptionError
from ledger.importing.identity import Identities, check_run, digest
from tests.support.import_files import HEADER, A, B, C, check, faults, write

ROWS = [f"{A},{B},5", f"{A},{B},5", f"{A},{C},7"]


def table(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def ids(path: Path, text: str, run: str | None = "2026-06") -> list[str]:
    return [request["id"] for request in check(write(path, text), run)]


def test_the_same_rows_have_the_same_ids_however_they_are_saved(tmp_path: Path) -> None:
    """Lesson 45: another line ending, encoding, separator, order of columns, format, or file name."""
    text = table(*ROWS)
    forms = [
        ids(tmp_path / "a.csv", text),
        ids(tmp_path / "b.csv", text.replace("\n", "\r\n").replace(",", ";")),
        ids(tmp_path / "c.csv", "\ufeff" + text.rstrip()),
        ids(tmp_path / "d.jsonl", "".join(json.dumps(_body(row)) + "\n" for row in ROWS)),
    ]
    assert [forms[0]] * 4 == forms
    assert 3 == len(set(forms[0])), "equal lines are different transactions"


def _body(row: str) -> dict[str, object]:
    source, destination, cents = row.split(",")
    return {"amount_cents": int(cents), "destination_account_id": destination, "source_account_id": source}


def test_a_mended_or_moved_row_does_not_change_the_others(tmp_path: Path) -> None:
    """Lesson 45."""
    before = ids(tmp_path / "may.csv", table(*ROWS))
    after = ids(tmp_path / "may.csv", table(f"{C},{B},9", ROWS[2], ROWS[0], f"{A},{B},6"))
    assert [before[2], before[0]] == after[1:3]
    assert {after[0], after[3]}.isdisjoint(before)


def test_another_run_is_other_transactions(tmp_path: Path) -> None:
    """Lesson 45: last month's file with the same bytes pays this month."""
    runs = [ids(tmp_path / "rent.csv", table(*ROWS), run) for run in ("2026-05-rent", "2026-06-rent")]
    assert 6 == len({*runs[0], *runs[1]})


def test_a_run_is_required_unless_each_line_has_an_id_or_a_reference(tmp_path: Path) -> None:
    header = f"{HEADER},id,reference"
    named = table(f"{ROWS[0]},{C},", f"{ROWS[0]},,rent", header=header)
    assert [C] == ids(tmp_path / "may.csv", named, None)[:1]
    (said,) = faults(write(tmp_path / "may.csv", table(f"{ROWS[0]},,a", *[f"{ROWS[0]},,"] * 9, header=header)), None)
    assert "3:1: the line has neither an id nor a reference: give --run NAME, such as --run 2026-06-rent" == said


def test_a_line_with_a_reference_is_the_same_in_each_run_and_whatever_it_says(tmp_path: Path) -> None:
    """So the service refuses a line that says something else, and names what differs."""
    header = f"{HEADER},reference"
    first = ids(tmp_path / "may.csv", table(f"{ROWS[0]},INV 1", header=header), None)
    again = ids(tmp_path / "may.csv", table(f"{ROWS[2]},INV\u00a01", header=header), "a run")
    assert first == again


@pytest.mark.parametrize(("name", "values"), [("reference", ["rent", "rent"]), ("id", [C, C.upper()])])
def test_two_lines_with_one_identity_must_say_the_same(tmp_path: Path, name: str, values: list[str]) -> None:
    header = f"{HEADER},{name}"
    same = table(*[f"{ROWS[0]},{value}" for value in values], header=header)
    assert [] == faults(write(tmp_path / "may.csv", same))
    other = table(f"{ROWS[0]},{values[0]}", f"{ROWS[2]},{values[1]}", header=header)
    assert [f"3:77: {name}: line 2 has the same, and says something else"] == faults(write(tmp_path / "may.csv", other))


@given(st.lists(st.binary(min_size=1, max_size=2), max_size=40))
def test_identities_are_counted_the_same_in_memory_and_on_disk(keys: list[bytes]) -> None:
    with Identities() as memory, Identities(in_memory=3) as disk:
        numbered = [(digest(key), number, key) for number, key in enumerate(keys)]
        assert [memory.take(*each) for each in numbered] == [disk.take(*each) for each in numbered]


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 201])
def test_a_run_has_a_readable_name(name: str) -> None:
    with pytest.raises(OptionError, match=r"^--run: must be a name"):
        check_run(name)
