"""What the benchmark reads: the parts on its command line, the interpreter's build, and the system's figures."""

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import PARTS
from benchmarks.load import parse_milliseconds
from benchmarks.machine import describe_build, parse_processor_seconds, processor_seconds
from benchmarks.parts import UnknownPartError, choose, describe_part


def test_parts_are_chosen_by_name() -> None:
    """`ONLY=bulk, transfers` chooses two, in the order of the table; without names, all are chosen."""
    assert [part.name for part in choose(PARTS, "bulk, transfers")] == ["transfers", "bulk"]
    assert choose(PARTS, "") == list(PARTS)


def test_an_unknown_part_is_named() -> None:
    """A misspelt name measures nothing."""
    with pytest.raises(UnknownPartError, match=r"no part is named bluk, x; ONLY=list"):
        choose(PARTS, "bulk,bluk,x")


def test_each_part_has_a_name_of_its_own_and_one_way_to_measure() -> None:
    """A part measures on the shared ledger or alone."""
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all((part.on_ledger is None) != (part.alone is None) for part in PARTS)
    assert describe_part(PARTS[0]).startswith("transfers: transfers of 64 clients")


@pytest.mark.parametrize(
    ("options", "flags", "described"),
    [
        ("'--enable-shared'", "-Wall -O3 -g", "(-O3, without PGO, without LTO)"),
        ("'--enable-optimizations' '--with-lto'", "-O2 -O3", "(-O3, with PGO, with LTO)"),
        ("", "", "(unknown level, without PGO, without LTO)"),
    ],
)
def test_the_build_of_the_interpreter(options: str, flags: str, described: str) -> None:
    """A figure depends on it."""
    assert describe_build(options, flags) == described


def test_processor_time_of_a_process_with_a_strange_name() -> None:
    """The name of a process may have blanks and brackets, so fields count from its end."""
    ticks = os.sysconf("SC_CLK_TCK")
    stat = f"7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 {3 * ticks} {ticks} 0 0 20"
    assert parse_processor_seconds(stat) == 4


def test_a_process_that_has_ended_has_no_time() -> None:
    """A backend may end during a measurement."""
    ended = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    assert processor_seconds([os.getpid(), ended]).keys() == {os.getpid()}


@pytest.mark.parametrize(("text", "milliseconds"), [("350us", 0.35), ("1.50ms", 1.5), ("2s", 2000)])
def test_durations_of_wrk(text: str, milliseconds: float) -> None:
    """The load generator chooses the unit."""
    assert parse_milliseconds(text) == pytest.approx(milliseconds)
