"""Secrets that the service has to read again are encrypted with AES-256-GCM: those of second factors and of webhooks.

Each is bound to its stream and its id: a secret that was moved or changed in its table is refused. The key follows from
a secret of the settings; what replaced secrets have encrypted is read as well.
"""

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.identity.keys import Key

OF_SECOND_FACTORS = b"ledger: the secrets of second factors"
OF_WEBHOOKS = b"ledger: the secrets of webhooks"
_KEY_ID_BYTES, _NONCE_BYTES = 8, 12


class UnreadableSecretError(Exception):
    """A stored secret was changed or moved, or its key is not in the settings."""


class SecretBox:
    """Encrypts secrets of one kind with the first of these keys, and decrypts what any of them has encrypted.

    `label` is the kind: a secret of another kind cannot be decrypted.
    """

    def __init__(self, keys: Sequence[Key], label: bytes = OF_SECOND_FACTORS) -> None:
        derived = [key.derive(label) for key in keys]
        ids = [hashlib.sha256(raw).digest()[:_KEY_ID_BYTES] for raw in derived]
        self.key_id = ids[0]
        self._ciphers = {key_id: AESGCM(raw) for key_id, raw in zip(ids, derived, strict=True)}

    def seal(self, secret: bytes, stream_id: UUID, secret_id: UUID) -> bytes:
        """Return an encrypted secret, which begins with the id of the key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = stream_id.bytes + secret_id.bytes
        return self.key_id + nonce + self._ciphers[self.key_id].encrypt(nonce, secret, bound)

    def open(self, sealed: bytes, stream_id: UUID, secret_id: UUID) -> bytes:
        """Decrypt a secret. Raises `UnreadableSecretError`."""
        key_id, rest = sealed[:_KEY_ID_BYTES], sealed[_KEY_ID_BYTES:]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnreadableSecretError("its key is not in the settings")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], stream_id.bytes + secret_id.bytes)
        except (InvalidTag, ValueError):
            raise UnreadableSecretError("it was changed, or moved from another row") from None
