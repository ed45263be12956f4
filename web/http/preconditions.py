"""Conditional requests (RFC 9110, section 13): an entity tag is the version of the resource's stream, and strong."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from web.http.json import answer
from web.http.response import Reply

ANY = "*"
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"'
_TAGS = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_VERSION = re.compile(r'"([1-9][0-9]{0,18})"', re.ASCII)


def answer_resource(
    request: web.Request, body: Mapping[str, Any], tag: object, *, position: int | None = None
) -> Reply:
    """The answer with a resource, or 304 if it is one that the client has."""
    etag = f'"{tag}"'
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD} and _is_known(request, etag):
        reply = Reply(status=304)
    else:
        reply = answer(body, position=position)
    reply.tag = etag
    return reply


def read_expected_versions(request: web.Request) -> frozenset[int] | None:
    """The versions that `If-Match` names; None if any will do.

    A weak tag matches nothing (section 13.1.1), and neither does one that is none of ours, or what is no tag at all.
    """
    given = _given(request, hdrs.IF_MATCH)
    if given is None or given == ANY:
        return None
    versions = (_VERSION.fullmatch(tag) for tag in _tags(given))
    return frozenset(int(version[1]) for version in versions if version)


def _is_known(request: web.Request, etag: str) -> bool:
    """Whether `If-None-Match` names it, weakly or not (section 13.1.2)."""
    given = _given(request, hdrs.IF_NONE_MATCH)
    if given is None:
        return False
    return given == ANY or etag in (tag.removeprefix("W/") for tag in _tags(given))


def _given(request: web.Request, name: str) -> str | None:
    fields = request.headers.getall(name, [])
    return ", ".join(fields).strip(" \t") if fields else None


def _tags(given: str) -> list[str]:
    return re.findall(_TAG, given) if _TAGS.fullmatch(given) else []
