"""Commands that record operations, drawn for the tests of decisions."""

from hypothesis import strategies as st

from ledger.commands.operations import to_command
from ledger.events.operations import FollowerResumed, FollowerStopped, RebuildEnded, VerificationEnded
from tests.support.ledgers import NOON, named_id

EVENTS = (
    RebuildEnded(operation_id=named_id("rebuild"), projection="users", outcome="swapped", ended_at=NOON),
    VerificationEnded(operation_id=named_id("check"), extent="whole", outcome="succeeded", ended_at=NOON),
    FollowerStopped(stop_id=named_id("stop"), follower="seals", stopped_at=NOON, position=1, error="no"),
    FollowerResumed(stop_id=named_id("stop"), follower="seals", resumed_at=NOON, position=1, by="operator"),
)
records = st.sampled_from([to_command(event) for event in EVENTS])
