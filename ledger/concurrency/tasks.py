"""Background tasks that live as long as a block of code."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

RETRY_SECONDS = 0.1


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run work in a task until the block ends, then cancel it and wait for its end.

    The cancellation is repeated: on Python 3.11 `asyncio.wait_for`, which redis-py uses too, can swallow one that
    arrives just as the awaited work completes.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        while (await asyncio.wait((task,), timeout=RETRY_SECONDS))[1]:
            task.cancel()
