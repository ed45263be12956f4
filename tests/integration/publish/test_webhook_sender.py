"""Requests to endpoints that do everything wrong: each costs little, ends in time, and gives one clear error."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ledger.publish.webhooks import sender as module
from ledger.publish.webhooks.sender import ANSWER_BYTES, Answer, Resolve, Sender, open_sender
from ledger.values.addresses import Address, parse_allow_list
from tests.support.certificates import Authority
from tests.support.processes import until
from tests.support.receiver import Received, Receiver, receive

PRIVATE = "must not name a host with an address of a private network: hooks.example"
LOOPBACK = parse_allow_list("127.0.0.0/8")
NOTHING = parse_allow_list("")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receive() as found:
        yield found


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with open_sender(LOOPBACK) as found:
        yield found


async def send(sender: Sender, url: str) -> Answer:
    return await sender.send(url, {"webhook-id": "msg_1"}, b"{}")


def always(*addresses: str) -> Resolve:
    """Return a name server that gives these addresses for any name."""

    async def resolve(host: str, port: int) -> Sequence[Address]:
        del host, port
        return [ip_address(one) for one in addresses]

    return resolve


async def test_an_answer_has_its_status_and_its_beginning(sender: Sender, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(status=202, text="taken")
    answer = await send(sender, receiver.url())
    assert (202, None, "taken", True) == (answer.status, answer.error, answer.beginning, answer.is_success)
    (one,) = receiver.received
    assert ("msg_1", b"{}") == (one.id, one.body)
    assert {"Cookie", "Authorization", "Proxy-Authorization"}.isdisjoint(one.headers)


# Where requests may not go


async def test_a_name_with_a_private_address_is_refused(receiver: Receiver) -> None:
    """If one of its addresses is private, no other one is tried. The log alone tells which addresses it has."""
    port = receiver.server.port
    for addresses in (["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["fe80::1"]):
        async with open_sender(NOTHING, resolve=always(*addresses)) as sender:
            for scheme in ("http", "https"):
                answer = await send(sender, f"{scheme}://hooks.example:{port}/")
                expected = "must begin with https://" if scheme == "http" else PRIVATE
                assert f"the URL {expected}" == answer.error
            with capture_logs() as lines, pytest.raises(ValueError, match=f"^{PRIVATE}$"):
                await sender.check(f"https://hooks.example:{port}/")
            (line,) = lines
            assert ("hooks.example", addresses) == (line["host"], line["addresses"])
    assert [] == receiver.received


async def test_a_name_that_changes_its_address_after_the_check_is_refused(receiver: Receiver) -> None:
    """DNS rebinding: the first look-up gives a public address, and each later one that of a private service."""
    given = iter(["1.1.1.1"])

    async def rebind(host: str, port: int) -> Sequence[Address]:
        del host, port
        return [ip_address(next(given, "127.0.0.1"))]

    async with open_sender(NOTHING, resolve=rebind) as sender:
        await sender.check(f"https://hooks.example:{receiver.server.port}/")
        answer = await send(sender, f"https://hooks.example:{receiver.server.port}/")
    assert f"the URL {PRIVATE}" == answer.error
    assert [] == receiver.received


async def test_a_connection_goes_to_no_address_that_was_not_judged(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the HTTP client would resolve the name once more."""
    resolve_host = aiohttp.TCPConnector._resolve_host  # noqa: SLF001 - to stand between

    async def elsewhere(self: Any, host: str, port: int, traces: Any = None) -> Any:
        found = await resolve_host(self, host, port, traces)
        return [{**one, "host": "127.0.0.1"} for one in found]

    monkeypatch.setattr(aiohttp.TCPConnector, "_resolve_host", elsewhere)
    async with open_sender(NOTHING, resolve=always("1.1.1.1")) as sender:
        answer = await send(sender, f"https://hooks.example:{receiver.server.port}/")
    assert "the address was not judged" == answer.error
    assert [] == receiver.received


async def test_an_allowed_name_may_have_any_address(receiver: Receiver) -> None:
    async with open_sender(parse_allow_list("hooks.internal"), resolve=always("127.0.0.1")) as sender:
        url = f"http://hooks.internal:{receiver.server.port}/"
        await sender.check(url)
        assert 204 == (await send(sender, url)).status
        other = await send(sender, url.replace("internal", "example"))
        assert f"the URL {PRIVATE}" == other.error


async def test_a_name_that_does_not_exist_is_an_error(sender: Sender) -> None:
    async def fail(host: str, port: int) -> Sequence[Address]:
        raise OSError(f"no such name: {host}:{port}")

    async with open_sender(NOTHING, resolve=fail) as without:
        answer = await send(without, "https://hooks.example/")
        with pytest.raises(ValueError, match=r"must name a host that has an address: hooks\.example"):
            await without.check("https://hooks.example/")
    assert "the name of the host cannot be resolved" == answer.error
    assert "cannot be resolved" in str((await send(sender, "https://does-not-exist.invalid/")).error)


async def test_a_proxy_of_the_environment_is_not_used(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receive() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        assert 204 == (await send(sender, receiver.url())).status
        assert [] == proxy.received


# Redirects


def redirect(status: int, target: str) -> Callable[[Received], web.StreamResponse]:
    return lambda _: web.Response(status=status, headers={"Location": target})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(sender: Sender, receiver: Receiver, status: int) -> None:
    """Neither in a loop nor to another place."""
    async with receive() as private:
        for target in (receiver.url(), private.url("/secret")):
            receiver.answer = redirect(status, target)
            answer = await send(sender, receiver.url())
            assert (status, "redirects are not followed") == (answer.status, answer.error)
            assert not answer.is_success
        assert 2 == len(receiver.received)
        assert [] == private.received


# Answers that cost much


@asynccontextmanager
async def streaming(piece: bytes, count: int | None = None, **headers: str) -> AsyncIterator[tuple[str, list[bool]]]:
    """Serve answers of so many pieces, without an end if there is no count; yield the URL and what was finished."""
    finished: list[bool] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        sent = 0
        try:
            while count is None or sent < count:
                await response.write(piece)
                sent += 1
                if count is None:
                    await asyncio.sleep(0.01)
        except OSError:
            finished.append(False)
            raise
        finished.append(True)
        return response

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/", finished
    finally:
        await runner.cleanup()


async def test_a_large_answer_is_dropped_after_its_beginning(sender: Sender) -> None:
    async with streaming(b"x" * 1_000_000, 100) as (url, finished):
        answer = await send(sender, url)
        assert (200, ANSWER_BYTES * "x") == (answer.status, answer.beginning)
        assert [False] == await until(lambda: finished)


async def test_an_endless_answer_ends_with_the_patience(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    async with streaming(b".") as (url, _):
        answer = await send(sender, url)
        assert 200 == answer.status
        assert {"."} == {*answer.beginning}


async def test_a_compressed_answer_is_not_expanded(sender: Sender) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    async with streaming(bomb, 1, **{"Content-Encoding": "gzip"}) as (url, _):
        answer = await send(sender, url)
        assert 200 == answer.status
        assert "xxxx" not in answer.beginning


async def test_an_endpoint_that_says_nothing_is_given_up(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    done = asyncio.Event()

    async def hang(_: Received) -> web.StreamResponse:
        await done.wait()
        return web.Response()

    receiver.answer = hang
    answer = await send(sender, receiver.url())
    done.set()
    assert (None, "no answer within 0 seconds") == (answer.status, answer.error)


# Answers that are none


@asynccontextmanager
async def raw(answer: bytes) -> AsyncIterator[str]:
    """Serve these bytes, whatever is asked for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "the connection was closed before an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + 100_000 * b"a" + b"\r\n\r\n", "the answer is not valid HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "the answer is not valid HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "the connection was closed before an answer"),
    ],
    ids=["nothing", "SSH", "long header", "no status", "only 100"],
)
async def test_what_is_not_http_is_an_error(sender: Sender, answer: bytes, error: str) -> None:
    async with raw(answer) as url:
        found = await send(sender, url)
    assert (None, error) == (found.status, found.error)


async def test_a_short_body_does_not_change_the_status(sender: Sender) -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as url:
        answer = await send(sender, url)
    assert (200, True) == (answer.status, answer.is_success)


async def test_a_refused_connection_is_an_error(sender: Sender, receiver: Receiver) -> None:
    url = receiver.url()
    await receiver.server.close()
    assert "the connection failed: Connection refused" == (await send(sender, url)).error


async def test_a_failed_connection_does_not_tell_which_addresses_a_name_has(receiver: Receiver) -> None:
    port = receiver.server.port
    await receiver.server.close()
    async with open_sender(parse_allow_list("hooks.internal"), resolve=always("127.0.0.1", "127.0.0.2")) as sender:
        answer = await send(sender, f"http://hooks.internal:{port}/")
    assert answer.error is not None
    assert answer.error.startswith("the connection failed")
    assert "127.0.0" not in answer.error


# TLS


def serving(authority: Authority) -> AbstractAsyncContextManager[Receiver]:
    """Serve with a certificate for `localhost`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("server"))
    return receive(ssl=context)


@pytest.mark.parametrize(
    ("host", "trusted", "error"),
    [
        ("localhost", True, None),
        ("hooks.example", True, "TLS failed: Hostname mismatch, certificate is not valid for 'hooks.example'."),
        ("localhost", False, "TLS failed: unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_must_have_the_name_and_be_trusted(
    tmp_path: Path, host: str, trusted: bool, error: str | None
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "another")
    context = ssl.create_default_context(cafile=(authority if trusted else other).certificate)
    allowed = parse_allow_list("127.0.0.0/8")
    async with serving(authority) as receiver, open_sender(allowed, resolve=always("127.0.0.1"), tls=context) as sender:
        answer = await send(sender, f"https://{host}:{receiver.server.port}/")
        assert (error, error is None) == (answer.error, answer.is_success)
        assert (1 if error is None else 0) == len(receiver.received)


async def test_plain_http_behind_https_is_an_error(receiver: Receiver) -> None:
    async with open_sender(LOOPBACK) as sender:
        answer = await send(sender, receiver.url().replace("http:", "https:"))
    assert "TLS failed: " in str(answer.error)
    assert [] == receiver.received
