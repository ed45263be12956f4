"""Keys that sign tokens and seals, and their signatures: a shared secret, or a PEM file (Ed25519 or RSA).

Only this module uses PyJWT and cryptography. A key has one algorithm, so no token can choose another. An RSA key has
two, PS256 and RS256, as two keys with names of their own. Only one of them signs.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

HS256 = "HS256"
EDDSA = "EdDSA"
PS256 = "PS256"
RS256 = "RS256"  # its padding, PKCS #1 v1.5, is for clients that know no other, and for tokens of earlier versions
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: at least the size of the hash
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3: of a key that only verifies older tokens
MIN_SIGNING_RSA_BITS = 3072  # NIST SP 800-57, part 1: 128 bits of security
MAX_RSA_BITS = 8192  # a signature must fit into a token
MAX_FILE_BYTES = 65_536
_KID_LABEL = b"ledger: the name of an HS256 key"  # no signed token has this text
_KID_BYTES = 12


@dataclass(frozen=True, slots=True)
class Key:
    """A key with its algorithm and its id, `kid`. Without `signing`, it only verifies.

    `public` is the public JSON Web Key (RFC 7517); a shared secret has none.
    """

    algorithm: str
    kid: str
    verifying: Any = field(repr=False)
    signing: Any = field(repr=False)
    public: dict[str, str] | None = None

    def sign(self, message: bytes) -> bytes:
        """Return the signature, which is the same each time for the same message, except with PS256."""
        return jwt.get_algorithm_by_name(self.algorithm).sign(message, self.signing)

    def derive(self, label: bytes) -> bytes:
        """Return a secret for another use: 32 bytes that cannot be computed without the key.

        The label must differ from every token and every other text that the key signs.
        """
        algorithm = RS256 if self.algorithm == PS256 else self.algorithm  # PS256 is salted; nobody sees this signature
        return hashlib.sha256(jwt.get_algorithm_by_name(algorithm).sign(label, self.signing)).digest()

    def accepted(self) -> "list[Key]":
        """Return the keys whose tokens are accepted: this one, and an RSA key with its other algorithm."""
        if not isinstance(self.verifying, RSAPublicKey):
            return [self]
        return [self, _create_key(self.verifying, None, RS256 if self.algorithm == PS256 else PS256)]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether this key has signed the message with this signature.

        OpenSSL accepts the signature of PS256 without its leading zeros, which RFC 8017, section 8.1.2, does not.
        """
        if isinstance(self.verifying, RSAPublicKey) and len(signature) != -(-self.verifying.key_size // 8):
            return False
        return jwt.get_algorithm_by_name(self.algorithm).verify(message, self.verifying, signature)


def secret_key(secret: str) -> Key:
    """Return the HS256 key of a shared secret. Raises `ValueError`, which reveals nothing about it."""
    raw = secret.encode()
    if len(raw) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
    try:
        prepared = jwt.get_algorithm_by_name(HS256).prepare_key(raw)
    except jwt.InvalidKeyError:
        raise ValueError("must be a secret of its own, not a PEM file, certificate or JSON key") from None
    return Key(HS256, base64url(hmac.digest(raw, _KID_LABEL, "sha256")[:_KID_BYTES]), prepared, prepared)


def private_key(path: Path, rsa_algorithm: str = PS256) -> Key:
    """Read a signing key from a PEM file. Raises `ValueError`, without the name or content of the file."""
    private = _parse_private(_read_file(path))
    if private is None:
        raise ValueError("must be a PEM file with a private Ed25519 or RSA key that has no password")
    if isinstance(private, RSAPrivateKey) and private.key_size < MIN_SIGNING_RSA_BITS:
        raise ValueError(f"must be an Ed25519 key, or an RSA key of {MIN_SIGNING_RSA_BITS} to {MAX_RSA_BITS} bits")
    return _create_key(private.public_key(), private, rsa_algorithm)


def public_key(path: Path, rsa_algorithm: str = PS256) -> Key:
    """Read a verifying key from a PEM file, public or private. Raises `ValueError` as `private_key` does."""
    pem = _read_file(path)
    private = _parse_private(pem)
    public = private.public_key() if private is not None else _parse_public(pem)
    if public is None:
        raise ValueError("must be a PEM file with an Ed25519 or RSA key that has no password")
    return _create_key(public, None, rsa_algorithm)


def published_keys(key_set: object) -> list[Key]:
    """Return the Ed25519 keys of a JSON Web Key Set (RFC 7517), which may have others. Raises `ValueError`."""
    keys = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(keys, list):
        raise ValueError("must be a JSON Web Key Set: an object with the member `keys`")  # noqa: TRY004 - as other mistakes
    found = [one for one in keys if isinstance(one, dict) and (one.get("kty"), one.get("crv")) == ("OKP", "Ed25519")]
    return [_parse_public_jwk(one) for one in found]


def new_private_pem() -> str:
    """Generate an Ed25519 key, and return it as the content of a PEM file (RFC 8410)."""
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Key) -> str:
    """Return the public part of an Ed25519 or RSA key as the content of a PEM file (RFC 8410, RFC 5280)."""
    pem: bytes = key.verifying.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def base64url(raw: bytes) -> str:
    """Encode bytes in the canonical form of a token (RFC 7515, section 2): without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_file(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ValueError("must be the name of a file that is there")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _parse_private(pem: bytes) -> Ed25519PrivateKey | RSAPrivateKey | None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey | RSAPrivateKey) else None


def _parse_public(pem: bytes) -> Ed25519PublicKey | RSAPublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey | RSAPublicKey) else None


def _parse_public_jwk(members: dict[str, Any]) -> Key:
    x = members.get("x")
    try:
        raw = base64.urlsafe_b64decode(f"{x}=") if isinstance(x, str) else b""
        return _create_key(Ed25519PublicKey.from_public_bytes(raw), None)
    except ValueError:
        raise ValueError("must have 32 bytes, as base64url, in the member `x` of an Ed25519 key") from None


def _create_key(
    public: Ed25519PublicKey | RSAPublicKey,
    signing: Ed25519PrivateKey | RSAPrivateKey | None,
    rsa_algorithm: str = PS256,
) -> Key:
    if isinstance(public, Ed25519PublicKey):
        algorithm = EDDSA
        members = {"crv": "Ed25519", "kty": "OKP", "x": base64url(public.public_bytes_raw())}
    else:
        algorithm = rsa_algorithm
        members = _describe_rsa(public)
    kid = _compute_thumbprint(members if algorithm != PS256 else {**members, "alg": algorithm})
    return Key(algorithm, kid, public, signing, {**members, "kid": kid, "alg": algorithm, "use": "sig"})


def _describe_rsa(public: RSAPublicKey) -> dict[str, str]:
    if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise ValueError(f"must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, being an RSA key")
    numbers = public.public_numbers()
    return {"e": _encode_number(numbers.e), "kty": "RSA", "n": _encode_number(numbers.n)}


def _encode_number(number: int) -> str:
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _compute_thumbprint(members: dict[str, str]) -> str:
    """Return the hash of the required members of a JSON Web Key, in canonical form (RFC 7638)."""
    return base64url(hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest())
