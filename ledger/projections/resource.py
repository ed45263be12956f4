"""A single resource, as a projection's `find` returns it."""

from typing import Any, NamedTuple


class Resource(NamedTuple):
    """A response body and its entity tag, which differs whenever the body differs."""

    body: dict[str, Any]
    tag: str
