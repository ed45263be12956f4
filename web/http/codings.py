"""Content codings (RFC 9110, section 8.4): which one a client accepts, and how a body gets it off the event loop."""

import asyncio
import re
import zlib
from typing import Protocol

from aiohttp import hdrs, web

WINDOW_BITS = {"gzip": 31, "deflate": 15}  # the format that zlib writes; of two equally welcome ones, the first is used
LEVEL = 1  # half the time of level 6, and a tenth more bytes
MIN_BYTES = 1024  # smaller bodies gain nothing

_WEIGHT = r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?"
_ELEMENT = re.compile(rf"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=({_WEIGHT})[ \t]*)?", re.ASCII)


class Compressor(Protocol):
    """What zlib calls a compression object."""

    def compress(self, data: bytes, /) -> bytes:
        """Take data in; return what is compressed so far."""

    def flush(self) -> bytes:
        """Return the rest."""


def coding_for(request: web.Request) -> str | None:
    """Return the coding that `Accept-Encoding` prefers (RFC 9110, section 12.5.3), or None to send a body as it is."""
    weights: dict[str, float] = {}
    for element in ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])).split(","):
        match = _ELEMENT.fullmatch(element)
        if match:
            weights[match[1].lower()] = float(match[2] or 1)
    others = weights.get("*", 0)
    weight, coding = max(((weights.get(name, others), name) for name in WINDOW_BITS), key=lambda pair: pair[0])
    return coding if weight > 0 and weight >= weights.get("identity", 0) else None


def compressor_of(coding: str) -> Compressor:
    """Return a compressor that writes this coding."""
    return zlib.compressobj(LEVEL, wbits=WINDOW_BITS[coding])


async def compressed(coding: str, body: bytes) -> bytes:
    """Return a body in this coding; a thread does the work, without the interpreter's lock."""
    return await asyncio.to_thread(zlib.compress, body, LEVEL, WINDOW_BITS[coding])
