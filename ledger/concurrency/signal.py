"""A signal within a process: that something happened which a background task waits for."""

import asyncio


class Signal:
    """Wakes one task. What is signalled while the task is at work wakes it as soon as it waits again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self, *_: object) -> None:
        """Wake the task. Arguments are ignored, so this can be called back by anything."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Wait for the signal, or for this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
