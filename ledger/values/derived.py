"""Ids that follow from a name: UUIDs of version 8, from SHA-256 (RFC 9562, section 5.8 and appendix B.2).

They are the ledger's own. No client may choose one, or it could take a stream that the ledger will need, and which
anybody can compute.
"""

import hashlib
from uuid import UUID

VERSION = 8
_NAMESPACE = bytes.fromhex("6f1d1c1e5a0b5c529d5e0c9f3c1a7b11")


def derived_id(kind: str, name: str) -> UUID:
    """Return the id of this name among names of its kind."""
    digest = bytearray(hashlib.sha256(_NAMESPACE + f"{kind}:{name}".encode(errors="surrogatepass")).digest()[:16])
    digest[6] = VERSION << 4 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return UUID(bytes=bytes(digest))


def is_derived(candidate: UUID) -> bool:
    """Whether the ledger keeps ids of this form for itself."""
    return candidate.version == VERSION
