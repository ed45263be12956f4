"""Secrets that the service has to read again are encrypted with AES-256-GCM: those of second factors.

Each is bound to its user and its factor: a secret that was moved or changed in the table is refused. The key follows
from a secret of the settings; what replaced secrets have encrypted is read as well.
"""

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.identity.keys import Key

_KEY_LABEL = b"ledger: the secrets of second factors"
_KEY_ID_BYTES, _NONCE_BYTES = 8, 12


class UnreadableSecretError(Exception):
    """A stored secret was changed or moved, or its key is not in the settings."""


class SecretBox:
    """Encrypts secrets with the first of these keys, and decrypts what any of them has encrypted."""

    def __init__(self, keys: Sequence[Key]) -> None:
        derived = [key.derive(_KEY_LABEL) for key in keys]
        ids = [hashlib.sha256(raw).digest()[:_KEY_ID_BYTES] for raw in derived]
        self.key_id = ids[0]
        self._ciphers = {key_id: AESGCM(raw) for key_id, raw in zip(ids, derived, strict=True)}

    def seal(self, secret: bytes, stream_id: UUID, factor_id: UUID) -> bytes:
        """Return the encrypted secret of a factor, which begins with the id of the key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = stream_id.bytes + factor_id.bytes
        return self.key_id + nonce + self._ciphers[self.key_id].encrypt(nonce, secret, bound)

    def open(self, sealed: bytes, stream_id: UUID, factor_id: UUID) -> bytes:
        """Return the secret of a factor. Raises `UnreadableSecretError`."""
        key_id, rest = sealed[:_KEY_ID_BYTES], sealed[_KEY_ID_BYTES:]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnreadableSecretError("its key is not in the settings")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], stream_id.bytes + factor_id.bytes)
        except (InvalidTag, ValueError):
            raise UnreadableSecretError("it was changed, or belongs to another factor") from None
