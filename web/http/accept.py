"""Which media type a client wants (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import hdrs, web

_WEIGHT = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.ASCII | re.IGNORECASE)


def accepted(request: web.BaseRequest) -> str:
    """Return the request's `Accept` as one text; a client that sends none accepts anything."""
    return ",".join(request.headers.getall(hdrs.ACCEPT, ())) or "*/*"


def preferred(accept: str, offers: Sequence[str]) -> str:
    """Return the offer that this `Accept` prefers; of equally welcome ones, or if none is, the first."""
    weights = _weights(accept)
    return max(offers, key=lambda media: _weight(weights, media))


def is_accepted(accept: str, media: str) -> bool:
    """Return whether this `Accept` takes a media type at all."""
    return _weight(_weights(accept), media) > 0


def is_named(accept: str, media: str) -> bool:
    """Return whether this `Accept` asks for a media type by its name."""
    return _weights(accept).get(media, 0) > 0


def _weight(weights: dict[str, float], media: str) -> float:
    """Return the weight of the most specific range that has this media type."""
    ranges = (media, f"{media.partition('/')[0]}/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), 0)


@lru_cache(maxsize=64)
def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media range. A parameter of a media type chooses nothing here."""
    weights: dict[str, float] = {}
    for element in accept.split(","):
        media, *parameters = element.split(";")
        weight = next((float(found[1]) for found in map(_WEIGHT.fullmatch, parameters) if found), 1.0)
        name = media.strip(" \t").lower()
        weights[name] = max(weight, weights.get(name, 0))
    return weights
