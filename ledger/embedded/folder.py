"""The layout of a data folder.

All paths follow from the folder's path alone. So independent clients find the same sockets, and restarted servers have
the same URLs. That of Valkey has a password, which only the folder's user can read.
"""

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

READY = b"ready\n"  # sent to leases when the servers are ready; any other message is an error's text
SERVER_USERS = ("postgres", "nobody")  # users that run the servers if this process is root, in order of preference
SOCKET_PATH_BYTES = 103  # sun_path has 104 bytes on macOS and 108 on Linux, including the final zero
LOG_BYTES = 10_000_000  # a longer log is renamed when it is next opened
PASSWORD_LENGTH = 64
LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432")


class EmbeddedError(Exception):
    """The servers cannot run. The text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A data folder, at an absolute path without symbolic links, and the paths below it."""

    path: Path

    @classmethod
    def prepare(cls, path: Path) -> Self:
        """Create the folder (0700) if it is missing. Raises `EmbeddedError` if it is not this user's."""
        try:
            folder = cls(path.expanduser().resolve())
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = folder.path.stat().st_uid
            if may_be_ours(owner):
                _create_password(folder.password_file)
        except (OSError, RuntimeError) as error:
            raise EmbeddedError(f"{path} cannot be used as the data folder: {error}") from None
        if not may_be_ours(owner):
            raise belongs_to_another(folder.path, owner)
        return folder

    @property
    def lock(self) -> Path:
        """Lock file held by the supervisor and all server processes. If it is free, none of them is running."""
        return self.path / "lock"

    @property
    def cluster(self) -> Path:
        """Data folder of PostgreSQL."""
        return self.path / "pg"

    @property
    def unfinished_cluster(self) -> Path:
        """Folder in which initdb works until the cluster is complete."""
        return self.path / "pg.new"

    @property
    def valkey(self) -> Path:
        """Folder of Valkey's append-only file."""
        return self.path / "valkey"

    @property
    def sockets(self) -> Path:
        """Folder of the sockets: `run`, or one under /tmp if that path cannot be used in a URL.

        The path of a socket has a maximum length. Drivers split a host at commas and read a URL as UTF-8.
        """
        run = self.path / "run"
        name = os.fsencode(run)
        is_utf8 = name.decode(errors="ignore").encode() == name
        if is_utf8 and b"," not in name and len(name) + LONGEST_SOCKET_NAME <= SOCKET_PATH_BYTES:
            return run
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()
        return Path("/tmp") / f"ledger-{digest[:16]}"  # noqa: S108 - the same for every client; `is_served` checks its owner

    @property
    def password_file(self) -> Path:
        """File with Valkey's password. The socket alone would let in every program of the servers' user."""
        return self.path / "valkey-password"

    @property
    def password(self) -> str:
        """The password of Valkey. Raises `EmbeddedError` if it cannot be read."""
        try:
            password = self.password_file.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            raise EmbeddedError(f"{self.password_file} cannot be read: {error}") from None
        if len(password) < PASSWORD_LENGTH or not password.isalnum():
            raise EmbeddedError(f"{self.password_file} is damaged: remove it and start again")
        return password

    @property
    def control(self) -> Path:
        """Socket of the supervisor. A connection to it is a lease."""
        return self.sockets / "control.sock"

    @property
    def valkey_socket(self) -> Path:
        """Socket of Valkey."""
        return self.sockets / "valkey.sock"

    @property
    def database_url(self) -> str:
        """URL of PostgreSQL. Its port names the socket: without it, the user's PGPORT would."""
        return f"postgresql://ledger@/ledger?host={quote(str(self.sockets), safe='')}&port=5432"

    @property
    def redis_url(self) -> str:
        """URL of Valkey, in the form redis-py reads."""
        return f"unix://:{self.password}@{quote(str(self.valkey_socket))}?db=0"

    def log(self, name: str) -> Path:
        """Return the path of the log of `postgres`, `valkey` or `supervisor`."""
        return self.path / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """Open a log for appending, readable by its owner alone. A long log is first renamed, over an older one."""
        path = self.log(name)
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_suffix(".old"))
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")

    def last_lines(self, name: str) -> str:
        """Return the last three lines of a log, joined into one, for an error's text."""
        try:
            with self.log(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError as error:
            return str(error)
        return " | ".join([line.strip() for line in lines if line.strip()][-3:])

    def is_served(self) -> bool:
        """Return whether servers may be running. Raises `EmbeddedError` if the sockets' folder may be another user's.

        Without a cluster no servers run yet. The sockets must belong to this user or to the cluster's owner.
        """
        try:
            sockets, trusted = self.sockets.lstat(), {os.geteuid(), self.cluster.stat().st_uid}
        except FileNotFoundError:
            return False
        if not is_private(sockets) or sockets.st_uid not in trusted:
            raise EmbeddedError(f"{self.sockets} is not a private folder of this user: remove it and start again")
        return True


def _create_password(path: Path) -> None:
    """Create a file with a new password, unless the file is there."""
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_hex(PASSWORD_LENGTH // 2)}\n")


def is_private(status: os.stat_result) -> bool:
    """Return whether this is a folder, not a link to one, that only its owner can enter."""
    return stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077


def server_users() -> list[tuple[int, int]]:
    """Return the uid and gid of each user that root may run the servers as, in order of preference."""
    import pwd  # noqa: PLC0415 - missing on Windows, where this module must still be importable

    users = []
    for name in SERVER_USERS:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            users.append((user.pw_uid, user.pw_gid))
    return users


def may_be_ours(owner: int) -> bool:
    """Return whether this process can have created files of a user."""
    return owner == os.geteuid() or (os.geteuid() == 0 and owner in dict(server_users()))


def belongs_to_another(path: Path, owner: int) -> EmbeddedError:
    """Return the error for a file or folder of another user."""
    return EmbeddedError(
        f"{path} belongs to user {owner} and this process runs as user {os.geteuid()}: "
        "run it as that user or name another data folder; nothing was changed"
    )
