"""Traces, if they are on. Nothing else imports what needs the extra `otel` before it is known to be there."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ledger.settings import Settings
from ledger.write.committer import Committer
from ledger.write.remote import RemoteWriter

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


def open_tracing(settings: Settings) -> "AbstractContextManager[Tracer | None]":
    """Open the tracer, if traces are on."""
    if settings.ledger_tracing == "off":
        return nullcontext()
    from ledger.service.tracing import open_tracer  # noqa: PLC0415 - it needs an optional dependency

    return open_tracer()


def choose_committer(tracer: "Tracer | None") -> Callable[..., Committer]:
    """Return what creates a committer, which has spans if there is a tracer."""
    if tracer is None:
        return Committer
    from ledger.service.tracing import TracedCommitter  # noqa: PLC0415 - as above

    return partial(TracedCommitter, tracer)


def choose_remote_writer(tracer: "Tracer | None") -> Callable[..., RemoteWriter]:
    """Return what creates a client of the writer process, which has spans if there is a tracer."""
    if tracer is None:
        return RemoteWriter
    from ledger.service.tracing import TracedRemoteWriter  # noqa: PLC0415 - as above

    return partial(TracedRemoteWriter, tracer)
