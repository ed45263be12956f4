"""Traces (OpenTelemetry) that follow a command into the commit group that executes it.

The service imports this module only if `LEDGER_TRACING` is on, because it needs the extra `otel`.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, Tracer, set_span_in_context

from ledger import __version__
from ledger.commands.command import Command
from ledger.errors import Refused
from ledger.write.committer import Committer, Watch
from ledger.write.group import Origin, Outcome, Submission
from ledger.write.remote import RemoteWriter


@contextlib.contextmanager
def open_tracer() -> Iterator[Tracer]:
    """Yield a tracer that exports spans by OTLP over HTTP, from a thread of its own. `OTEL_…` variables configure it.

    When the context ends, it blocks until the remaining spans are sent.
    """
    named = Resource({"service.name": "ledger", "service.version": __version__})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("ledger", __version__)
    finally:
        provider.shutdown()


class TracedCommitter(Committer):
    """A committer with a span for each command, from its arrival to its result, and one for each commit group.

    A commit group is part of many traces: its span is a child of the first recorded command, and linked with all.
    """

    def __init__(self, tracer: Tracer, *arguments: Any, watch: Watch, **options: Any) -> None:
        super().__init__(*arguments, watch=self._record_commit_group, **options)
        self._tracer = tracer
        self._watch_next = watch
        self._spans: dict[UUID, Span] = {}

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Execute a command as `Committer` does, in a span."""
        with _start_span(self._tracer, command) as span:
            is_first = self._spans.setdefault(origin.command_id, span) is span
            try:
                return await super().submit(command, origin, weight=weight, deadline=deadline)
            finally:
                if is_first:
                    del self._spans[origin.command_id]

    def _record_commit_group(self, submissions: Sequence[Submission], seconds: float) -> None:
        self._watch_next(submissions, seconds)
        found = [self._spans.get(submission.origin.command_id) for submission in submissions]
        spans = [span for span in found if span is not None and span.is_recording()]
        if not spans:
            return
        ended_at = time.time_ns()
        group = self._tracer.start_span(
            "batch",
            set_span_in_context(spans[0]),
            links=[Link(span.get_span_context()) for span in spans],
            attributes={"ledger.commands": len(submissions)},
            start_time=ended_at - int(seconds * 1e9),
        )
        for span in spans:
            span.add_link(group.get_span_context())
        group.end(ended_at)


class TracedRemoteWriter(RemoteWriter):
    """A client of the writer process with a span for each command, from its arrival to its result.

    Commit groups are in another process then, and have no span.
    """

    def __init__(self, tracer: Tracer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tracer = tracer

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Execute a command as `RemoteWriter` does, in a span."""
        with _start_span(self._tracer, command):
            return await super().submit(command, origin, weight=weight, deadline=deadline)


@contextlib.contextmanager
def _start_span(tracer: Tracer, command: Command) -> Iterator[Span]:
    """Start the span of a command, which also has the codes of its refusals."""
    with tracer.start_as_current_span(command.name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield span
        except Refused as refused:
            span.set_attribute("ledger.refusals", [refusal.code for refusal in refused.refusals])
            raise
