"""Keys, claims and forged tokens, for the tests of tokens."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ledger.identity.keys import PS256, Key, private_key, secret_key
from ledger.identity.tokens import Claims, InvalidTokenError, Signer, TokenType

SigningKey = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


LEEWAY = 60


LATER = 4_102_444_800  # 1 January 2100


REQUIRED = ["sub", "jti", "iat", "exp", "typ", "roles", "sid", "pos"]


USER = "0190b2c3-d4e5-7f60-8a1b-2c3d4e5f6071"


class Keys:
    """Three keys of one kind; `public` is what a forger can know about the first."""

    def __init__(self, *keys: Key, public: list[bytes]) -> None:
        self.signing, self.following, self.foreign = keys
        self.public = public


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def secret_keys() -> Keys:
    return Keys(*(secret_key(f"secret number {number} which is long enough") for number in range(3)), public=[])


def file_keys(folder: Path, make: Callable[[], SigningKey], rsa_algorithm: str = PS256) -> Keys:
    private = make_three(make)
    for number, key in enumerate(private):
        (folder / f"{number}.pem").write_bytes(pem(key))
    keys = [private_key(folder / f"{number}.pem", rsa_algorithm) for number in range(3)]
    public = private[0].public_key()
    assert keys[0].public is not None
    return Keys(
        *keys,
        public=[
            public_pem(public),
            public_pem(public).strip(),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(keys[0].public).encode(),
            json.dumps({"keys": [keys[0].public]}).encode(),
            *(member.encode() for member in keys[0].public.values()),
            *(decode_segment(keys[0].public[member]) for member in ("x", "n") if member in keys[0].public),
        ],
    )


@cache
def make_three(make: Callable[[], SigningKey]) -> list[SigningKey]:
    """Return three keys, which are made once: an RSA key takes long."""
    return [make() for _ in range(3)]


def new_rsa_key(bits: int = 3072) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def without_private(key: Key) -> Key:
    return replace(key, signing=None)


def claims(**changes: Any) -> Claims:
    now = int(time.time())
    given_claims: dict[str, Any] = {
        "sub": USER,
        "jti": "0190b2c3-d4e5-7f60-8a1b-000000000001",
        "iat": now,
        "exp": now + 3600,
        "typ": TokenType.ACCESS,
        "roles": "auditor,customer",
        "sid": "0190b2c3-d4e5-7f60-8a1b-000000000002",
        "pos": 7,
    }
    return Claims(**(given_claims | changes))


def encode_segment(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_segment(segment: str) -> bytes:
    """Decode as leniently as most libraries."""
    return base64.urlsafe_b64decode(segment + "==")


def header_of(key: Key) -> dict[str, Any]:
    return {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}


def sign_text(key: Key, text: str) -> str:
    """Return a token with this header and payload, valid or not, and a correct signature."""
    return f"{text}.{encode_segment(key.sign(text.encode()))}"


def forge_token(key: Key, payload: Any = None, header: Any = None) -> str:
    if payload is None:
        payload = json.loads(decode_segment(Signer(key, leeway_seconds=0).sign(claims()).split(".")[1]))
    return sign_text(key, f"{encode_segment(header_of(key) if header is None else header)}.{encode_segment(payload)}")


def payload_with(**changes: str) -> bytes:
    """Return a valid payload as JSON text with some members replaced; an empty string removes one."""
    usual = {name: json.dumps(value) for name, value in payload().items()}
    members = [f'"{name}":{text}' for name, text in (usual | changes).items() if text]
    return f"{{{','.join(members)}}}".encode()


def payload() -> dict[str, Any]:
    return {name: getattr(claims(), name) for name in REQUIRED} | {"typ": 0}


def is_valid(signer: Signer, token: str, kind: TokenType = TokenType.ACCESS) -> bool:
    try:
        signer.verify(token, kind)
    except InvalidTokenError:
        return False
    return True
