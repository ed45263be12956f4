"""JSON bodies: read within limits, parsed strictly, and written with RFC 3339 times in UTC."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel, ValidationError

from ledger.concurrency.deadline import extend_deadline
from ledger.errors import Refused
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError
from ledger.values.timestamps import rfc3339
from ledger.write.group import Outcome
from web.http.errors import NO_BODY, malformed
from web.http.request import RUNTIME
from web.http.response import Reply
from web.http.wording import refusals_of

REPLAYED = {"Idempotent-Replayed": "true"}
WHITESPACE = b" \t\r\n"  # of JSON (RFC 8259, section 2)
NOT_FOR_PYDANTIC = "the body is nested too deeply, or has half of a surrogate pair"  # `check_json` accepts both

BodyT = TypeVar("BodyT", bound=BaseModel)

_JSON = re.compile(r"application/(?:json|[^/]+\+json)", re.IGNORECASE)


async def read_json_if_any(request: web.Request) -> bytes:
    """Return the body's bytes; empty if the request has no body."""
    return await read_json(request) if request.can_read_body else b""


async def read_json(request: web.Request, limit_bytes: int | None = None) -> bytes:
    """Return the body's bytes. Raises 415 for another media type, 413 for too large a body, and 408 if it is too slow.

    `limit_bytes` replaces the limit that all routes share. A `charset` has no meaning for JSON (RFC 8259, section
    11), and is ignored: the bytes are UTF-8.
    """
    if request.headers.get("Content-Type") != "application/json" and not _JSON.fullmatch(request.content_type):
        raise web.HTTPUnsupportedMediaType
    return await read_body(request, limit_bytes)


async def read_body(request: web.Request, limit_bytes: int | None = None) -> bytes:
    """Return the body's bytes, whatever its media type. Raises 413 for too large a body, and 408 if it is too slow."""
    if request.content.is_eof():  # the whole body has arrived, as nearly always
        raw = request.content.read_nowait()
        limit = limit_bytes or request.client_max_size
        if len(raw) > limit:
            raise web.HTTPRequestEntityTooLarge(limit)
        return raw
    if limit_bytes is not None:
        request = request.clone(client_max_size=limit_bytes)
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        async with asyncio.timeout(request.app[RUNTIME].settings.ledger_body_timeout_seconds):
            raw = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except ConnectionError:  # the client has disconnected
        raise web.HTTPBadRequest from None
    extend_deadline(clock() - began)
    return raw


def parse(model: type[BodyT], raw: bytes) -> BodyT:
    """Return the body as its model. Raises `Refused`: one entry per offending member, without its value."""
    check_json(raw)
    return parse_checked(model, raw)


def check_json(raw: bytes) -> None:
    """Raise `Refused` unless the body is JSON. Pydantic alone would accept NaN, Infinity and duplicate members."""
    try:
        strict_json.decode(raw)
    except MalformedJsonError as error:
        raise Refused(malformed(f"the body {error}") if raw.strip(WHITESPACE) else NO_BODY) from None


def parse_checked(model: type[BodyT], raw: bytes) -> BodyT:
    """Return a body, or an item of one, that `check_json` has accepted, as its model. Raises `Refused` like `parse`."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        if any(problem["type"] == "json_invalid" for problem in problems):
            raise Refused(malformed(NOT_FOR_PYDANTIC)) from None
        raise Refused(*refusals_of(model, problems)) from None


def answer(
    body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    position: int | None = None,
) -> Reply:
    """Return a JSON response; `position` is that of the last event of a write."""
    shown = format_times(body) if isinstance(body, Mapping) else [format_times(item) for item in body]
    return _response(shown, status, headers, position)


def answer_empty(outcome: Outcome) -> Reply:
    """Return the empty response to an executed command; a replay has a header that says so."""
    reply = Reply(headers=REPLAYED if outcome.replayed else None)
    reply.position = outcome.position
    return reply


def answer_outcome(outcome: Outcome, *timed: str, status: int, **known: str) -> Reply:
    """Return the response with a command's result; a replay has a header that says so.

    `timed` are the members that hold the time of recording, `known` members that the command did not need.
    """
    body = {**outcome.result, **known, **dict.fromkeys(timed, rfc3339(outcome.recorded_at))}
    return _response(body, status, REPLAYED if outcome.replayed else None, outcome.position)


def format_times(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with its times as text."""
    return {member: rfc3339(value) if isinstance(value, datetime) else value for member, value in body.items()}


def _response(body: object, status: int, headers: Mapping[str, str] | None, position: int | None) -> Reply:
    reply = Reply(status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers)
    reply.position = position
    return reply
