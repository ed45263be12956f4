"""Cells of CSV that a spreadsheet would run are marked as text, and the mark can be removed."""

import hypothesis
import pytest
from hypothesis import strategies as st

from ledger.values.spreadsheets import protect_cell, restore_cell

BEGINNINGS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'"]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe(beginning: str) -> None:
    assert f"'{beginning}1" == protect_cell(f"{beginning}1")


@pytest.mark.parametrize("text", ["", "rent", "1", " =1", "a=1", "INV|1;2"])
def test_other_cells_are_unchanged(text: str) -> None:
    assert text == protect_cell(text) == restore_cell(text)


@hypothesis.given(st.lists(st.sampled_from([*BEGINNINGS, "a"]), max_size=5).map("".join) | st.text())
def test_the_text_can_be_restored(text: str) -> None:
    assert text == restore_cell(protect_cell(text))
    assert not protect_cell(text).startswith(tuple(BEGINNINGS[:-1]))


def test_what_nobody_protected_stays_as_it_is() -> None:
    assert "'tis" == restore_cell("'tis")
