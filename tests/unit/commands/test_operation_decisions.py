"""What is recorded about operations and followers, without a database."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.audit.verify.ending import extent_of
from ledger.commands.operations import to_command
from ledger.errors import DatabaseError
from ledger.events import evolve
from ledger.events.operations import (
    VERIFICATIONS,
    FollowerResumed,
    FollowerStopped,
    FollowerStops,
    OperationEvent,
    RebuildEnded,
    Rebuilds,
    VerificationEnded,
    Verifications,
    follower_stream,
    projection_stream,
)
from ledger.projections import INLINE
from ledger.projections.rebuild.ending import describe_ending
from ledger.store.outbox import Cause, describe_failure
from tests.support.ledgers import ALICE, Given, named_id

NOW = datetime(2026, 11, 30, tzinfo=UTC)
STOP = named_id("stop")


def rebuilt(**members: Any) -> RebuildEnded:
    given = {"operation_id": named_id("rebuild"), "projection": "accounts", "outcome": "swapped", "ended_at": NOW}
    return RebuildEnded(**{**given, **members})


def verified(**members: Any) -> VerificationEnded:
    given = {"operation_id": named_id("verification"), "extent": "whole", "outcome": "succeeded", "ended_at": NOW}
    return VerificationEnded(**{**given, **members})


def stopped(**members: Any) -> FollowerStopped:
    given = {"stop_id": STOP, "follower": "seals", "stopped_at": NOW, "position": 7, "error": "no"}
    return FollowerStopped(**{**given, **members})


RESUMED = FollowerResumed(stop_id=STOP, follower="seals", resumed_at=NOW, position=7, by="operator")


@pytest.mark.parametrize(
    ("event", "stream", "name"),
    [
        (rebuilt(), projection_stream("accounts"), "RecordRebuild"),
        (verified(), VERIFICATIONS, "RecordVerification"),
        (stopped(), follower_stream("seals"), "RecordFollowerStop"),
        (RESUMED, follower_stream("seals"), "RecordFollowerResumption"),
    ],
    ids=lambda value: getattr(value, "TOPIC", None),
)
def test_an_event_is_recorded_as_it_is_whatever_came_before(event: OperationEvent, stream: Any, name: str) -> None:
    command = to_command(event)
    assert name == command.name
    for history in ([], [(stream, event)], [(stream, event), (stream, event)]):
        assert [(stream, event)] == Given(history).when(command)


def test_projections_and_followers_of_the_same_name_have_streams_of_their_own() -> None:
    assert projection_stream("seals") != follower_stream("seals")


def test_the_last_rebuild_and_the_last_verification_of_each_extent_are_known() -> None:
    first, last = rebuilt(outcome="failed", reason="no"), rebuilt(differing=2)
    assert Rebuilds(2, last) == evolve(evolve(None, first), last)
    whole, fast, since = verified(findings=3), verified(extent="fast", findings=0), verified(extent="since", since=4)
    state: Any = None
    for event in (verified(), whole, fast, since):
        state = evolve(state, event)
    assert Verifications(4, whole, fast, since) == state


def test_a_stop_lasts_until_the_follower_resumes() -> None:
    again = stopped(error="still no")
    state: Any = evolve(None, stopped())
    assert FollowerStops(1, stopped()) == state
    assert FollowerStops(2, again) == evolve(state, again)
    assert FollowerStops(1, None) == evolve(state, RESUMED)
    assert FollowerStops(0, None) == evolve(None, RESUMED)


def test_the_wrong_rows_of_a_projection_are_those_of_its_tables() -> None:
    counts = {
        table: number
        for number, table in enumerate(next(one for one in INLINE if one.name == "sessions").table_names, 1)
    }
    entries = describe_ending(Cause(STOP), ["sessions", "users"], "compared", differing=counts)
    assert {"sessions": 3, "users": 0} == {entry.event.projection: entry.event.differing for entry in entries}  # type: ignore[union-attr]


def test_an_operation_has_one_end_for_each_projection_but_can_be_cancelled_after_it_has_compared() -> None:
    def ids(outcome: Any, operation: str = "one") -> list[Any]:
        return [entry.id for entry in describe_ending(Cause(named_id(operation), ALICE), ["users", "assets"], outcome)]

    assert ids("swapped") == ids("failed") == ids("compared")
    assert 6 == len({*ids("swapped"), *ids("cancelled"), *ids("swapped", "another")})


def test_a_failure_is_told_in_our_own_words_or_by_its_name() -> None:
    """Texts of PostgreSQL have values of rows: `Key (email)=(alice@example.com) already exists.`"""
    assert "the tables are in use" == describe_failure(DatabaseError("the tables\n are in use"))
    wrapped = DatabaseError("Key (email)=(alice@example.com) already exists.")
    wrapped.__cause__ = ValueError("the same")
    assert "ValueError" == describe_failure(wrapped)
    assert "KeyError" == describe_failure(KeyError("alice@example.com"))
    assert 500 == len(describe_failure(DatabaseError(1000 * "x")))


def test_the_extent_of_a_verification() -> None:
    assert ["whole", "fast", "since"] == [
        extent_of(fast=False),
        extent_of(fast=True),
        extent_of(fast=False, since=1),
    ]
