"""The event of the end of a verification, as it goes into the outbox."""

from datetime import UTC, datetime

from ledger.events.operations import Extent, VerificationEnded, VerificationOutcome
from ledger.store.outbox import Cause, Entry, describe_failure


def extent_of(*, fast: bool, since: int = 0) -> Extent:
    """Return how much a verification checks."""
    if fast:
        return "fast"
    return "since" if since else "whole"


def describe_ending(
    cause: Cause,
    outcome: VerificationOutcome,
    *,
    fast: bool,
    since: int = 0,
    position: int | None = None,
    findings: int | None = None,
    error: BaseException | None = None,
) -> Entry:
    """Return the entry for a verification, of which only a successful one has a number of findings."""
    event = VerificationEnded(
        operation_id=cause.operation_id,
        extent=extent_of(fast=fast, since=since),
        outcome=outcome,
        ended_at=datetime.now(UTC),
        since=since or None,
        position=position,
        findings=findings if outcome == "succeeded" else None,
        reason=None if error is None else describe_failure(error),
    )
    return Entry(cause.operation_id, event, cause.actor_id, cause.request_id)
