"""Sends requests to the endpoints of webhooks, and reads as much of the answers as is kept.

The addresses of a host are judged after each resolution, and a connection goes to an address that was judged, never to
the result of another resolution. A client's endpoint can neither redirect a request nor make the service read much.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from ledger.publish.webhooks.lookups import Lookups
from ledger.publish.webhooks.target import Target, parse_target
from ledger.values.addresses import Address, AllowList, judge_addresses, parse_address

TIMEOUT_SECONDS = 10.0  # for all of a request: the name, the connection, TLS and the answer
ANSWER_BYTES = 1024  # of an answer that are read and kept
ANSWER_SECONDS = 1.0  # that an answer may take after its status
IDLE_SECONDS = 4.0  # for which a connection is kept: less than the 5 seconds after which many servers close it
CONNECTIONS_A_HOST = 64
LOGGED_ADDRESSES = 8  # of a host to which no request may go
GONE = 410
MEDIA_TYPE = "application/cloudevents+json"

log = structlog.get_logger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class ForbiddenAddressError(OSError):
    """A host has an address to which no request may go."""


class Answer(NamedTuple):
    """The result of a request: the status and the beginning of the answer, or why there is none."""

    status: int | None
    error: str | None
    beginning: str
    milliseconds: int

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has accepted the message."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, section 15

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants no more messages."""
        return self.status == GONE


class Sender:
    """Sends the messages of webhooks. It is opened by `open_sender`."""

    def __init__(self, session: aiohttp.ClientSession, resolve: Resolve, allowed: AllowList, lookups: Lookups) -> None:
        self.lookups = lookups
        self._session = session
        self._resolve = resolve
        self._allowed = allowed

    async def check(self, url: str) -> None:
        """Raise `ValueError` if no request may go to this URL, or its host has no address."""
        target = parse_target(url, self._allowed)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS / 2):
                addresses = await self._find_addresses(target)
        except (OSError, TimeoutError):
            addresses = ()
        reason = _judge(target, addresses, self._allowed)
        if reason is not None:
            raise ValueError(reason)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message, and return the result: never an exception, and at the latest after `TIMEOUT_SECONDS`."""
        began = time.perf_counter()
        status, error, beginning = await self._try(url, headers, body)
        return Answer(status, error, beginning, round((time.perf_counter() - began) * 1000))

    async def _try(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int | None, str | None, str]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                target = parse_target(url, self._allowed)
                token = _CURRENT.set(_Request(target))
                try:
                    return await self._request(target, headers, body)
                finally:
                    _CURRENT.reset(token)
        except TimeoutError:
            return None, f"no answer within {TIMEOUT_SECONDS:.0f} seconds", ""
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return None, describe_failure(failure), ""

    async def _request(self, target: Target, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None, str]:
        if (address := parse_address(target.host)) is not None:
            _CURRENT.get().approve(self._allowed, (address,))
        request = self._session.post(target.url, data=body, headers=headers, allow_redirects=False)
        async with request as response:
            beginning = await _read_beginning(response)
            error = "redirects are not followed" if 300 <= response.status < 400 else None  # noqa: PLR2004
            return response.status, error, beginning

    async def _find_addresses(self, target: Target) -> Sequence[Address]:
        address = parse_address(target.host)
        return await self._resolve(target.host, target.port) if address is None else (address,)


@asynccontextmanager
async def open_sender(
    allowed: AllowList, *, resolve: Resolve | None = None, tls: ssl.SSLContext | Literal[True] = True
) -> AsyncIterator[Sender]:
    """Open what sends messages; `resolve` replaces the name servers, and `tls` the authorities of the system."""
    with closing(Lookups()) as lookups:
        resolver = resolve or lookups.find
        connector = aiohttp.TCPConnector(
            resolver=_JudgingResolver(resolver, allowed),
            socket_factory=_make_socket,
            use_dns_cache=False,
            ssl=tls,  # True: aiohttp's own context; loading the authorities again would take 40 ms of each start
            limit=0,
            limit_per_host=CONNECTIONS_A_HOST,
            keepalive_timeout=IDLE_SECONDS,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": "ledger-webhooks", "Content-Type": MEDIA_TYPE, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        ) as session:
            yield Sender(session, resolver, allowed, lookups)


def _judge(target: Target, addresses: Sequence[Address], allowed: AllowList) -> str | None:
    """Return why no request may go to a host with these addresses, or None. Only the log has the addresses."""
    reason = judge_addresses(target.host, addresses, allowed, encrypted=target.is_encrypted)
    if reason is not None and addresses:
        shown = [str(address) for address in addresses[:LOGGED_ADDRESSES]]
        log.warning("a webhook may not send there", host=target.host, addresses=shown, reason=reason)
    return reason


class _Request:
    """A request on its way: where it goes, and the addresses to which it may connect."""

    __slots__ = ("_approved", "_target")

    def __init__(self, target: Target) -> None:
        self._target = target
        self._approved: set[Address] = set()

    def approve(self, allowed: AllowList, addresses: Sequence[Address]) -> None:
        """Let the request connect to these addresses of its host. Raises `ForbiddenAddressError`."""
        reason = _judge(self._target, addresses, allowed)
        if reason is not None:
            raise ForbiddenAddressError(f"the URL {reason}")
        self._approved.update(addresses)

    def check(self, address: Address | None) -> None:
        """Raise `ForbiddenAddressError` for an address that was not judged."""
        if address not in self._approved:
            log.error("a webhook may not connect to an address that was not judged", address=str(address))
            raise ForbiddenAddressError("the address was not judged")


_CURRENT: ContextVar[_Request] = ContextVar("webhook_request")


class _JudgingResolver(AbstractResolver):
    """Resolves names, and judges all addresses of a host before a request may connect to one of them."""

    def __init__(self, resolve: Resolve, allowed: AllowList) -> None:
        self._resolve = resolve
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises `OSError`."""
        del family
        addresses = await self._resolve(host, port)
        _CURRENT.get().approve(self._allowed, addresses)
        return [_to_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Do nothing: the lookups belong to `open_sender`."""


def _to_result(host: str, port: int, address: Address) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - the version of IP
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=str(address), port=port, family=family, proto=0, flags=flags)


def _make_socket(info: tuple[Any, ...]) -> socket.socket:
    """Return the socket of a connection, whose address must be one of those that were judged."""
    family, kind, protocol, _, place = info
    _CURRENT.get().check(parse_address(str(place[0])))
    return socket.socket(family=family, type=kind, proto=protocol)


async def _read_beginning(response: aiohttp.ClientResponse) -> str:
    """Return the first bytes of an answer as text. A longer or slower answer costs the endpoint its connection."""
    pieces, size = [], 0
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while size < ANSWER_BYTES and (piece := await response.content.read(ANSWER_BYTES)):
                pieces.append(piece)
                size += len(piece)
    except (TimeoutError, aiohttp.ClientError, OSError):  # the status says what the endpoint has done
        response.close()
    if not response.content.at_eof():
        response.close()
    text = b"".join(pieces)[:ANSWER_BYTES].decode(errors="replace")
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def describe_failure(failure: Exception) -> str:
    """Return why a request has failed, for the client that the webhook belongs to."""
    cause = failure
    while not isinstance(cause, ForbiddenAddressError) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    if isinstance(cause, ForbiddenAddressError):
        return str(cause)
    if isinstance(failure, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return f"TLS failed: {_describe_tls(failure)}"
    text = next((text for kind, text in _FAILURES.items() if isinstance(failure, kind)), None)
    if text is None and isinstance(failure, OSError):
        error = failure.os_error if isinstance(failure, aiohttp.ClientConnectorError) else failure
        text = "the connection failed"  # the message of the error has the address
        text += f": {os.strerror(error.errno)}" if error.errno else ""
    return text or (f"the URL {failure}" if isinstance(failure, ValueError) else type(failure).__name__)


_FAILURES: Mapping[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: "the name of the host cannot be resolved",
    aiohttp.ServerDisconnectedError: "the connection was closed before an answer",
    aiohttp.ClientResponseError: "the answer is not valid HTTP",
    aiohttp.ClientPayloadError: "the answer is not valid HTTP",
}


def _describe_tls(failure: Exception) -> str:
    error = getattr(failure, "certificate_error", None) or failure.__cause__ or failure
    return str(getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__)
