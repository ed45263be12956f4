"""The responses of this service, with the headers that all of them share."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from functools import lru_cache
from types import MappingProxyType
from typing import cast

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

PATIENCE_SECONDS = 10.0  # before a client that does not read its stream is disconnected
PIECE_BYTES = 65_536  # to be read in that time

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "ledger",
}
log = structlog.get_logger(__name__)
_FIXED = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())


class Reply(web.Response):
    """A response with a small body. Set its `request_id` before it is sent.

    A response over HTTP/1.1 without headers of its own, to a client that keeps up, is written at once: aiohttp's
    assembly took a tenth of the time of a transfer. aiohttp sends all others.
    """

    request_id = ""
    position: int | None = None  # in the log, of the last event of a write
    tag: str | None = None
    limits: Mapping[str, str] | None = None
    _sent_whole = False
    _closes = False

    def force_close(self) -> None:
        """Close the connection after this response."""
        self._closes = True
        super().force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send a usual response at once, or begin to send another one."""
        transport = request.transport
        if transport is not None and self._is_usual(request, transport):
            self._sent_whole = True
            if transport.is_closing():
                raise ConnectionResetError
            body = cast("bytes", self.body)
            transport.write(self._head(len(body)) + body)
            return None
        for name, value in SECURITY_HEADERS.items():
            self.headers.setdefault(name, value)
        self.headers["X-Request-Id"] = self.request_id
        if self.position is not None:
            self.headers["Ledger-Position"] = str(self.position)
        if self.tag is not None:
            self.headers[hdrs.ETAG] = self.tag
        self.headers.update(self.limits or {})
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the rest of a response that was not sent at once."""
        if not self._sent_whole:
            await super().write_eof(data)

    @property
    def keep_alive(self) -> bool | None:
        """Return whether the connection stays open."""
        return self._sent_whole or super().keep_alive

    def _is_usual(self, request: web.BaseRequest, transport: asyncio.WriteTransport) -> bool:
        return (
            not self._closes  # as for a request that cannot be parsed
            and len(self.headers) == 1
            and type(self.body) is bytes
            and isinstance(request, web.Request)
            and request.keep_alive
            and request.version == HttpVersion11
            and request.method != hdrs.METH_HEAD
            and not request.app.on_response_prepare
            and transport.get_write_buffer_size() == 0
        )

    def _head(self, length: int) -> bytes:
        position = "" if self.position is None else f"Ledger-Position: {self.position}\r\n"
        etag = "" if self.tag is None else f"ETag: {self.tag}\r\n"
        limits = "".join(f"{name}: {value}\r\n" for name, value in self.limits.items()) if self.limits else ""
        return (
            f"HTTP/1.1 {self.status} {self.reason}\r\nContent-Type: {self.headers[hdrs.CONTENT_TYPE]}\r\n"
            f"Content-Length: {length}\r\nX-Request-Id: {self.request_id}\r\nDate: {_date(int(time.time()))}\r\n"
            f"{position}{etag}{limits}{_FIXED}\r\n"
        ).encode()


class Stream(web.StreamResponse):
    """A response that its handler sends in pieces, as the client reads them."""

    def __init__(self, request_id: str, content_type: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        own = {hdrs.CONTENT_TYPE: content_type, **SECURITY_HEADERS, "X-Request-Id": request_id}
        super().__init__(headers={**own, **headers})
        self.request_id = request_id
        self._is_head = False

    @contextlib.asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[None]:
        """Send the status and headers, run the block, and end the body. On an error, abort the connection.

        The status is sent already, so only this shows the client that the body is incomplete.
        """
        self._is_head = request.method == hdrs.METH_HEAD
        try:
            await self.prepare(request)
            yield
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.write_eof()
        except Exception as error:  # noqa: BLE001 - the status is sent already
            if not isinstance(error, ConnectionError):  # which the client caused
                log.warning("a stream was broken off", error=type(error).__name__, request_id=self.request_id)
            if request.transport is not None:
                request.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send data (not for HEAD), waiting for the client to read. Raises `TimeoutError`."""
        if self._is_head:
            return
        whole = memoryview(data)
        for start in range(0, len(data), PIECE_BYTES):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.write(whole[start : start + PIECE_BYTES])


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
