"""What belongs to one request: its id, who is calling, and what is shared by all of them."""

import hmac
import re
from collections.abc import Callable
from random import getrandbits
from uuid import UUID

import msgspec
from aiohttp import web

from ledger import errors
from ledger.commands.caller import Caller
from ledger.errors import Refused
from ledger.runtime import Runtime
from ledger.values.derived import derived_id
from ledger.values.ids import new_id, parse_id
from ledger.write.group import Origin


class Actor(msgspec.Struct, frozen=True):
    """Who is calling: a user with the roles of this moment, and the token that said so.

    The caller is there if that was an access token.
    """

    user_id: UUID
    roles: frozenset[str]
    session_id: UUID
    jti: UUID
    caller: Caller | None = None

    def has(self, *roles: str) -> bool:
        """Whether the user has one of these roles."""
        return not self.roles.isdisjoint(roles)


RUNTIME = web.AppKey("RUNTIME", Runtime)
ACTOR = web.RequestKey("ACTOR", Actor)
REQUEST_ID = web.RequestKey("REQUEST_ID", str)

Canonical = Callable[[], bytes]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


def request_id(request: web.BaseRequest) -> str:
    """The client's own `X-Request-Id` if it is a plain word, else a fresh one."""
    given = request.headers.get("X-Request-Id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"


def path_id(request: web.Request) -> UUID:
    """The id in the path. Raises `Refused` if it is none."""
    try:
        return parse_id(request.match_info["id"])
    except ValueError as error:
        raise Refused(errors.invalid_parameter("id", str(error), "path")) from None


def check_same_id(path: UUID, body: UUID | str | None) -> None:
    """Raise `Refused` if the body names another resource than the path."""
    if body is not None and body != path:
        raise Refused(errors.id_mismatch())


def origin(request: web.Request, canonical: Canonical = bytes) -> Origin:
    """Return where the command of this request comes from. With `Idempotency-Key`, its id is the same each time.

    A key belongs to the user who sent it, so nobody can find out another's. `canonical` gives the canonical form of the
    body. It is compared by a keyed hash: a password in it must not be guessable from the command log. Raises `Refused`.
    """
    actor, key = request[ACTOR], idempotency_key(request)
    if key is None:
        command_id, request_hash = new_id(), None
    else:
        command_id = derived_id("idempotency", f"{actor.user_id}:{key}")
        request_hash = _fingerprint(request, canonical())
    return Origin(
        command_id,
        actor.user_id,
        actor.session_id,
        actor.jti,
        request[REQUEST_ID],
        request_hash,
        actor.caller,
    )


def idempotency_key(request: web.Request) -> str | None:
    """Return the key of a request that has one. Raises `Refused` if it has two, or one that is no key."""
    keys = request.headers.getall("Idempotency-Key", ()) if request.method == "POST" else ()
    if not keys:
        return None
    if len(keys) > 1:
        raise Refused(errors.invalid_parameter("Idempotency-Key", "must be given once", "header"))
    if not _IDEMPOTENCY_KEY.fullmatch(keys[0]):
        raise Refused(
            errors.invalid_parameter("Idempotency-Key", "must be 1 to 255 visible ASCII characters", "header")
        )
    return keys[0]


def part_of(whole: Origin, number: int) -> Origin:
    """Where a later part of a request comes from. Under a key, it is the same each time as well."""
    keyed = whole.request_hash is not None
    command_id = derived_id("idempotency-part", f"{whole.command_id}:{number}") if keyed else new_id()
    return msgspec.structs.replace(whole, command_id=command_id)


def _fingerprint(request: web.Request, canonical: bytes) -> bytes:
    condition = "".join(request.headers.getall("If-Match", []))
    route = f"{request.method} {_canonical_path(request)}{condition and f' {condition}'}\n".encode()
    return hmac.digest(request.app[RUNTIME].fingerprint_key, route + canonical, "sha256")


def _canonical_path(request: web.Request) -> str:
    """Return the path without its version; an id in it is canonical, however the client spelt it."""
    path = request.path.split("/", 2)[-1]
    given = request.match_info.get("id")
    return path if given is None else path.replace(given, str(path_id(request)), 1)
