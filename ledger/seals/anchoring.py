"""Anchor the head of the chain elsewhere: send each new one, as a signed note, to a folder or a URL.

Sealing never waits for it. While the anchor does not answer, only the last head is kept to be sent: it stands for all
before it.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

import structlog

from ledger.identity.keys import Key
from ledger.seals.chain import Chain
from ledger.seals.checkpoints import Checkpoint, sign
from ledger.settings import Settings

PAUSE_SECONDS = 1.0  # between two heads
RETRY_SECONDS = (1.0, 60.0)  # the first pause after a failure, and the longest one
SEND_SECONDS = 10.0
FAILURES = (OSError, TimeoutError)
CONTENT_TYPE = "text/plain; charset=utf-8"

Send: TypeAlias = Callable[[int, bytes], Coroutine[Any, Any, None]]
log = structlog.get_logger(__name__)


class Anchor:
    """Sends checkpoints of a ledger, signed with its key, with `send(size, note)`."""

    def __init__(self, ledger_id: UUID, key: Key, send: Send) -> None:
        self._ledger_id = ledger_id
        self._key = key
        self._send = send
        self._chain: Chain | None = None
        self._sent = 0
        self._changed = asyncio.Event()

    def announce(self, chain: Chain) -> None:
        """Have the head of this chain sent, unless it is the last one that was."""
        if chain.size > self._sent or (self._chain is not None and chain.size < self._chain.size):
            self._chain = chain
            self._changed.set()

    async def follow(self) -> NoReturn:
        """Send each head that is announced, and again after a failure, until cancelled."""
        pause = RETRY_SECONDS[0]
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.send()
                pause = RETRY_SECONDS[0]
                await asyncio.sleep(PAUSE_SECONDS)
            except FAILURES as error:
                log.warning("the head of the chain of seals cannot be anchored now", error=_describe(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS[1])
                self._changed.set()

    async def try_to_send(self) -> None:
        """Send the head that was announced last; log a failure."""
        try:
            await self.send()
        except FAILURES as error:
            log.warning("the head of the chain of seals cannot be anchored now", error=_describe(error))

    async def send(self) -> None:
        """Send the head that was announced last, if it has a block. Raises `OSError` or `TimeoutError`."""
        chain = self._chain
        if chain is None or chain.size in {0, self._sent}:
            return
        note = sign(self._ledger_id, Checkpoint(chain.size, chain.root), self._key)
        async with asyncio.timeout(SEND_SECONDS):
            await self._send(chain.size, note.encode())
        self._sent = chain.size


def open_anchor(settings: Settings, ledger_id: UUID, key: Key) -> Anchor | None:
    """Return the anchor that the settings name, or None."""
    target = settings.ledger_seal_anchor
    if target is None:
        return None
    if target.startswith(("http://", "https://")):
        return Anchor(ledger_id, key, lambda _, note: _post(target, note))
    return Anchor(ledger_id, key, lambda size, note: asyncio.to_thread(_write, Path(target), ledger_id, size, note))


async def _post(url: str, note: bytes) -> None:
    # Imported here: all commands of `ledger audit` would load it, and few send a head to a URL.
    import aiohttp  # noqa: PLC0415

    try:
        async with (
            aiohttp.ClientSession() as session,  # `send` limits its time
            session.post(url, data=note, headers={"Content-Type": CONTENT_TYPE}, allow_redirects=False) as response,
        ):
            status = response.status
    except aiohttp.ClientError as error:
        raise OSError(_describe(error)) from error
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:  # a redirect is no receipt
        raise OSError(f"HTTP status {status}")


def _write(folder: Path, ledger_id: UUID, size: int, note: bytes) -> None:
    """Write a file of its own for each head: none is ever changed, and another chain has other names."""
    path = folder / f"{ledger_id}-{size:012}-{hashlib.sha256(note).hexdigest()[:8]}.checkpoint"
    if path.exists():
        return
    draft = path.with_suffix(f".{os.getpid()}.new")
    with draft.open("wb") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _describe(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
