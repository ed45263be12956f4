"""Digests that clients make of passwords: those of passwords that attackers try first are recognised.

Only digests without a salt can be. An attacker cannot compute one with a salt either, because no response contains it.
MD5 and SHA-1 protect nothing here: an attacker would compute the same digests.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from functools import cache

from ledger.identity.common_passwords import read_common_passwords

ALGORITHMS = {16: "md5", 20: "sha1", 32: "sha256", 48: "sha384", 64: "sha512"}  # by the bytes of a digest
_PREFIX_BYTES = 8  # enough to tell digests apart, and small in memory


def is_digest_of_common(secret: str, words: Iterable[str]) -> bool:
    """Return whether a secret is the digest of a common password or of one of these words, in hex or base64."""
    digest = _decode(secret)
    algorithm = ALGORITHMS.get(len(digest))
    if algorithm is None:
        return False
    is_common = digest[:_PREFIX_BYTES] in _compute_common(algorithm)
    return is_common or digest in {_compute(algorithm, spelling) for word in words for spelling in _spell(word)}


def list_sha1(secret: str) -> list[bytes]:
    """Return the SHA-1 digest of a secret and, if it is such a digest itself, that one."""
    digest = _decode(secret)
    return [compute_sha1(secret), *([digest] if ALGORITHMS.get(len(digest)) == "sha1" else [])]


def compute_sha1(password: str) -> bytes:
    """Return the SHA-1 digest of a password, by which lists of breached passwords are ordered."""
    return _compute("sha1", password)


@cache
def _compute_common(algorithm: str) -> frozenset[bytes]:
    """Return the first bytes of the digests of all common passwords, in each spelling."""
    spellings = (spelling for word in read_common_passwords() for spelling in _spell(word))
    return frozenset(_compute(algorithm, spelling)[:_PREFIX_BYTES] for spelling in spellings)


def _spell(word: str) -> set[str]:
    return {word, word.lower(), word.capitalize(), word.upper()}


def _compute(algorithm: str, text: str) -> bytes:
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).digest()


def _decode(secret: str) -> bytes:
    """Return the bytes that a secret is in hex or else in base64, or nothing."""
    try:
        return bytes.fromhex(secret)
    except ValueError:
        pass
    try:
        return base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        return b""
