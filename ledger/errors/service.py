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


def seal_mismatch(position: int) -> Refusal:
    """Refuse a receipt for an event that is not the one that was sealed: somebody has changed the database."""
    return Refusal(
        "seal_mismatch",
        "the event is not the one that was sealed",
        reason="it, its command or its block was changed since",
        detail={"position": str(position)},
    )


def projection_not_found(name: str) -> Refusal:
    """Refuse a request about a projection that does not exist."""
    return Refusal("projection_not_found", "there is no such projection", detail={"name": name[:100]})


def operation_running() -> Refusal:
    """Refuse to start a rebuild or a verification while another one runs."""
    return Refusal("operation_running", "an operation of this kind is running")


def operation_not_running() -> Refusal:
    """Refuse to cancel what does not run."""
    return Refusal("operation_not_running", "there is nothing to cancel")


def rebuild_not_compared(name: str) -> Refusal:
    """Refuse to swap tables that no rebuild has compared."""
    return Refusal("rebuild_not_compared", "no rebuild is ready to be swapped", detail={"name": name})


def operation_impossible(reason: str) -> Refusal:
    """Refuse an operation that this service cannot do."""
    return Refusal("operation_impossible", "the operation is not possible here", reason=reason)


def operations_unavailable() -> Refusal:
    """Refuse an operation that no process has begun, or on which nothing could be reported."""
    return Refusal("operations_unavailable", "the operation cannot be started now")
