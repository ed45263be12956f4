"""A stream of JetStream is what a ledger needs, or each reason why it is not is named."""

from typing import Any

import pytest

from ledger.publish.streams import NANOSECONDS, Wanted, find_problems

WANTED = Wanted("ledger", "ledger.L.>", 1)
OTHERS: dict[str, dict[str, Any]] = {
    "its subjects are a.>, b.> instead of ledger.L.>": {"subjects": ["a.>", "b.>"]},
    "its subjects are none instead of ledger.L.>": {"subjects": []},
    "its retention is workqueue instead of limits, so consumers delete events": {"retention": "workqueue"},
    "it has no allow_atomic, which NATS 2.12 and later have": {"allow_atomic": False},
    "max_msgs_per_subject deletes events": {"max_msgs_per_subject": 1},
    "its duplicates window is longer than 3600 s": {"duplicate_window": 3601 * NANOSECONDS},
    "it has sources, so its messages are not those of this ledger alone": {"sources": [{"name": "other"}]},
    "it has mirror, so its messages are not those of this ledger alone": {"mirror": {"name": "other"}},
    "it has sealed": {"sealed": True},
    "it has no_ack": {"no_ack": True},
}


def test_the_stream_that_the_ledger_creates_has_no_problem() -> None:
    assert [] == list(find_problems(WANTED.config(), WANTED))


def test_limits_are_the_operators_choice() -> None:
    limits: dict[str, Any] = {
        "max_age": 86_400 * NANOSECONDS,
        "max_bytes": 1 << 30,
        "discard": "old",
        "storage": "memory",
    }
    assert [] == list(find_problems({**WANTED.config(), **limits}, WANTED))


@pytest.mark.parametrize("problem", OTHERS)
def test_each_problem_is_named(problem: str) -> None:
    config: dict[str, Any] = {**WANTED.config(), **OTHERS[problem]}
    assert [problem] == list(find_problems(config, WANTED))
