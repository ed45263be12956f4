"""A trace follows a request into its commit group, and without tracing nothing is imported."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler

from ledger.environment.variables import SettingsError
from ledger.settings import Settings
from tests.support.controls import Api, Response
from tests.support.serving import serving

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Traced:
    """A tracer that keeps its spans."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self._provider = TracerProvider(sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self._provider.get_tracer("test")

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


async def a_transfer(api: Api, accounts: Sequence[Any], **options: Any) -> int:
    return (await respond(api, accounts, **options)).status


async def respond(api: Api, accounts: Sequence[Any], **options: Any) -> Response:
    source, destination = accounts
    return await api.transfer(source, destination, 1, **options)


@pytest.fixture
def kept() -> Traced:
    return Traced()


@pytest.fixture
async def traced(serve: Callable[..., Awaitable[Api]], settings: Settings, kept: Traced) -> Api:
    return await serve(settings, tracer=kept.tracer)


async def test_a_request_is_part_of_its_clients_trace_and_linked_to_its_commit_group(traced: Api, kept: Traced) -> None:
    accounts = await traced.new_account(balance_cents=5), await traced.new_account()
    kept.exporter.clear()

    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "one"}
    answer = await respond(traced, accounts, headers=headers)
    assert 200 == answer.status

    (request,), (command,), (batch,) = (
        kept.named(name) for name in ("POST /v1/transactions/transfer", "TransferMoney", "batch")
    )
    assert {int(TRACE, 16)} == {span.context.trace_id for span in (request, command, batch)}
    assert [int(PARENT, 16), request.context.span_id, command.context.span_id] == [
        span.parent.span_id for span in (request, command, batch) if span.parent
    ]
    assert [command.context.span_id] == [link.context.span_id for link in batch.links]
    assert [batch.context.span_id] == [link.context.span_id for link in command.links]
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/transactions/transfer",
        "url.path": "/v1/transactions/transfer",
        "http.response.status_code": 200,
        "ledger.request_id": answer.headers["X-Request-Id"],
    } == dict(request.attributes or {})
    assert {"ledger.commands": 1} == dict(batch.attributes or {})
    assert (command.start_time or 0) <= (batch.start_time or 0) <= (batch.end_time or 0) <= (command.end_time or 0)


async def test_all_requests_of_a_commit_group_are_linked_to_it(traced: Api, kept: Traced) -> None:
    accounts = await traced.new_account(balance_cents=50), await traced.new_account()
    kept.exporter.clear()

    assert [200] * 20 == await asyncio.gather(*(a_transfer(traced, accounts) for _ in range(20)))

    batches, commands = kept.named("batch"), kept.named("TransferMoney")
    assert len(batches) < len(commands) == 20
    linked = [link.context.span_id for batch in batches for link in batch.links]
    assert sorted(command.context.span_id for command in commands) == sorted(linked)


async def test_a_refusal_is_named_by_its_code_and_nothing_else(traced: Api, kept: Traced) -> None:
    """Lesson 31: no text of an exception gets into a trace."""
    accounts = await traced.new_account(), await traced.new_account()
    assert 422 == await a_transfer(traced, accounts)
    (command,) = kept.named("TransferMoney")
    assert {"ledger.refusals": ("transfer_insufficient_funds",)} == dict(command.attributes or {})
    assert [] == [span for span in kept.exporter.get_finished_spans() if span.events]


async def test_a_trace_that_is_not_sampled_has_no_span(
    serve: Callable[..., Awaitable[Api]], settings: Settings
) -> None:
    kept = Traced(ParentBased(ALWAYS_OFF))
    api = await serve(settings, tracer=kept.tracer)
    accounts = await api.new_account(balance_cents=5), await api.new_account()
    assert 200 == await a_transfer(api, accounts)
    assert () == kept.exporter.get_finished_spans()


async def test_a_malformed_traceparent_is_ignored(traced: Api, kept: Traced) -> None:
    for given in ("", "00-zz-yy-01", "0" * 5000, f"00-{'0' * 32}-{PARENT}-01"):
        assert 200 == (await traced.get("/v1/health", headers={"traceparent": given})).status
    assert {None} == {span.parent for span in kept.named("GET /v1/health")}


# With and without tracing


def test_opentelemetry_is_imported_only_for_tracing() -> None:
    """Redis-py may have imported OpenTelemetry before, so only modules imported after it count."""
    code = "import redis.asyncio, sys; n = len(sys.modules); import web.worker; print([*sys.modules][n:])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'web.worker'" in done.stdout
    assert [] == re.findall(r"'(?:opentelemetry[\w.]*|(?:ledger|web)\.tracing)'", done.stdout)


def test_tracing_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: str) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr("ledger.environment.broker_settings.find_spec", nothing)
    with pytest.raises(SettingsError, match=r"^LEDGER_TRACING: needs the extra otel"):
        Settings.load(ledger_tracing="otlp")


async def test_a_service_sends_its_spans_before_it_ends(settings: Settings, tmp_path: Path) -> None:
    received: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response()

    collector = web.Application()
    collector.router.add_post("/v1/traces", collect)
    async with TestServer(collector) as server:
        variables = {
            "LEDGER_TRACING": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": str(server.make_url("")).rstrip("/"),
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_SERVICE_NAME": "books",
        }
        with serving(tmp_path, settings, variables=variables) as running:
            async with aiohttp.ClientSession(await running.url()) as session, session.get("/v1/health") as response:
                assert 200 == response.status
            assert 0 == await running.stop()
    assert [True, True] == [any(word in body for body in received) for word in (b"GET /v1/health", b"books")]
