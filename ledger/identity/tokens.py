"""Encode and verify JSON Web Tokens (RFC 7519). `ledger.identity.keys` signs them and checks signatures.

Verifying is strict. Every token of a key has the same header, so a header is never parsed, only compared: what it could
ask for, another algorithm or key, is not even read. The two other parts have one spelling, so a token has one text. All
claims are there and of their type, and it is the kind of token that was asked for. The result of a signature check is
remembered, in bounds; whether a token has ended is checked every time.
"""

import base64
import time
from collections import OrderedDict
from enum import IntEnum
from typing import Annotated
from uuid import UUID

import msgspec

from ledger.identity.keyring import Keyring
from ledger.identity.keys import Key, base64url, secret_key
from ledger.settings import Settings
from ledger.values.ids import parse_id

MAX_TOKEN_LENGTH = 4096
LAST_SECOND = 253_402_300_799  # of the year 9999
Time = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class TokenType(IntEnum):
    """The values of the claim `typ`."""

    ACCESS = 0
    REFRESH = 1


class InvalidTokenError(Exception):
    """Not a token of ours, not of this kind, or ended. Which of it, nobody is told."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. Times are whole seconds since the epoch; `pos` is the log position of its issue.

    `prf` and `pex` are the paired access token's `jti` and `exp`, in refresh tokens only. `iss` and `aud` are not here:
    they are the same in all tokens, and the signer's business.
    """

    sub: str
    jti: str
    iat: Time
    exp: Time
    typ: TokenType
    roles: str
    sid: str
    pos: Position
    prf: str | None = None
    pex: Time | None = None


class Verified(msgspec.Struct, frozen=True, cache_hash=True):
    """A token whose signature and shape are right, with its ids and roles parsed."""

    user_id: UUID
    jti: UUID
    session_id: UUID
    roles: frozenset[str]
    claims: Claims


class Signer:
    """Signs with one key, or the HS256 key of a secret; accepts its tokens, and those of the previous key if any.

    `leeway_seconds` is how long after `exp` a token still passes. With an issuer and an audience, tokens name them and
    must name them.
    """

    def __init__(
        self,
        key: Key | str,
        *,
        leeway_seconds: int,
        previous: Key | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        cache_size: int = 4096,
    ) -> None:
        self._key = secret_key(key) if isinstance(key, str) else key
        self._header = _header_of(self._key)
        self._accepted = {self._header: self._key}
        if previous is not None:
            self._accepted.setdefault(_header_of(previous), previous)
        self._leeway_seconds = leeway_seconds
        self._origin = {name: value for name, value in (("iss", issuer), ("aud", audience)) if value is not None}
        self._cache: OrderedDict[str, Verified] = OrderedDict()
        self._cache_size = cache_size

    def sign(self, claims: Claims) -> str:
        """The compact form of a token: always the same text for the same claims."""
        members = {name: value for name, value in msgspec.structs.asdict(claims).items() if value is not None}
        signed = f"{self._header}.{base64url(msgspec.json.encode(members | self._origin))}"
        return f"{signed}.{base64url(self._key.sign(signed.encode()))}"

    def verify(self, token: str, kind: TokenType) -> Verified:
        """What the token says. Raises `InvalidTokenError`."""
        verified = self._cache.get(token) or self._remember(token, self._check(token))
        claims = verified.claims
        now = time.time()
        if claims.typ is not kind or now >= claims.exp + self._leeway_seconds:
            raise InvalidTokenError
        if claims.iat > now + self._leeway_seconds:
            raise InvalidTokenError
        return verified

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys whose tokens are accepted, for others who verify (RFC 7517); none of a shared secret."""
        return {"keys": [key.public for key in self._accepted.values() if key.public is not None]}

    def _check(self, token: str) -> Verified:
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidTokenError
        try:
            header, payload, signature = token.split(".")
            if not self._accepted[header].verifies(f"{header}.{payload}".encode(), _decoded(signature)):
                raise InvalidTokenError
            return self._verified(_decoded(payload))
        except (KeyError, ValueError, msgspec.DecodeError):
            raise InvalidTokenError from None

    def _verified(self, payload: bytes) -> Verified:
        """The claims, which have one spelling, too: no member twice, no blanks, no other numbers than integers."""
        members = msgspec.json.decode(payload, type=dict[str, str | int])
        if msgspec.json.encode(members) != payload:
            raise InvalidTokenError
        if any(members.pop(name, None) != value for name, value in self._origin.items()):
            raise InvalidTokenError
        claims = msgspec.convert(members, Claims, strict=True)
        if claims.exp <= claims.iat:
            raise InvalidTokenError
        if claims.prf is not None:
            _canonical_id(claims.prf)
        return Verified(
            _canonical_id(claims.sub),
            _canonical_id(claims.jti),
            _canonical_id(claims.sid),
            frozenset(claims.roles.split(",")),
            claims,
        )

    def _remember(self, token: str, verified: Verified) -> Verified:
        self._cache[token] = verified
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return verified


def create_signer(settings: Settings, keyring: Keyring) -> Signer:
    """Return the signer that uses these keys, and the issuer, audience and leeway of the settings."""
    return Signer(
        keyring.signing,
        leeway_seconds=settings.jwt_validation_leeway_seconds,
        previous=keyring.previous,
        issuer=settings.ledger_jwt_issuer,
        audience=settings.ledger_jwt_audience,
    )


def _header_of(key: Key) -> str:
    return base64url(msgspec.json.encode({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}))


def _decoded(segment: str) -> bytes:
    """The bytes of base64url text in its one spelling. Raises `ValueError` for any other."""
    raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64url(raw) != segment:
        raise ValueError("must be canonical base64url")
    return raw


def _canonical_id(text: str) -> UUID:
    found = parse_id(text)
    if str(found) != text:
        raise ValueError("must be in lower case")
    return found
