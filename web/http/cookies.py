"""The cookies of the console's session, which the API accepts from the console's own pages alone.

A browser attaches cookies to requests that other pages cause, too. Three things keep those out: the cookies are
`SameSite=Strict`; the browser must say that the request is `same-origin`, which no page can forge; and a request that
may change something must send JSON, which no form can.
"""

import re
from typing import NamedTuple

from aiohttp import hdrs, web

from web.http.response import Reply

SESSION_PATH = "/console/session"
ACCESS = "ledger-access"
REFRESH = "ledger-refresh"
LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?", re.ASCII | re.IGNORECASE)

_JSON = re.compile(r"application/(?:json|[^/]+\+json)", re.IGNORECASE)
_SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


class Cookie(NamedTuple):
    """A token, and for how long the browser keeps it."""

    token: str
    seconds: int


def read_access_cookie(request: web.Request) -> str:
    """Return the access token in the request's cookie; an empty text if there is none that counts."""
    return _read(request, ACCESS) if hdrs.COOKIE in request.headers and is_from_console(request) else ""


def read_refresh_cookie(request: web.Request) -> str:
    """Return the refresh token in the request's cookie; an empty text if there is none that counts."""
    return _read(request, REFRESH) if is_from_console(request) else ""


def is_from_console(request: web.Request) -> bool:
    """Return whether a page of this origin has sent the request, as JSON unless it is only a read."""
    if request.headers.getall("Sec-Fetch-Site", ()) != ["same-origin"]:
        return False
    return request.method in _SAFE_METHODS or _JSON.fullmatch(request.content_type) is not None


def set_cookies(request: web.Request, reply: Reply, *, access: Cookie, refresh: Cookie) -> None:
    """Give the browser a session's pair of tokens. No script can read them."""
    _set(request, reply, ACCESS, access)
    _set(request, reply, REFRESH, refresh)


def clear_cookies(request: web.Request, reply: Reply) -> None:
    """Let the browser forget both tokens."""
    set_cookies(request, reply, access=Cookie("", 0), refresh=Cookie("", 0))


def _set(request: web.Request, reply: Reply, name: str, cookie: Cookie) -> None:
    reply.set_cookie(
        _name(request, name),
        cookie.token,
        max_age=cookie.seconds,
        path=SESSION_PATH if name == REFRESH else "/",
        secure=_is_secure(request),
        httponly=True,
        samesite="Strict",
    )


def _read(request: web.Request, name: str) -> str:
    return request.cookies.get(_name(request, name), "")


def _name(request: web.Request, name: str) -> str:
    """Return a cookie's name. Its prefix (RFC 6265bis, section 4.1.3) keeps other hosts of the domain from setting it.

    The prefix `__Host-` also forbids a path, which the refresh token has.
    """
    prefix = "__Secure-" if name == REFRESH else "__Host-"
    return prefix + name if _is_secure(request) else name


def _is_secure(request: web.Request) -> bool:
    """Return whether the browser must send the cookies over TLS only: always, unless it runs on this machine."""
    return LOOPBACK.fullmatch(request.headers.get(hdrs.HOST, "")) is None
