"""Where everything of one data folder is.

All of it follows from the folder's path alone, so that clients that know nothing of each other meet at the
same sockets, and servers that come back do so at the same URLs.
"""

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

READY = b"ready\n"  # what a lease is told when the servers answer; anything else is an error's text
SERVER_USERS = ("postgres", "nobody")  # whom root becomes to run the servers, in this order
SOCKET_PATH_BYTES = 103  # sun_path holds 104 bytes on macOS and 108 on Linux, one of them the closing zero
LOG_BYTES = 10_000_000  # a log longer than this is put aside when it is opened next
LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432")


class EmbeddedError(Exception):
    """The servers cannot run. Its text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The layout of one data folder: an absolute path without symbolic links, and what lies below it."""

    path: Path

    @classmethod
    def prepare(cls, path: Path) -> Self:
        """Create the folder (0700) where it is missing. EmbeddedError if it cannot be ours."""
        try:
            folder = cls(path.expanduser().resolve())
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = folder.path.stat().st_uid
        except (OSError, RuntimeError) as error:
            raise EmbeddedError(f"{path} cannot be the data folder: {error}") from None
        if not may_be_ours(owner):
            raise belongs_to_another(folder.path, owner)
        return folder

    @property
    def lock(self) -> Path:
        """Held by the supervisor and by every process of its servers: free means that none of them lives."""
        return self.path / "lock"

    @property
    def cluster(self) -> Path:
        """The PostgreSQL data folder."""
        return self.path / "pg"

    @property
    def unfinished_cluster(self) -> Path:
        """Where initdb works, until its result is whole."""
        return self.path / "pg.new"

    @property
    def valkey(self) -> Path:
        """The append-only file of Valkey."""
        return self.path / "valkey"

    @property
    def sockets(self) -> Path:
        """The folder of the sockets: `run`, or one under /tmp where that path could not be used in a URL.

        A socket's path is short, and drivers split a host at commas and read a URL as UTF-8.
        """
        run = self.path / "run"
        name = os.fsencode(run)
        is_utf8 = name.decode(errors="ignore").encode() == name
        if is_utf8 and b"," not in name and len(name) + LONGEST_SOCKET_NAME <= SOCKET_PATH_BYTES:
            return run
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()
        return Path("/tmp") / f"ledger-{digest[:16]}"  # noqa: S108 - the same for everyone; is_trusted() guards it

    @property
    def control(self) -> Path:
        """The supervisor's socket: a connection to it is a lease."""
        return self.sockets / "control.sock"

    @property
    def valkey_socket(self) -> Path:
        """Where Valkey listens."""
        return self.sockets / "valkey.sock"

    @property
    def database_url(self) -> str:
        """The port names the socket; without it a PGPORT of the user's would."""
        return f"postgresql://ledger@/ledger?host={quote(str(self.sockets), safe='')}&port=5432"

    @property
    def redis_url(self) -> str:
        """As redis-py reads it."""
        return f"unix://{quote(str(self.valkey_socket))}?db=0"

    def log(self, name: str) -> Path:
        """Where `postgres`, `valkey` or `supervisor` writes what it has to say."""
        return self.path / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """Open a log to append to, for its owner's eyes. A long one is put aside, over the one before it."""
        path = self.log(name)
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_suffix(".old"))
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")

    def last_lines(self, name: str) -> str:
        """Quote the end of a log, on one line, for an error's text."""
        try:
            with self.log(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError as error:
            return str(error)
        return " | ".join([line.strip() for line in lines if line.strip()][-3:])

    def is_served(self) -> bool:
        """Say whether there may be somebody to connect to. EmbeddedError if strangers may have come first.

        No cluster means nobody serves yet. Its owner is also whom the sockets must belong to.
        """
        try:
            sockets, trusted = self.sockets.lstat(), {os.geteuid(), self.cluster.stat().st_uid}
        except FileNotFoundError:
            return False
        if not is_private(sockets) or sockets.st_uid not in trusted:
            raise EmbeddedError(f"{self.sockets} is not a private folder of ours: remove it and start again")
        return True


def is_private(found: os.stat_result) -> bool:
    """Say whether this is a folder, not a link to one, that nobody but its owner can enter."""
    return stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077


def server_users() -> list[tuple[int, int]]:
    """List the users root may run the servers as, by uid and gid, the best first."""
    import pwd  # noqa: PLC0415 - Windows has none, and has to be able to import this to be told so

    users = []
    for name in SERVER_USERS:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            users.append((user.pw_uid, user.pw_gid))
    return users


def may_be_ours(owner: int) -> bool:
    """Say whether files of this user can have been made by us."""
    return owner == os.geteuid() or (os.geteuid() == 0 and owner in dict(server_users()))


def belongs_to_another(path: Path, owner: int) -> EmbeddedError:
    """Make the refusal to touch what another user owns."""
    return EmbeddedError(
        f"{path} belongs to user {owner} and this process runs as user {os.geteuid()}: "
        "run it as that user or name another data folder; nothing was changed"
    )
