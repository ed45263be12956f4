"""Signs and verifies tokens (RFC 7519), HS256. The only place that knows PyJWT.

Verifying is strict: one algorithm, all claims present and of their type, and the kind of token that was asked for. The
result of a signature check is remembered, in bounds; whether a token has ended is checked every time.
"""

import time
from collections import OrderedDict
from enum import IntEnum
from uuid import UUID

import jwt
import msgspec

from ledger.ids import parse_id

ALGORITHM = "HS256"
MAX_TOKEN_LENGTH = 4096
_REQUIRED = ["sub", "jti", "iat", "exp", "typ", "sid", "pos", "roles"]


class TokenType(IntEnum):
    """The values of the claim `typ`."""

    ACCESS = 0
    REFRESH = 1


class InvalidTokenError(Exception):
    """Not a token of ours, not of this kind, or ended. Which of it, nobody is told."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. Times are whole seconds since the epoch; `pos` is the log position of its issue.

    `prf` and `pex` are the paired access token's `jti` and `exp`, in refresh tokens only.
    """

    sub: str
    jti: str
    iat: int
    exp: int
    typ: TokenType
    roles: str
    sid: str
    pos: int
    prf: str | None = None
    pex: int | None = None


class Verified(msgspec.Struct, frozen=True):
    """A token whose signature and shape are right, with its ids and roles parsed."""

    user_id: UUID
    jti: UUID
    session_id: UUID
    roles: frozenset[str]
    claims: Claims


class Signer:
    """Signs and verifies with one secret. `leeway_seconds` is how long after `exp` a token still passes."""

    def __init__(self, secret: str, *, leeway_seconds: int, cache_size: int = 4096) -> None:
        self._secret = secret
        self._leeway_seconds = leeway_seconds
        self._cache: OrderedDict[str, Verified] = OrderedDict()
        self._cache_size = cache_size

    def sign(self, claims: Claims) -> str:
        """The compact form of a token."""
        payload = {name: value for name, value in msgspec.structs.asdict(claims).items() if value is not None}
        return jwt.encode(payload, self._secret, algorithm=ALGORITHM)

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

    def _check(self, token: str) -> Verified:
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidTokenError
        try:
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,  # `verify` does it, each time, cached or not
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
            claims = msgspec.convert(payload, Claims, strict=True)
            roles = frozenset(claims.roles.split(","))
            return Verified(parse_id(claims.sub), parse_id(claims.jti), parse_id(claims.sid), roles, claims)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError):
            raise InvalidTokenError from None

    def _remember(self, token: str, verified: Verified) -> Verified:
        self._cache[token] = verified
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return verified
