"""Streams of transfers as JSON Lines: one transfer a line, executed in order, with results while the stream is open."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest
from aiohttp import ClientResponse

from ledger.settings import Settings
from tests.support.controls import Api, Response, Serve, new_id, transfer_body
from tests.support.processes import until
from web import requests
from web.handlers import batch, batch_stream
from web.handlers.monitoring import DRAINING
from web.http import json as json_bodies
from web.http import response
from web.responses import ItemResult

Connection: TypeAlias = "asyncpg.Connection[Any]"

PATH = "/v1/transactions/batch"
HEADERS = {"Content-Type": "application/jsonl"}


def encode_lines(*items: Any) -> bytes:
    """Encode one item per line; bytes are kept."""
    return b"".join((item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in items)


async def send(api: Api, data: Any, **headers: str) -> Response:
    return await api.post(PATH, data=data, headers={**HEADERS, **headers})


def results(answer: Response | str) -> list[dict[str, Any]]:
    """Return the line number and status of each result, checked against the document."""
    text = answer if isinstance(answer, str) else answer.body
    found = [json.loads(line) for line in text.splitlines()]
    for result in found:
        msgspec.convert({name: value for name, value in result.items() if name != "line"}, ItemResult)
    return found


def summary(answer: Response | str) -> list[tuple[int | None, int]]:
    return [(result.get("line"), result["status"]) for result in results(answer)]


async def accounts(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    return await api.new_account(balance_cents=100), await api.new_account()


@pytest.mark.parametrize("media", batch_stream.MEDIA)
async def test_each_line_has_its_own_result_in_order(api: Api, media: str) -> None:
    """Lesson 5."""
    alice, bob = await accounts(api)
    known = {**transfer_body(alice, bob, 1), "id": str(new_id())}

    answer = await send(api, encode_lines(known, transfer_body(alice, bob, 100), known), **{"Content-Type": media})

    assert (200, "application/jsonl") == (answer.status, answer.headers["Content-Type"])
    assert [(1, 200), (2, 422), (3, 200)] == summary(answer)
    first, _, again = results(answer)
    assert {**first, "line": 3, "replayed": True} == again
    assert 99 == await api.balance(alice)


async def test_a_malformed_line_gets_an_error_and_the_stream_continues(api: Api) -> None:
    """Lesson 33."""
    alice, bob = await accounts(api)
    good = transfer_body(alice, bob, 1)
    bad = [{**good, "amount_cents": 25.0}, b"{", b"[]", b'{"a": NaN}', b"\xff", {**good, "more": 1}]

    answer = await send(api, encode_lines(good, *bad, good))

    assert [(1, 200), (2, 422), (3, 400), (4, 422), (5, 400), (6, 400), (7, 422), (8, 200)] == summary(answer)
    assert {"pointer": "/amount_cents"} == results(answer)[1]["errors"][0]["detail"]
    assert 98 == await api.balance(alice)


async def test_blank_lines_count_and_the_last_line_needs_no_newline(api: Api) -> None:
    alice, bob = await accounts(api)
    line = json.dumps(transfer_body(alice, bob, 1)).encode()

    answer = await send(api, b"\n \r\n" + line + b"\r\n\n" + line)

    assert [(3, 200), (5, 200)] == summary(answer)


async def test_an_overlong_line_gets_an_error_and_is_not_buffered(serve: Serve, settings: Settings) -> None:
    """Lesson 36."""
    api = await serve(settings.model_copy(update={"ledger_body_limit_bytes": 1024}))
    alice, bob = await accounts(api)
    good = json.dumps(transfer_body(alice, bob, 1)).encode()

    answer = await send(api, encode_lines(good, b"x" * 200_000, good.ljust(1024), good.ljust(1025), good))

    assert [(1, 200), (2, 413), (3, 200), (4, 413), (5, 200)] == summary(answer)


async def test_more_lines_than_a_chunk_are_executed_in_order(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_stream, "CHUNK", 7)
    alice, bob = await accounts(api)

    answer = await send(api, encode_lines(*(transfer_body(*pair, 100) for pair in [(alice, bob), (bob, alice)] * 50)))

    assert [(number, 200) for number in range(1, 101)] == summary(answer)
    assert 15 <= await connection.fetchval("SELECT count(*) FROM command_log WHERE name = 'TransferMany'")


async def test_an_empty_stream_gets_an_empty_response(api: Api) -> None:
    assert (200, "") == (await send(api, b""))[:2]


class Conversation:
    """An open stream: the test sends lines one by one and reads results in between."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.response: ClientResponse

    async def begin(self, *items: Any) -> None:
        self.say(*items)
        headers = {**HEADERS, "Authorization": f"Bearer {self._api.token}"}
        self.response = await self._api.client.post(PATH, data=self._sent(), headers=headers)

    def say(self, *items: Any) -> None:
        self.say_bytes(encode_lines(*items))

    def say_bytes(self, data: bytes) -> None:
        self._lines.put_nowait(data)

    def end(self) -> None:
        self._lines.put_nowait(None)

    async def heard(self) -> tuple[int | None, int]:
        (found,) = summary((await self.response.content.readline()).decode())
        return found

    async def rest(self) -> str:
        return await self.response.text()

    async def _sent(self) -> AsyncIterator[bytes]:
        while (line := await self._lines.get()) is not None:
            yield line


async def test_results_arrive_while_lines_are_still_sent(api: Api) -> None:
    alice, bob = await accounts(api)
    talk = Conversation(api)

    await talk.begin(transfer_body(alice, bob, 1))
    for number in range(1, 4):
        assert (number, 200) == await talk.heard()
        assert 100 - number == await api.balance(alice)
        talk.say(transfer_body(alice, bob, 1))
    talk.end()

    assert [(4, 200)] == summary(await talk.rest())


async def test_other_requests_are_served_while_lines_are_parsed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 36: a chunk can have thousands of invalid lines whose errors take long to compose."""
    turns, seen, parse = itertools.count(), [], json_bodies.parse
    turn = next(turns)

    async def others() -> None:
        nonlocal turn
        while True:
            turn = next(turns)
            await asyncio.sleep(0)

    def watched(model: type[requests.Transfer], raw: bytes) -> requests.Transfer:
        seen.append(turn)
        return parse(model, raw)

    monkeypatch.setattr(batch_stream, "parse", watched)
    monkeypatch.setattr(batch_stream, "SLICE", 2)
    running = asyncio.create_task(others())

    answer = await send(api, b"{}\n" * 8)

    running.cancel()
    assert [(number, 422) for number in range(1, 9)] == summary(answer)
    assert 4 <= len({*seen})


async def test_a_revoked_token_ends_the_stream_with_an_error(api: Api) -> None:
    alice, bob = await accounts(api)
    caller = await api.as_new_user("admin")
    talk = Conversation(caller)
    await talk.begin(transfer_body(alice, bob, 1))
    assert (1, 200) == await talk.heard()

    await api.post("/v1/auth/revoke-user", {"user_id": caller.user_id})
    talk.say(transfer_body(alice, bob, 1))

    assert [(None, 401)] == summary(await talk.rest())
    assert 99 == await api.balance(alice)
    talk.end()


async def test_a_disconnected_client_loses_no_executed_transfer(api: Api) -> None:
    """Lesson 37."""
    alice, bob = await accounts(api)
    talk = Conversation(api)
    await talk.begin(*[transfer_body(alice, bob, 1)] * 10)

    await talk.heard()
    talk.response.close()
    talk.end()

    assert [90, 10] == [await api.balance(account) for account in (alice, bob)]
    assert 200 == (await api.transfer(alice, bob, 1)).status


async def test_lines_that_were_not_executed_before_a_disconnect_can_be_sent_again(api: Api) -> None:
    """Lesson 4."""
    alice, bob = await accounts(api)
    items = [{**transfer_body(alice, bob, 1), "id": str(new_id())} for _ in range(20)]
    talk = Conversation(api)
    await talk.begin(*items[:10])
    await talk.heard()
    talk.response.close()
    talk.end()

    answer = await send(api, encode_lines(*items))

    assert [(number, 200) for number in range(1, 21)] == summary(answer)
    assert [True] * 10 == [result.get("replayed", False) for result in results(answer)][:10]
    assert [80, 20] == [await api.balance(account) for account in (alice, bob)]


async def test_a_client_that_does_not_read_results_is_disconnected(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 36: the service stops reading from it, and frees its place."""
    monkeypatch.setattr(response, "PATIENCE_SECONDS", 0.2)
    limit = api.client.app[batch.BATCH_LIMIT]
    _, writer = await asyncio.open_connection(api.client.host, api.client.port, limit=1024)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {api.token}\r\nTransfer-Encoding: chunked\r\n"
    )
    writer.write(f"{head}Content-Type: application/jsonl\r\n\r\n".encode())
    lines_sent = encode_lines(*[{}] * 1000)

    async def push() -> None:
        while True:
            writer.write(b"%x\r\n%s\r\n" % (len(lines_sent), lines_sent))
            await writer.drain()
            await asyncio.sleep(0)  # the service runs in this loop as well

    with pytest.raises(ConnectionError):
        await push()
    await until(lambda: limit.admitted == 0)


@pytest.mark.parametrize("sent", [b"", b'{"source'])
async def test_an_idle_stream_is_ended(serve: Serve, settings: Settings, sent: bytes) -> None:
    """Lesson 34."""
    patient = await serve(settings)
    alice, bob = await accounts(patient)
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.2}), logs_in=False)
    talk = Conversation(replace(api, token=patient.token))

    await talk.begin(transfer_body(alice, bob, 1))
    talk.say_bytes(sent or b"\n")

    *before, ended = summary(await talk.rest())
    assert (None, 408) == ended
    assert before in ([(1, 200)], [])  # on a busy machine, even the first line can be late
    talk.end()


async def test_a_stopping_worker_ends_the_stream(api: Api) -> None:
    alice, bob = await accounts(api)
    talk = Conversation(api)
    await talk.begin(transfer_body(alice, bob, 1))
    assert (1, 200) == await talk.heard()

    api.client.app[DRAINING].set()
    talk.say(transfer_body(alice, bob, 1))

    assert [(None, 503)] == summary(await talk.rest())
    assert 99 == await api.balance(alice)
    talk.end()


async def test_a_stream_accepts_no_idempotency_key(api: Api) -> None:
    alice, bob = await accounts(api)

    answer = await send(api, encode_lines(transfer_body(alice, bob, 1)), **{"Idempotency-Key": "one"})

    assert (422, ["header Idempotency-Key"]) == (answer.status, answer.parameters)
    assert 100 == await api.balance(alice)


@pytest.mark.parametrize("data", [b"", b"{"])
async def test_without_a_valid_token_no_stream_is_opened(api: Api, data: bytes) -> None:
    caller = await api.as_new_user("admin")
    await api.post("/v1/auth/revoke-user", {"user_id": caller.user_id})

    answer = await send(caller, data)

    assert (401, ["authentication_wrong_credentials"]) == (answer.status, answer.codes)


@pytest.mark.parametrize("charset", ["utf8", "us-ascii", "utf-16"])
async def test_the_charset_of_json_lines_has_no_meaning(api: Api, charset: str) -> None:
    """Lesson 40."""
    answer = await send(api, b"", **{"Content-Type": f"application/jsonl; charset={charset}"})

    assert 200 == answer.status


def pieces(text: bytes, size: int) -> Iterable[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_split_the_same_for_any_chunks(size: int) -> None:
    text, splitter = b"one\n\n 2\nthree and too long\n4\r\nfive", batch_stream.Splitter(10)

    found = [line for piece in pieces(text, size) for line in splitter.lines(piece)] + splitter.rest()

    assert [1, 3, 4, 5, 6] == [number for number, _ in found]
    assert [b"one", b" 2", b"4\r", b"five"] == [line for _, line in found if len(line) <= 10]
