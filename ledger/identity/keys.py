"""The keys that tokens are signed with, and their signatures: a shared secret, or a PEM file (Ed25519 or RSA).

The only place that knows PyJWT and cryptography. A key has one algorithm, so no token has a say in which one is used.
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
RS256 = "RS256"
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key has at least the size of the hash
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
MAX_RSA_BITS = 8192  # a signature must fit into a token
MAX_FILE_BYTES = 65_536
_KID_LABEL = b"ledger: the name of an HS256 key"  # no token is signed in these words
_KID_BYTES = 12


@dataclass(frozen=True, slots=True)
class Key:
    """A key with its one algorithm and its name, `kid`. Without `signing`, it only verifies.

    `public` is what others may know (RFC 7517): nothing of a shared secret.
    """

    algorithm: str
    kid: str
    verifying: Any = field(repr=False)
    signing: Any = field(repr=False)
    public: dict[str, str] | None = None

    def sign(self, message: bytes) -> bytes:
        """The signature: always the same one for the same message."""
        return jwt.get_algorithm_by_name(self.algorithm).sign(message, self.signing)

    def derive(self, label: bytes) -> bytes:
        """A secret for another use: 32 bytes that follow from the key, and that nobody without it can tell.

        No token, and nothing else that is signed, may be spelt like the label.
        """
        return hashlib.sha256(self.sign(label)).digest()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether it is this key's signature of the message."""
        return jwt.get_algorithm_by_name(self.algorithm).verify(message, self.verifying, signature)


def secret_key(secret: str) -> Key:
    """The HS256 key of a shared secret. Raises `ValueError`, which says nothing about the secret."""
    raw = secret.encode()
    if len(raw) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
    try:
        prepared = jwt.get_algorithm_by_name(HS256).prepare_key(raw)
    except jwt.InvalidKeyError:
        raise ValueError("must be a secret of its own, not a PEM file, certificate or JSON key") from None
    return Key(HS256, base64url(hmac.digest(raw, _KID_LABEL, "sha256")[:_KID_BYTES]), prepared, prepared)


def private_key(path: Path) -> Key:
    """The key in a PEM file, to sign with. Raises `ValueError`, which says nothing about the file's name or content."""
    private = _private(_content(path))
    if private is None:
        raise ValueError("must be a PEM file with a private Ed25519 or RSA key that has no password")
    return _pair(private.public_key(), private)


def public_key(path: Path) -> Key:
    """The key in a PEM file, public or private, to verify with. Raises `ValueError` as `private_key` does."""
    pem = _content(path)
    private = _private(pem)
    public = private.public_key() if private is not None else _public(pem)
    if public is None:
        raise ValueError("must be a PEM file with an Ed25519 or RSA key that has no password")
    return _pair(public, None)


def new_private_pem() -> str:
    """A fresh Ed25519 key, as the content of a PEM file (RFC 8410)."""
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Key) -> str:
    """What others verify an Ed25519 or RSA key's signatures with, as the content of a PEM file (RFC 8410, RFC 5280)."""
    pem: bytes = key.verifying.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def base64url(raw: bytes) -> str:
    """The one spelling that a token may use (RFC 7515, section 2): no padding, and no bits to spare."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ValueError("must be the name of a file that is there")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _private(pem: bytes) -> Ed25519PrivateKey | RSAPrivateKey | None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey | RSAPrivateKey) else None


def _public(pem: bytes) -> Ed25519PublicKey | RSAPublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey | RSAPublicKey) else None


def _pair(public: Ed25519PublicKey | RSAPublicKey, signing: Ed25519PrivateKey | RSAPrivateKey | None) -> Key:
    if isinstance(public, Ed25519PublicKey):
        algorithm = EDDSA
        members = {"crv": "Ed25519", "kty": "OKP", "x": base64url(public.public_bytes_raw())}
    else:
        algorithm = RS256
        members = _rsa_members(public)
    kid = _thumbprint(members)
    return Key(algorithm, kid, public, signing, {**members, "kid": kid, "alg": algorithm, "use": "sig"})


def _rsa_members(public: RSAPublicKey) -> dict[str, str]:
    if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise ValueError(f"must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, being an RSA key")
    numbers = public.public_numbers()
    return {"e": _unsigned(numbers.e), "kty": "RSA", "n": _unsigned(numbers.n)}


def _unsigned(number: int) -> str:
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _thumbprint(members: dict[str, str]) -> str:
    """RFC 7638: the hash of the members that make the key, in their order."""
    return base64url(hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest())
