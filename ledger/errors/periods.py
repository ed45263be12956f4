"""Refusals of closed periods."""

from datetime import date

from ledger.errors.refusal import Refusal


def period_closed(through: date, pointer: str = "/effective_at") -> Refusal:
    """Refuse an effective time in a closed period, or a day that is closed already; `through` is the last such day."""
    return Refusal(
        "period_closed",
        f"the period is closed through {through}",
        reason="must be after the last closed day",
        detail={"pointer": pointer, "through": through.isoformat()},
    )


def closing_not_found() -> Refusal:
    """Refuse to prove a closing or a reopening that does not exist."""
    return Refusal("resource_not_found", "no such closing or reopening of a period")
