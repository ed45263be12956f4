"""The time by which a request must be answered, which everything done for it inherits."""

import asyncio
from contextvars import ContextVar

# A time of the event loop; None outside requests. A task that a request starts, and that outlives it, resets it.
DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


def start_deadline(seconds: float) -> None:
    """Let what is done from now on, in this task and in tasks it starts, end within this time."""
    DEADLINE.set(asyncio.get_running_loop().time() + seconds)


def extend_deadline(seconds: float) -> None:
    """Give a request, if this is one, more time: what it has waited for was the client."""
    deadline = DEADLINE.get()
    if deadline is not None:
        DEADLINE.set(deadline + seconds)


def find_deadline(seconds: float) -> float:
    """Return the deadline of the request; outside requests, the time `seconds` from now."""
    deadline = DEADLINE.get()
    return asyncio.get_running_loop().time() + seconds if deadline is None else deadline
