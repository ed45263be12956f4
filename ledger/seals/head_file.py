"""The file that keeps the head of the chain outside the database: the last block that was sealed.

An attacker who can change only the database cannot shorten or replace the chain: it must extend the head in the file.
Several processes may share the file, or each have one of its own.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import msgspec
import structlog

from ledger.errors import LedgerError
from ledger.seals.chain import BrokenChainError, Chain
from ledger.settings import Settings

MODE = 0o600
ACCEPT = "`ledger audit accept-head`"

log = structlog.get_logger(__name__)


class HeadFileError(LedgerError):
    """The file of the kept head cannot be read or written. The message is one sentence."""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["ledger-seal-head-1"]
    chain: Chain


class HeadFile:
    """The file of the kept head. Without `is_required`, sealing goes on if the file cannot be written."""

    def __init__(self, path: Path, *, is_required: bool = True) -> None:
        self.path = path
        self._is_required = is_required
        self._has_warned = False

    @classmethod
    def find(cls, settings: Settings) -> Self | None:
        """Return the file that the settings name, or the one beside the sealing key; None without a key."""
        path = settings.seal_head_file()
        return None if path is None else cls(path, is_required=settings.ledger_seal_head_file is not None)

    def read(self) -> Chain | None:
        """Return the kept chain; None without a file. Raises `BrokenChainError` or `HeadFileError`."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HeadFileError(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            return msgspec.json.decode(raw, type=_Kept).chain
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BrokenChainError(
                f"{self.path} is not a file with a sealed head: restore it, or run {ACCEPT}"
            ) from None

    async def keep(self, chain: Chain, *, replaces: bool = False) -> None:
        """Write the chain atomically and durably; only with `replaces` over a longer one. Raises `HeadFileError`."""
        try:
            await asyncio.to_thread(self._write, chain, replaces=replaces)
        except OSError as error:
            if self._is_required or replaces:
                raise HeadFileError(f"the head cannot be kept in {self.path}: {error.strerror}") from None
            if not self._has_warned:
                self._has_warned = True
                log.warning(
                    "the last sealed head cannot be kept: set LEDGER_SEAL_HEAD_FILE to a file that can be written",
                    file=str(self.path),
                    error=error.strerror,
                )

    def _write(self, chain: Chain, *, replaces: bool) -> None:
        raw = msgspec.json.encode(_Kept("ledger-seal-head-1", chain)) + b"\n"
        with _lock(self.path.parent) as folder:
            if not replaces:
                kept = self.read()
                if kept is not None and kept.size > chain.size:
                    return
            draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            os.fsync(folder)


@contextmanager
def _lock(folder: Path) -> Iterator[int]:
    """Lock a folder against other processes that keep a head in it, and yield its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
