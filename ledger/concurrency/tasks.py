"""Tasks that run beside everything else, for as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

AGAIN_SECONDS = 0.1


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do the work meanwhile, and end it.

    It is cancelled until it has ended: on Python 3.11 `asyncio.wait_for`, which redis-py uses too, can swallow a
    cancellation that comes just when what it waits for is done.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        while (await asyncio.wait((task,), timeout=AGAIN_SECONDS))[1]:
            task.cancel()
