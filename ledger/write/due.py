"""Repeats a task whose work falls due as time passes, whether or not a client asks for it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ledger.errors import LedgerError
from ledger.store.connections import UNREACHABLE

log = structlog.get_logger(__name__)


async def repeat(step: Callable[[], Awaitable[bool]], pause_seconds: float, failure: str) -> None:
    """Take a step after each pause until cancelled, and the next one at once while more is due.

    `step` returns whether more is due. `failure` is what the log says when it raises an error.
    """
    while True:
        try:
            while await step():
                pass
        except (LedgerError, *UNREACHABLE) as error:
            log.warning(failure, error=str(error) or type(error).__name__)
        except Exception:  # this task must not end: no other does its work
            log.exception(failure)
        await asyncio.sleep(pause_seconds)
