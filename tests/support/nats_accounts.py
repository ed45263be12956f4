"""An operator, an account and a user of NATS with signed tokens, as `nsc` makes them, for a server of a test."""

import base64
import hashlib
import json
import time
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3  # the prefixes of keys (NATS, nkeys)
UNLIMITED = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


class NatsAccounts(NamedTuple):
    """What a server's configuration needs, and the text of a user's `.creds` file."""

    config: str
    credentials: str


def make_accounts() -> NatsAccounts:
    """Make keys and tokens; the account may use JetStream without limits."""
    operator, system, account, user = (Ed25519PrivateKey.generate() for _ in range(4))
    of_operator = _sign(operator, OPERATOR, operator, OPERATOR, {"type": "operator"})
    of_account = _sign(operator, OPERATOR, account, ACCOUNT, {"type": "account", "limits": _limits()})
    of_system = _sign(operator, OPERATOR, system, ACCOUNT, {"type": "account"})
    of_user = _sign(account, ACCOUNT, user, USER, {"type": "user", "subs": -1, "data": -1, "payload": -1})
    config = f"""
        operator: {of_operator}
        resolver: MEMORY
        system_account: {_name(system, ACCOUNT)}
        resolver_preload: {{
            {_name(account, ACCOUNT)}: {of_account}
            {_name(system, ACCOUNT)}: {of_system}
        }}
    """
    seed = _encode(bytes([SEED | USER >> 5, (USER & 31) << 3]) + user.private_bytes_raw())
    credentials = (
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return NatsAccounts(config, credentials)


def _limits() -> dict[str, int]:
    return {**dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1), **UNLIMITED}


def _sign(
    issuer: Ed25519PrivateKey, kind: int, subject: Ed25519PrivateKey, subject_kind: int, claims: dict[str, Any]
) -> str:
    body: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": _name(issuer, kind),
        "sub": _name(subject, subject_kind),
        "name": "test",
        "nats": {**claims, "version": 2},
    }
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = ".".join(_encode_url(json.dumps(part).encode()) for part in (header, body))
    return f"{text}.{_encode_url(issuer.sign(text.encode()))}"


def _name(key: Ed25519PrivateKey, kind: int) -> str:
    return _encode(bytes([kind]) + key.public_key().public_bytes_raw())


def _encode(raw: bytes) -> str:
    """Return bytes in base32 with their checksum (CRC-16/XMODEM)."""
    crc = 0
    for byte in raw:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return base64.b32encode(raw + crc.to_bytes(2, "little")).decode().rstrip("=")


def _encode_url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
