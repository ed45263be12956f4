"""Checkpoints: the head of the chain of blocks as a signed note, which witnesses of transparency logs understand. Pure.

The format is that of C2SP: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note. The tree is that of RFC
9162 over the headers of all blocks: its size is the number of blocks.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from ledger.identity.keys import Key

ORIGIN = "ledger"  # followed by the id of the ledger
ED25519 = b"\x01"  # the type of these signatures
KEY_ID_BYTES = 4
MAX_BYTES = 1 << 20
_NOTE = re.compile(r"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)\n")
_SIGNATURE = re.compile(r"\N{EM DASH} (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/]+={0,2})")


class InvalidCheckpointError(Exception):
    """A text is not a checkpoint of this ledger that one of the keys has signed. The message is one sentence."""


class Checkpoint(NamedTuple):
    """The number of blocks, and the root of the tree over their headers."""

    size: int
    root: bytes


def origin_of(ledger_id: UUID) -> str:
    """Return the origin of a ledger's checkpoints, which is also the name of the key that signs them."""
    return f"{ORIGIN}/{ledger_id}"


def sign(ledger_id: UUID, checkpoint: Checkpoint, key: Key) -> str:
    """Return the signed note of a checkpoint."""
    origin = origin_of(ledger_id)
    text = f"{origin}\n{checkpoint.size}\n{_encode(checkpoint.root)}\n"
    return f"{text}\n\N{EM DASH} {origin} {_encode(_compute_key_id(origin, key) + key.sign(text.encode()))}\n"


def verifier_key(ledger_id: UUID, key: Key) -> str:
    """Return the public key as witnesses are configured with it: name, key id and key, separated by plus signs."""
    origin = origin_of(ledger_id)
    return f"{origin}+{_compute_key_id(origin, key).hex()}+{_encode(ED25519 + _public_bytes(key))}"


def open_note(raw: bytes, ledger_id: UUID, keys: Iterable[Key]) -> Checkpoint:
    """Return the checkpoint of a signed note. Other signatures, such as those of witnesses, are ignored.

    Raises `InvalidCheckpointError` unless one of the keys has signed it, and if a signature of them is wrong.
    """
    try:
        text = raw[:MAX_BYTES].decode()
    except UnicodeDecodeError:
        raise InvalidCheckpointError("it is not a checkpoint") from None
    match = _NOTE.match(text)
    if match is None:
        raise InvalidCheckpointError("it is not a checkpoint")
    origin, by_id = origin_of(ledger_id), {_compute_key_id(origin_of(ledger_id), key): key for key in keys}
    if match["origin"] != origin:
        raise InvalidCheckpointError(f"it is a checkpoint of {match['origin']}")
    is_signed = False
    for line in text[match.end() :].splitlines():
        key_id, signature = _split_signature(line, origin)
        if (key := by_id.get(key_id)) is not None:
            if not key.verifies(match["text"].encode(), signature):
                raise InvalidCheckpointError("its signature is wrong")
            is_signed = True
    if not is_signed:
        raise InvalidCheckpointError("none of the trusted keys has signed it")
    return Checkpoint(int(match["size"]), base64.b64decode(match["root"]))


def _split_signature(line: str, origin: str) -> tuple[bytes, bytes]:
    """Return the key id and the signature of a line; nothing for another name."""
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise InvalidCheckpointError("it is not a checkpoint")
    try:
        raw = base64.b64decode(match["signature"], validate=True)
    except binascii.Error:
        raise InvalidCheckpointError("it is not a checkpoint") from None
    return (raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:]) if match["name"] == origin else (b"", b"")


def _compute_key_id(name: str, key: Key) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + _public_bytes(key)).digest()[:KEY_ID_BYTES]


def _public_bytes(key: Key) -> bytes:
    raw: bytes = key.verifying.public_bytes_raw()
    return raw


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
