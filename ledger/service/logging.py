"""Logging: one line an event, JSON for machines and colours for a terminal, on standard error.

What is logged is chosen field by field; whole requests, bodies, headers and settings never are. Each logger has the
name of its module, which decides its level. Messages of the standard library's loggers, which libraries use, take the
same way and obey the same levels.
"""

import asyncio
import atexit
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict

from ledger.environment.log_levels import LEVELS, Levels
from ledger.settings import Settings

ACCESS = "aiohttp.access"  # the logger of the line that each request gets
TALKATIVE = ("alembic",)  # at `info` it would list its plugins: it is shown at `debug`, or if a directive names it


def configure(settings: Settings) -> None:
    """Set up logging for this process."""
    human = settings.ledger_log_format == "console" or (settings.ledger_log_format == "auto" and sys.stderr.isatty())
    levels = settings.levels()
    (_for_people if human else _for_machines)(levels)
    _forward_standard_library(levels)


def _forward_standard_library(levels: Levels) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Forwarding)]:
        root.removeHandler(handler)
    root.addHandler(_Forwarding())
    root.setLevel(levels.usual)
    for module in TALKATIVE:
        logging.getLogger(module).setLevel(LEVELS["warning"] if levels.usual == LEVELS["info"] else logging.NOTSET)
    for module, level in levels.modules:
        logging.getLogger(module).setLevel(level)


def _for_people(levels: Levels) -> None:
    structlog.configure(
        processors=[
            _drop_below_threshold,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        logger_factory=_sinks(levels, structlog.PrintLogger(sys.stderr).msg),
        cache_logger_on_first_use=True,
    )


def _for_machines(levels: Levels) -> None:
    structlog.configure(
        processors=[],
        wrapper_class=_direct(),
        logger_factory=_sinks(levels, _Lines(sys.stderr.buffer).add),
        cache_logger_on_first_use=True,
    )


class _Sink:
    """Where the lines of one module go, and from which level on."""

    __slots__ = ("name", "threshold", "write")

    def __init__(self, name: str, threshold: int, write: Callable[[Any], None]) -> None:
        self.name, self.threshold, self.write = name, threshold, write

    def msg(self, line: str) -> None:
        """Write what structlog's processors made."""
        self.write(line)

    debug = info = warning = error = critical = msg


def _sinks(levels: Levels, write: Callable[[Any], None]) -> Callable[..., _Sink]:
    return lambda name="", *_: _Sink(name, levels.of(name), write)


def _drop_below_threshold(sink: _Sink, method: str, event: EventDict) -> EventDict:
    if LEVELS.get(method, LEVELS["error"]) < sink.threshold:
        raise structlog.DropEvent
    event["logger"] = sink.name
    return event


class _Lines:
    """Writes lines; those of one tick of the event loop together, for a write costs more than a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        atexit.register(self._write)

    def add(self, line: bytes) -> None:
        """Take a line, to be written before the loop waits again; at once in a thread without a loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._file.write(line + b"\n")
            self._file.flush()
            return
        self._lines.append(line)
        if len(self._lines) == 1:
            loop.call_soon(self._write)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._file.write(b"\n".join([*lines, b""]))
            self._file.flush()


def _direct() -> type[structlog.BoundLoggerBase]:
    """A logger that writes at once: each request logs a line, and a chain of processors took five times as long."""

    def method(level: str) -> Callable[..., None]:
        rank = LEVELS[level]

        def write(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
            sink = self._logger
            if rank >= sink.threshold:
                sink.write(_encoded(level, sink.name, event, fields))

        return write

    def exception(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
        self.error(event, **{"exc_info": True, **fields})  # type: ignore[attr-defined]

    methods: dict[str, Any] = {level: method(level) for level in LEVELS}
    return type("_Direct", (structlog.BoundLoggerBase,), {**methods, "exception": exception})


def _encoded(level: str, name: str, event: str, fields: EventDict) -> bytes:
    line: EventDict = {"timestamp": datetime.now(UTC), "level": level, "logger": name, "event": event, **fields}
    if "exc_info" in line:
        line = dict(structlog.processors.format_exc_info(None, level, line))
    return msgspec.json.encode(line, enc_hook=str)


class _Forwarding(logging.Handler):
    """Hands the records of the standard library's loggers to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record under its logger's name. What cannot be formatted is reported as `logging` does."""
        try:
            level = next((name for name, rank in reversed(LEVELS.items()) if record.levelno >= rank), "debug")
            fields = {"exc_info": record.exc_info} if record.exc_info else {}
            getattr(structlog.get_logger(record.name), level)(record.getMessage(), **fields)
        except Exception:  # noqa: BLE001 - a message that breaks must not break what it is about
            self.handleError(record)
