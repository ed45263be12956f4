"""Encode and verify JSON Web Tokens (RFC 7519). `ledger.identity.keys` signs them and checks signatures.

Verifying is strict. Every token of a key has the same header, so headers are compared and never parsed: a token cannot
ask for another algorithm or key. Payload and signature must be in canonical form, so each token has one spelling. All
claims must be present and of the right type, and the token must be of the requested kind. Results of signature checks
are cached, up to a limit; the expiry is checked every time.
"""

import base64
import time
from collections import OrderedDict
from enum import IntEnum
from typing import Annotated
from uuid import UUID

import msgspec
import structlog

from ledger.identity.keyring import Keyring
from ledger.identity.keys import Key, base64url, secret_key
from ledger.settings import Settings
from ledger.values.ids import parse_id

log = structlog.get_logger(__name__)

MAX_TOKEN_LENGTH = 4096
LAST_SECOND = 253_402_300_799  # of the year 9999
Time = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class TokenType(IntEnum):
    """The values of the claim `typ`."""

    ACCESS = 0
    REFRESH = 1


class InvalidTokenError(Exception):
    """The token has no valid signature, is of another kind, or has expired. Callers do not learn which."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims of a token. Times are whole seconds since the epoch; `pos` is the log position at which it was issued.

    A token of a machine client has a `scope` (RFC 8693, section 4.2), and `sub` is the client; that of a user has none.
    Refresh tokens have `prf` and `pex`: the `jti` and `exp` of the access token issued with them. The signer adds `iss`
    and `aud`, which are the same in all tokens.
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
    scope: str | None = None


class Verified(msgspec.Struct, frozen=True, cache_hash=True):
    """A token whose signature and claims are valid, with its ids, roles and scopes parsed.

    `scopes` is None in the token of a user, who may do all that the roles allow.
    """

    user_id: UUID
    jti: UUID
    session_id: UUID
    roles: frozenset[str]
    claims: Claims
    scopes: frozenset[str] | None = None


class Signer:
    """Signs tokens with a key, or with the HS256 key of a secret. Accepts tokens of this key and of the previous key.

    Tokens are accepted until `leeway_seconds` after `exp`. An issuer and an audience are added to tokens, and required.
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
        self._header = _encode_header(self._key)
        keys = [*self._key.accepted(), *(previous.accepted() if previous else ())]
        self._accepted = {_encode_header(key): key for key in reversed(keys)}
        self._leeway_seconds = leeway_seconds
        self._origin = {name: value for name, value in (("iss", issuer), ("aud", audience)) if value is not None}
        self._cache: OrderedDict[str, Verified] = OrderedDict()
        self._cache_size = cache_size
        self._early = 0
        self._is_behind = False  # it was logged

    def sign(self, claims: Claims) -> str:
        """Return the token with these claims in compact form: the same for the same claims, except with PS256."""
        members = {name: value for name, value in msgspec.structs.asdict(claims).items() if value is not None}
        signed = f"{self._header}.{base64url(msgspec.json.encode(members | self._origin))}"
        return f"{signed}.{base64url(self._key.sign(signed.encode()))}"

    def verify(self, token: str, kind: TokenType) -> Verified:
        """Return the content of a token of this kind. Raises `InvalidTokenError`."""
        verified = self._cache.get(token) or self._remember(token, self._check(token))
        claims = verified.claims
        now = time.time()
        if claims.typ is not kind or now >= claims.exp + self._leeway_seconds:
            raise InvalidTokenError
        if claims.iat > now + self._leeway_seconds:
            self._note_early(claims.iat - now)
            raise InvalidTokenError
        return verified

    def take_early(self) -> int:
        """Return how many valid tokens were refused, since the last call, because this clock is behind the signer's."""
        early, self._early = self._early, 0
        return early

    def _note_early(self, seconds: float) -> None:
        self._early += 1
        if not self._is_behind:
            log.error("this clock is behind the one that signed a token, which is refused", seconds=round(seconds))
        self._is_behind = True

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys of accepted tokens as a JSON Web Key Set (RFC 7517). A shared secret has none."""
        return {"keys": [key.public for key in reversed(self._accepted.values()) if key.public is not None]}

    def _check(self, token: str) -> Verified:
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidTokenError
        try:
            header, payload, signature = token.split(".")
            if not self._accepted[header].verifies(f"{header}.{payload}".encode(), _decode(signature)):
                raise InvalidTokenError
            return self._parse(_decode(payload))
        except (KeyError, ValueError, msgspec.DecodeError):
            raise InvalidTokenError from None

    def _parse(self, payload: bytes) -> Verified:
        """Parse a payload, which must be in canonical form: no duplicate members, no blanks, integers only."""
        members = msgspec.json.decode(payload, type=dict[str, str | int])
        if msgspec.json.encode(members) != payload:
            raise InvalidTokenError
        if any(members.pop(name, None) != value for name, value in self._origin.items()):
            raise InvalidTokenError
        claims = msgspec.convert(members, Claims, strict=True)
        if claims.exp <= claims.iat:
            raise InvalidTokenError
        if claims.prf is not None:
            _parse_canonical_id(claims.prf)
        return Verified(
            _parse_canonical_id(claims.sub),
            _parse_canonical_id(claims.jti),
            _parse_canonical_id(claims.sid),
            frozenset(claims.roles.split(",")),
            claims,
            None if claims.scope is None else frozenset(claims.scope.split(" ")),
        )

    def _remember(self, token: str, verified: Verified) -> Verified:
        self._cache[token] = verified
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return verified


def create_signer(settings: Settings, keyring: Keyring) -> Signer:
    """Create a signer with these keys, and with the issuer, audience and leeway of the settings."""
    return Signer(
        keyring.signing,
        leeway_seconds=settings.jwt_validation_leeway_seconds,
        previous=keyring.previous,
        issuer=settings.ledger_jwt_issuer,
        audience=settings.ledger_jwt_audience,
    )


def _encode_header(key: Key) -> str:
    return base64url(msgspec.json.encode({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}))


def _decode(segment: str) -> bytes:
    """Decode base64url text in canonical form. Raises `ValueError` for any other form."""
    raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64url(raw) != segment:
        raise ValueError("must be canonical base64url")
    return raw


def _parse_canonical_id(text: str) -> UUID:
    parsed = parse_id(text)
    if str(parsed) != text:
        raise ValueError("must be in lower case")
    return parsed
