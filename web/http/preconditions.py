"""Conditional requests (RFC 9110, section 13): entity tags are strong, and hold the version of a stream."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from web.http.json import answer
from web.http.response import Reply

ANY = "*"
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"'
_TAGS = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_VERSION = re.compile(r'"([1-9][0-9]{0,18})(?:\.[0-9]+)?"', re.ASCII)  # what follows names what no event records


def answer_resource(
    request: web.Request, body: Mapping[str, Any], tag: object, *, position: int | None = None
) -> Reply:
    """Answer with a resource, or with 304 if the client has this version."""
    etag = f'"{tag}"'
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD} and is_known(request, etag):
        reply = Reply(status=304)
    else:
        reply = answer(body, position=position)
    reply.tag = etag
    return reply


def read_expected_versions(request: web.Request) -> frozenset[int] | None:
    """Return the versions that `If-Match` names; None if every version matches.

    Weak tags (section 13.1.1), tags of other services and malformed tags match no version.
    """
    given = _join_header(request, hdrs.IF_MATCH)
    if given is None or given == ANY:
        return None
    versions = (_VERSION.fullmatch(tag) for tag in _parse_tags(given))
    return frozenset(int(version[1]) for version in versions if version)


def is_known(request: web.Request, etag: str) -> bool:
    """Return whether `If-None-Match` names this tag, weak or strong (section 13.1.2)."""
    given = _join_header(request, hdrs.IF_NONE_MATCH)
    if given is None:
        return False
    return given == ANY or etag in (tag.removeprefix("W/") for tag in _parse_tags(given))


def _join_header(request: web.Request, name: str) -> str | None:
    fields = request.headers.getall(name, [])
    return ", ".join(fields).strip(" \t") if fields else None


def _parse_tags(given: str) -> list[str]:
    return re.findall(_TAG, given) if _TAGS.fullmatch(given) else []
