"""Refusals that depend on the state of the service, and not on the request."""

from ledger.errors.refusal import Refusal


def not_ready(checks: dict[str, str]) -> Refusal:
    """Report that a worker should get no requests now; `checks` has the result of each check."""
    return Refusal("not_ready", "the service is not ready", detail=checks)


def position_not_reached(reached: int) -> Refusal:
    """Refuse a read of a position that the replica did not reach in time."""
    return Refusal(
        "position_not_reached",
        "the position has not been reached",
        reason="a read may lag behind the last write",
        detail={"position": str(reached)},
    )


def not_sealed_yet(retry_after_seconds: int) -> Refusal:
    """Refuse a receipt for an event that no sealed block covers yet: the client may retry soon."""
    return Refusal(
        "not_sealed_yet",
        "the event is not sealed yet",
        reason="the log is sealed in blocks, some time after the response",
        detail={"retry_after_seconds": str(retry_after_seconds)},
    )


def sealing_is_off() -> Refusal:
    """Refuse a receipt for an event that is not sealed, because no key is configured."""
    return Refusal("sealing_inactive", "the log is not sealed", reason="no key to seal it with is configured")
