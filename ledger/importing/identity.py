"""The identity of a line: its id, its reference, the bank's reference, or what it says within a run with a name.

The id of a line without one follows from its identity, so a line that was made before is a replay for the service.
"""

import hashlib
import sqlite3
from typing import NamedTuple, Self
from uuid import UUID

from ledger.importing.draft import KINDS, Kind
from ledger.importing.faults import OptionError

MAX_RUN_LENGTH = 200
_NAMESPACE = UUID("5d0c1d5e-3f8e-4a39-8d65-0b8a1f6f3c52").bytes
_VERSION, _VARIANT = 0x50, 0x80
_CREATE = "CREATE TABLE seen (key BLOB PRIMARY KEY, line INT, content BLOB, times INT) WITHOUT ROWID"
_FILL = "INSERT INTO seen VALUES (?, ?, ?, ?)"
_TAKE = f"{_FILL} ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING line, content, times"
_IN_MEMORY = 1 << 18  # identities, some 50 MB


class Seen(NamedTuple):
    """The first line with an identity, the digest of what it says, and how many lines have this identity so far."""

    line: int
    content: bytes
    times: int


class Identities:
    """The identities of a file's lines so far: in memory, and beyond some number in a temporary database on disk."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._seen: dict[bytes, Seen] = {}
        self._in_memory = in_memory
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()

    def take(self, key: bytes, line: int, content: bytes = b"") -> Seen:
        """Count another line with this identity."""
        if self._database is not None:
            return Seen(*self._database.execute(_TAKE, (key, line, content, 1)).fetchone())
        before = self._seen.get(key)
        seen = Seen(line, content, 1) if before is None else Seen(before.line, before.content, before.times + 1)
        self._seen[key] = seen
        if len(self._seen) >= self._in_memory:
            self._database = self._move()
        return seen

    def _move(self) -> sqlite3.Connection:
        database = sqlite3.connect("", isolation_level=None)  # a file without a name, which sqlite deletes
        for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", _CREATE, "BEGIN"):
            database.execute(statement)
        database.executemany(_FILL, ((key, *seen) for key, seen in self._seen.items()))
        self._seen.clear()
        return database


def digest(*parts: bytes) -> bytes:
    """Return 16 bytes that stand for these parts."""
    return hashlib.blake2b(b"".join([b"%d:%b" % (len(part), part) for part in parts]), digest_size=16).digest()


class Run:
    """The identities of lines by what they say, within a run that has a name."""

    def __init__(self, name: str) -> None:
        self._keys = {kind: digest(_NAMESPACE, b"run", name.encode(), kind.encode()) for kind in KINDS}

    def identify(self, kind: Kind, content: bytes) -> bytes:
        """Return the identity of the first line that says this."""
        return hashlib.blake2b(content, digest_size=16, key=self._keys[kind]).digest()


def repeat(first: bytes, times: int) -> bytes:
    """Return the identity of a line that says the same as earlier ones: the second, the third, and so on."""
    return first if times == 1 else digest(_NAMESPACE, b"again", first, b"%d" % times)


def make_id(key: bytes) -> str:
    """Return the id that follows from an identity, in the form of a UUID made of a name (RFC 9562, version 5)."""
    octets = bytearray(key)
    octets[6] = octets[6] & 0x0F | _VERSION
    octets[8] = octets[8] & 0x3F | _VARIANT
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def by_reference(kind: Kind, reference: str) -> bytes:
    """Return the identity of a line with a reference. A hold that has ended leaves its reference to a transfer."""
    return digest(_NAMESPACE, b"reference", kind.encode(), reference.encode())


def by_id(chosen: str) -> bytes:
    """Return the identity of a line with an id."""
    return digest(_NAMESPACE, b"id", chosen.encode())


def by_bank(key: str) -> bytes:
    """Return the identity of a line with the bank's reference."""
    return digest(_NAMESPACE, b"bank", key.encode())


def check_run(name: str) -> str:
    """Return the name of a run. Raises `OptionError`."""
    if not name.strip() or name != name.strip() or len(name) > MAX_RUN_LENGTH or not name.isprintable():
        raise OptionError(f"--run: must be a name of 1 to {MAX_RUN_LENGTH} printable characters")
    return name
