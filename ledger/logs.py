"""Logging: one line an event, JSON for machines and colours for a terminal, on standard error.

What is logged is chosen field by field; whole requests, bodies, headers and settings never are.
"""

import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from ledger.settings import Settings


def configure(settings: Settings) -> None:
    """Set up logging for this process."""
    human = settings.ledger_log_format == "console" or (settings.ledger_log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=_for_people() if human else [_as_json],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if human
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _for_people() -> list[Any]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback),
    ]


def _as_json(logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    """All in one step: each request writes a line, and a chain of processors took twice as long."""
    line: EventDict = {"timestamp": datetime.now(UTC).isoformat(), "level": level, **event}
    if "exc_info" in line:
        line = dict(structlog.processors.format_exc_info(logger, level, line))
    return msgspec.json.encode(line, enc_hook=str)
