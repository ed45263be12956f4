"""The origin of a request's command; `Idempotency-Key` makes its id the same each time."""

import hmac
import re
from collections.abc import Callable
from uuid import UUID

import msgspec
from aiohttp import web

from ledger.values.account_codes import parse_account
from ledger.values.derived import derived_id
from ledger.values.ids import new_id
from ledger.write.group import Origin
from web.http.params import Parameter
from web.http.request import ACTOR, REQUEST_ID, RUNTIME

Canonical = Callable[[], bytes]

_PATTERN = "^[!-~]{1,255}$"


def _parse_key(text: str) -> str:
    if not re.fullmatch(_PATTERN, text):
        raise ValueError("must be 1 to 255 visible ASCII characters")
    return text


IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Requests with the same key are executed once; a repeated request gets the first response",
    _parse_key,
    schema={"type": "string", "pattern": _PATTERN, "examples": ["rent-may"]},
    place="header",
)


def make_origin(request: web.Request, canonical: Canonical = bytes) -> Origin:
    """Return the origin of this request's command. With `Idempotency-Key`, the command's id is the same each time.

    A key belongs to the user who sent it, so no client can learn the keys of others. `canonical` returns the canonical
    form of the body, or of any other input of the command. Its hash is keyed: a password in it must not be guessable
    from the command log. Raises `Refused`.
    """
    key = read_idempotency_key(request)
    if key is None:
        return make_unkeyed_origin(request)
    command_id = derived_id("idempotency", f"{request[ACTOR].user_id}:{key}")
    return _build_origin(request, command_id, _compute_fingerprint(request, canonical()))


def make_unkeyed_origin(request: web.Request) -> Origin:
    """Return the origin of a command with a new id, which is never replayed from the command log."""
    return _build_origin(request, new_id(), None)


def compute_retry_hash(request: web.Request) -> str | None:
    """Return a keyed hash of the presented token and the request's key, or None without a key. Raises `Refused`."""
    actor, key = request[ACTOR], read_idempotency_key(request)
    if key is None:
        return None
    message = b"refresh\n" + actor.session_id.bytes + actor.jti.bytes + key.encode()
    return hmac.digest(request.app[RUNTIME].fingerprint_key, message, "sha256").hex()


def read_idempotency_key(request: web.Request) -> str | None:
    """Return the request's key, or None. Raises `Refused` if there are two, or the key is invalid."""
    keys = request.headers.getall(IDEMPOTENCY_KEY.name, ()) if request.method == "POST" else ()
    if not keys:
        return None
    if len(keys) > 1:
        IDEMPOTENCY_KEY.refuse("must be given once")
    return IDEMPOTENCY_KEY.parse(keys[0])


def make_part(whole: Origin, number: int) -> Origin:
    """Return the origin of a later part of a request. With a key, it is also the same each time."""
    keyed = whole.request_hash is not None
    command_id = derived_id("idempotency-part", f"{whole.command_id}:{number}") if keyed else new_id()
    return msgspec.structs.replace(whole, command_id=command_id)


def _build_origin(request: web.Request, command_id: UUID, request_hash: bytes | None) -> Origin:
    actor = request[ACTOR]
    return Origin(
        command_id,
        actor.user_id,
        actor.session_id,
        actor.jti,
        request[REQUEST_ID],
        request_hash,
        actor.caller,
    )


def _compute_fingerprint(request: web.Request, canonical: bytes) -> bytes:
    condition = "".join(request.headers.getall("If-Match", []))
    route = f"{request.method} {_canonical_path(request)}{condition and f' {condition}'}\n".encode()
    return hmac.digest(request.app[RUNTIME].fingerprint_key, route + canonical, "sha256")


def _canonical_path(request: web.Request) -> str:
    """Return the path without its version, and with an id in its canonical form, or with a code as it was sent."""
    path = request.path.split("/", 2)[-1]
    given = request.match_info.get("id")
    return path if given is None else path.replace(given, str(parse_account(given)), 1)
