"""Content negotiation (RFC 9110, section 12.5): the media type and the content coding that a client prefers."""

import asyncio
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from aiohttp import hdrs, web

WINDOW_BITS = {"gzip": 31, "deflate": 15}  # zlib's number for the format; of equally preferred codings, the first wins
LEVEL = 1  # takes half the time of level 6, and a tenth more bytes
MIN_BYTES = 1024  # smaller bodies gain nothing

_WEIGHT = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.ASCII | re.IGNORECASE)


class _Element(NamedTuple):
    """An element of a weighted list. `has_others` says whether it has a parameter that is not a valid weight."""

    name: str
    weight: float
    has_others: bool


def _parse_elements(field: str) -> Iterator[_Element]:
    for element in field.split(","):
        name, *parameters = element.split(";")
        weights = [found for found in map(_WEIGHT.fullmatch, parameters) if found]
        weight = float(weights[0][1]) if weights else 1.0
        yield _Element(name.strip(" \t").lower(), weight, len(parameters) > min(len(weights), 1))


def accept_of(request: web.BaseRequest) -> str:
    """Return the request's `Accept` as one text; a client that sends none accepts anything."""
    return ",".join(request.headers.getall(hdrs.ACCEPT, ())) or "*/*"


def choose_media(accept: str, offers: Sequence[str]) -> str:
    """Return the offer that this `Accept` prefers; of equally preferred ones, or if none is accepted, the first."""
    weights = _weigh_media(accept)
    return max(offers, key=lambda media: _find_weight(weights, media))


def is_accepted(accept: str, media: str) -> bool:
    """Return whether this `Accept` accepts a media type at all."""
    return _find_weight(_weigh_media(accept), media) > 0


def is_named(accept: str, media: str) -> bool:
    """Return whether this `Accept` asks for a media type by its name."""
    return _weigh_media(accept).get(media, 0) > 0


def choose_named(accept: str, offers: Sequence[str]) -> str | None:
    """Return the offer that this `Accept` prefers of those that it names; None if it names none of them.

    Of equally preferred ones, the first is chosen.
    """
    named = [media for media in offers if is_named(accept, media)]
    return choose_media(accept, named) if named else None


def _find_weight(weights: dict[str, float], media: str) -> float:
    """Return the weight of the most specific range that includes this media type."""
    ranges = (media, f"{media.partition('/')[0]}/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), 0)


@lru_cache(maxsize=64)
def _weigh_media(accept: str) -> dict[str, float]:
    """Return the weight of each media range. Parameters of a media type are ignored."""
    weights: dict[str, float] = {}
    for name, weight, _ in _parse_elements(accept):
        weights[name] = max(weight, weights.get(name, 0))
    return weights


class Compressor(Protocol):
    """zlib's compression object."""

    def compress(self, data: bytes, /) -> bytes:
        """Compress more data; return the bytes that are finished."""

    def flush(self) -> bytes:
        """Return the rest."""


def choose_coding(request: web.Request) -> str | None:
    """Return the coding that `Accept-Encoding` prefers (section 12.5.3), or None to send a body as it is.

    A coding takes no parameter but its weight: an element with another one is ignored.
    """
    field = ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, []))
    weights = {name: weight for name, weight, has_others in _parse_elements(field) if not has_others}
    others = weights.get("*", 0)
    weight, coding = max(((weights.get(name, others), name) for name in WINDOW_BITS), key=lambda pair: pair[0])
    return coding if weight > 0 and weight >= weights.get("identity", 0) else None


def make_compressor(coding: str) -> Compressor:
    """Return a compressor that writes this coding."""
    return zlib.compressobj(LEVEL, wbits=WINDOW_BITS[coding])


async def compress(coding: str, body: bytes) -> bytes:
    """Return a body in this coding; a thread does the work, without the interpreter's lock."""
    return await asyncio.to_thread(zlib.compress, body, LEVEL, WINDOW_BITS[coding])
