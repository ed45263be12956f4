"""Traces (OpenTelemetry), which follow a command into the batch that carries it out.

This is imported only where `LEDGER_TRACING` asks for traces; without, nothing of the extra `otel` need be installed.
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


@contextlib.contextmanager
def exporting() -> Iterator[Tracer]:
    """A tracer whose spans go to a collector, by OTLP over HTTP; the variables `OTEL_…` say where, and how many.

    At the end those that wait are sent. It blocks, and has a thread of its own.
    """
    named = Resource({"service.name": "ledger", "service.version": __version__})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("ledger", __version__)
    finally:
        provider.shutdown()


class TracedCommitter(Committer):
    """A committer that has a span for each command, from its arrival to its answer, and one for each batch.

    A batch belongs to many traces: it is a child of the first command that is recorded, and linked with all of them.
    """

    def __init__(self, tracer: Tracer, *arguments: Any, watch: Watch, **options: Any) -> None:
        super().__init__(*arguments, watch=self._written_in_a_span, **options)
        self._tracer = tracer
        self._watch_too = watch
        self._spans: dict[UUID, Span] = {}

    async def submit(self, command: Command, origin: Origin, *, weight: int = 1) -> Outcome:
        """The same."""
        with self._tracer.start_as_current_span(
            command.name, record_exception=False, set_status_on_exception=False
        ) as span:
            first = self._spans.setdefault(origin.command_id, span) is span
            try:
                return await super().submit(command, origin, weight=weight)
            except Refused as refused:
                span.set_attribute("ledger.refusals", [refusal.code for refusal in refused.refusals])
                raise
            finally:
                if first:
                    del self._spans[origin.command_id]

    def _written_in_a_span(self, commands: Sequence[Submission], seconds: float) -> None:
        self._watch_too(commands, seconds)
        found = [self._spans.get(one.origin.command_id) for one in commands]
        spans = [span for span in found if span is not None and span.is_recording()]
        if not spans:
            return
        ended_at = time.time_ns()
        batch = self._tracer.start_span(
            "batch",
            set_span_in_context(spans[0]),
            links=[Link(span.get_span_context()) for span in spans],
            attributes={"ledger.commands": len(commands)},
            start_time=ended_at - int(seconds * 1e9),
        )
        for span in spans:
            span.add_link(batch.get_span_context())
        batch.end(ended_at)
