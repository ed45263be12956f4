"""Logging: one line an event, JSON for machines and colours for a terminal, on standard error.

What is logged is chosen field by field; whole requests, bodies, headers and settings never are.
"""

import asyncio
import atexit
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict

from ledger.settings import Settings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(settings: Settings) -> None:
    """Set up logging for this process."""
    human = settings.ledger_log_format == "console" or (settings.ledger_log_format == "auto" and sys.stderr.isatty())
    (_for_people if human else _for_machines)(settings.log_level)


def _for_people(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _for_machines(level: str) -> None:
    lines = _Lines(sys.stderr.buffer)
    structlog.configure(
        processors=[],
        wrapper_class=_direct(LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )


class _Lines:
    """Writes lines; those of one tick of the event loop together, for a write costs more than a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        atexit.register(self._write)

    def msg(self, line: bytes) -> None:
        """Take a line, to be written before the loop waits again."""
        self._lines.append(line)
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._write)
            except RuntimeError:  # there is no loop
                self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._file.write(b"\n".join([*lines, b""]))
            self._file.flush()


def _direct(threshold: int) -> type[structlog.BoundLoggerBase]:
    """A logger that writes at once: each request logs a line, and a chain of processors took five times as long."""

    def method(level: str) -> Callable[..., None]:
        def write(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
            if LEVELS[level] >= threshold:
                self._logger.msg(_encoded(level, event, fields))

        return write

    def exception(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
        self._logger.msg(_encoded("error", event, {"exc_info": True, **fields}))

    methods: dict[str, Any] = {level: method(level) for level in LEVELS}
    return type("_Direct", (structlog.BoundLoggerBase,), {**methods, "exception": exception})


def _encoded(level: str, event: str, fields: EventDict) -> bytes:
    line: EventDict = {"timestamp": datetime.now(UTC), "level": level, "event": event, **fields}
    if "exc_info" in line:
        line = dict(structlog.processors.format_exc_info(None, level, line))
    return msgspec.json.encode(line, enc_hook=str)
