"""Logging: one line an event, JSON for machines and colours for a terminal, on standard error.

What is logged is chosen field by field; whole requests, bodies, headers and settings never are.
"""

import sys
from typing import Any

import msgspec
import structlog

from ledger.settings import Settings


def configure(settings: Settings) -> None:
    """Set up logging for this process."""
    human = settings.ledger_log_format == "console" or (settings.ledger_log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_people() if human else _for_machines()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if human
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _for_people() -> list[Any]:
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]


def _for_machines() -> list[Any]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=lambda event, **_: msgspec.json.encode(event, enc_hook=str)),
    ]
