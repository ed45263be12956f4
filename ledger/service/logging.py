"""Logging to standard error: one line for each event, as JSON or, on a terminal, in colours.

Every logged field is chosen; whole requests, bodies, headers and settings are never logged. A logger has the name of
its module, which decides its level. Libraries log through the standard library, whose messages are forwarded and obey
the same levels.
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

ACCESS = "aiohttp.access"  # the logger of the access log
VERBOSE_LIBRARIES = ("alembic",)  # lists its plugins at `info`: so logged at `debug`, or if a directive names it


def configure(settings: Settings) -> None:
    """Set up logging for this process."""
    is_console = settings.ledger_log_format == "console" or (
        settings.ledger_log_format == "auto" and sys.stderr.isatty()
    )
    levels = settings.levels()
    (_configure_console if is_console else _configure_json)(levels)
    _forward_standard_library(levels)


def _forward_standard_library(levels: Levels) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _ForwardingHandler)]:
        root.removeHandler(handler)
    root.addHandler(_ForwardingHandler())
    root.setLevel(levels.default)
    for module in VERBOSE_LIBRARIES:
        logging.getLogger(module).setLevel(LEVELS["warning"] if levels.default == LEVELS["info"] else logging.NOTSET)
    for module, level in levels.modules:
        logging.getLogger(module).setLevel(level)


def _configure_console(levels: Levels) -> None:
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
        logger_factory=_create_sinks(levels, structlog.PrintLogger(sys.stderr).msg),
        cache_logger_on_first_use=True,
    )


def _configure_json(levels: Levels) -> None:
    structlog.configure(
        processors=[],
        wrapper_class=_create_direct_logger(),
        logger_factory=_create_sinks(levels, _LineWriter(sys.stderr.buffer).add),
        cache_logger_on_first_use=True,
    )


class _Sink:
    """Writes the lines of one module's logger, from a level upwards."""

    __slots__ = ("name", "threshold", "write")

    def __init__(self, name: str, threshold: int, write: Callable[[Any], None]) -> None:
        self.name, self.threshold, self.write = name, threshold, write

    def msg(self, line: str) -> None:
        """Write a line that structlog's processors have rendered."""
        self.write(line)

    debug = info = warning = error = critical = msg


def _create_sinks(levels: Levels, write: Callable[[Any], None]) -> Callable[..., _Sink]:
    return lambda name="", *_: _Sink(name, levels.of(name), write)


def _drop_below_threshold(sink: _Sink, method: str, event: EventDict) -> EventDict:
    if LEVELS.get(method, LEVELS["error"]) < sink.threshold:
        raise structlog.DropEvent
    event["logger"] = sink.name
    return event


class _LineWriter:
    """Writes all lines of one tick of the event loop together: a write costs more than a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        atexit.register(self._write)

    def add(self, line: bytes) -> None:
        """Write a line before the event loop waits again, or at once in a thread without a loop."""
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


def _create_direct_logger() -> type[structlog.BoundLoggerBase]:
    """Return a logger class without processors: each request logs a line, and processors took five times as long."""

    def create_method(level: str) -> Callable[..., None]:
        rank = LEVELS[level]

        def write(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
            sink = self._logger
            if rank >= sink.threshold:
                sink.write(_encode_line(level, sink.name, event, fields))

        return write

    def exception(self: structlog.BoundLoggerBase, event: str, **fields: Any) -> None:
        self.error(event, **{"exc_info": True, **fields})  # type: ignore[attr-defined]

    methods: dict[str, Any] = {level: create_method(level) for level in LEVELS}
    return type("_Direct", (structlog.BoundLoggerBase,), {**methods, "exception": exception})


def _encode_line(level: str, name: str, event: str, fields: EventDict) -> bytes:
    line: EventDict = {"timestamp": datetime.now(UTC), "level": level, "logger": name, "event": event, **fields}
    if "exc_info" in line:
        line = dict(structlog.processors.format_exc_info(None, level, line))
    return msgspec.json.encode(line, enc_hook=str)


class _ForwardingHandler(logging.Handler):
    """Forwards the records of the standard library's loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record under its logger's name. Report one that cannot be formatted as `logging` does."""
        try:
            level = next((name for name, rank in reversed(LEVELS.items()) if record.levelno >= rank), "debug")
            fields = {"exc_info": record.exc_info} if record.exc_info else {}
            getattr(structlog.get_logger(record.name), level)(record.getMessage(), **fields)
        except Exception:  # noqa: BLE001 - a faulty log message must not fail the work that it reports
            self.handleError(record)
