"""Where a list goes on: a text that only this service can make, good for one caller, one path and one set of filters.

It tells a client nothing, and nobody else anything: with another's cursor, or on another list, it is refused like any
text that is none.
"""

import base64
import binascii
import hmac
from typing import TypeVar

import msgspec
from aiohttp import web

from ledger.identity.keys import base64url
from web.http.context import ACTOR, RUNTIME
from web.http.params import refuse, text_in

MAX_CURSOR_LENGTH = 256
PATTERN = rf"^[A-Za-z0-9_-]{{1,{MAX_CURSOR_LENGTH}}}$"
FREE = frozenset({"cursor", "limit", "min_position"})  # may differ from page to page
_MAC_BYTES = 16

PlaceT = TypeVar("PlaceT")


def cursor_of(request: web.Request, place: object) -> str:
    """The cursor of a place in the list that this request asks for."""
    body = msgspec.json.encode(place)
    return base64url(_mac(request, body) + body)


def cursor_in(request: web.Request, kind: type[PlaceT]) -> PlaceT | None:
    """The place where the page begins; None for the first page. Raises `Refused` if it was not made for this list."""
    text = text_in(request, "cursor")
    if text is None:
        return None
    raw = _decoded(text) if len(text) <= MAX_CURSOR_LENGTH else b""
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(request, body)):
        refuse("cursor", "must be that of a `Link` to a next page of this list")
    return msgspec.json.decode(body, type=kind)


def _mac(request: web.Request, body: bytes) -> bytes:
    filters = sorted((name, value) for name, value in request.query.items() if name not in FREE)
    scope = msgspec.json.encode((request[ACTOR].user_id, request.path.split("/", 2)[-1], filters))
    return hmac.digest(request.app[RUNTIME].cursor_key, scope + b"\n" + body, "sha256")[:_MAC_BYTES]


def _decoded(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return b""
    return raw if base64url(raw) == text else b""
