"""What the log and the metrics tell an operator: once, however often a request meets it."""

from typing import Any

from structlog.testing import capture_logs

from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.controls import Api, Clock, Serve, user_body
from tests.support.outages import without_postgresql
from web.handlers.auth import warn_of_proxy
from web.http.request import RUNTIME

PATIENCE = 0.5


def warnings(lines: list[Any], *events: str) -> list[str]:
    return [line["event"] for line in lines if line["event"] in events]


def runtime_of(api: Api) -> Runtime:
    app = api.client.app
    assert app is not None
    runtime: Runtime = app[RUNTIME]
    return runtime


async def test_a_clock_behind_the_signers_is_logged_once_and_counted(api: Api, clock: Clock) -> None:
    event = "this clock is behind the one that signed a token, which is refused"
    clock.now -= 120
    with capture_logs() as lines:
        answers = [await api.get("/v1/users") for _ in range(3)]
    clock.now += 120

    assert [401] * 3 == [answer.status for answer in answers]
    assert [event] == warnings(lines, event)
    assert "\nledger_early_tokens_total 3.0\n" in (await api.get("/metrics")).body


async def test_a_header_of_an_untrusted_proxy_is_logged_once(api: Api) -> None:
    event = "X-Forwarded-For is ignored: if a proxy sends it, set LEDGER_TRUSTED_PROXIES"
    body = {"username": "nobody", "password": "no-such-password"}
    warn_of_proxy.cache_clear()
    with capture_logs() as lines:
        await api.nobody.post("/v1/auth/login", body)
        assert [] == warnings(lines, event)
        for _ in range(2):
            await api.nobody.post("/v1/auth/login", body, headers={"X-Forwarded-For": "203.0.113.9"})

    assert [event] == warnings(lines, event)


async def test_the_log_says_once_why_the_service_is_busy(serve: Serve, settings: Settings) -> None:
    api = await serve(settings)
    await runtime_of(api).committer.close()
    with capture_logs() as lines:
        answers = [await api.post("/v1/users", user_body()) for _ in range(3)]

    assert [(503, ["overloaded"])] * 3 == [(answer.status, answer.codes) for answer in answers]
    (line,) = [line for line in lines if line["event"] == "requests fail"]
    assert ("overloaded", "the queue of commands is full") == (line["code"], line["reason"])


async def test_an_outage_is_a_line_when_it_begins_and_one_when_it_ends(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_database_patience_seconds": PATIENCE}))
    with capture_logs() as lines:
        async with without_postgresql(settings):
            answers = [await api.get("/v1/users") for _ in range(5)]
        answers.append(await api.get("/v1/users"))

    assert [503] * 5 + [200] == [answer.status for answer in answers]
    assert ["reads fail", "requests fail", "reads succeed again"] == warnings(
        lines, "reads fail", "requests fail", "reads succeed again"
    )
    assert [] == [line for line in lines if "exc_info" in line]
