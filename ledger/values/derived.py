"""Ids derived from a name: UUIDs of version 8, from SHA-256 (RFC 9562, 5.8 and B.2); and digests of texts.

The ids are reserved for the ledger. Anybody can compute them, so a client that could choose one could take a stream
that the ledger needs later.
"""

import hashlib
from uuid import UUID

from ledger.values.asyncpg_private import FastUUID

VERSION = 8
_NAMESPACE = bytes.fromhex("6f1d1c1e5a0b5c529d5e0c9f3c1a7b11")


def derived_id(kind: str, name: str) -> UUID:
    """Return the id of a name, which is unique among names of this kind."""
    digest = bytearray(hashlib.sha256(_NAMESPACE + f"{kind}:{name}".encode(errors="surrogatepass")).digest()[:16])
    digest[6] = VERSION << 4 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return FastUUID(bytes(digest))


def text_digest(text: str) -> str:
    """Return the SHA-256 digest of a text in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def is_derived(candidate: UUID) -> bool:
    """Return whether an id is of the version that is reserved for the ledger."""
    return candidate.version == VERSION
