"""When a failed delivery is tried again: exponential backoff with full jitter, for three days."""

BASE_SECONDS = 1.0
LONGEST_SECONDS = 900.0
GIVE_UP_SECONDS = 3 * 86_400.0  # after the first failure of an event
_MOST_DOUBLINGS = 20  # beyond which the longest delay is reached anyway, so no number grows without limit


def delay_after(failures: int, share: float) -> float:
    """Return the seconds to wait after so many failures in a row. `share` is a random number from 0 to 1."""
    return share * min(LONGEST_SECONDS, BASE_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS))


def due_at(planned: float, now: float) -> float:
    """Return when to try again: as planned, unless the clock was set back since then."""
    return min(planned, now + LONGEST_SECONDS)


def is_over(failed_since: float, now: float) -> bool:
    """Return whether an event has failed for so long that its webhook is disabled."""
    return now - failed_since >= GIVE_UP_SECONDS
