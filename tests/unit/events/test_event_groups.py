"""Every event has an explicit topic, and every account event is in one group; a new event must have both."""

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from ledger.commands import COMMANDS
from ledger.commands.command import Command
from ledger.events import Event, State
from ledger.events.accounts import EVENT_GROUPS, FUNDS_EVENTS, INCOMING_EVENTS, LANDMARK_EVENTS, AccountEvent
from ledger.projections import account_labels, entries
from ledger.store.reader import FREQUENT, FUNDS, INCOMING, LANDMARKS

MIGRATIONS = Path(__file__).parents[3] / "migrations" / "versions"


def test_every_event_and_state_declares_its_topic_and_no_other_class_has_it() -> None:
    topics = [vars(cls).get("TOPIC") for cls in (*get_args(Event), *get_args(State))]
    assert None not in topics
    assert len(topics) == len(set(topics))


def test_every_account_event_is_in_exactly_one_group() -> None:
    counted = Counter(cls for group in EVENT_GROUPS for cls in group)
    assert dict.fromkeys(get_args(AccountEvent), 1) == counted


def test_every_account_event_is_read_at_a_point_in_time() -> None:
    """`ledger.audit.as_of` reads entries, labels and these groups: an event of another group would be left out."""
    read = {*entries.HANDLED, *account_labels.HANDLED, *LANDMARK_EVENTS, *FUNDS_EVENTS, *INCOMING_EVENTS}
    assert {*get_args(AccountEvent)} == read


@pytest.mark.parametrize(
    ("migration", "condition"),
    [
        ("0017_captures", f"WHERE topic IN {LANDMARKS}"),
        ("0004_history", f"WHERE topic NOT IN {FREQUENT}"),
        ("0026_assets", f"WHERE topic IN {FUNDS}"),
        ("0017_captures", f"WHERE topic IN {INCOMING}"),
    ],
)
def test_a_group_of_events_matches_its_partial_index(migration: str, condition: str) -> None:
    """PostgreSQL uses a partial index only for queries that imply its condition."""
    assert condition in (MIGRATIONS / f"{migration}.py").read_text()


def _subclasses(cls: type[object]) -> set[type[object]]:
    return {cls, *(each for child in cls.__subclasses__() for each in _subclasses(child))}


def test_every_command_is_listed_under_a_stored_name_of_its_own() -> None:
    named = {cls for cls in _subclasses(Command) if "name" in vars(cls) and cls.__module__.startswith("ledger.")}
    assert named == set(COMMANDS)
    assert len(COMMANDS) == len({command.name for command in COMMANDS})


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_says_whether_it_always_appends(command: type[Command]) -> None:
    assert isinstance(vars(command).get("always_appends"), bool)
