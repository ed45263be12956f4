"""Chooses the user that the servers run as.

PostgreSQL refuses to run as root, so root switches to an unprivileged user or enters a user namespace. For this, only
the ledger's own folders are ever given wider permissions.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import assert_never

from ledger.embedded.binaries import Programs
from ledger.embedded.folder import (
    DataFolder,
    EmbeddedError,
    belongs_to_another,
    is_private,
    may_be_ours,
    server_users,
)

CLONE_NEWUSER = 0x10000000
UNPRIVILEGED = 65534  # the id of a namespace's only user; any number but 0 would do


class Means(Enum):
    """How a child process gets its identity."""

    STAY = auto()  # already unprivileged
    SETUID = auto()
    NAMESPACE = auto()  # root becomes a plain user inside, with access to root's files but no other privilege


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that the servers run as. In a namespace, `uid` and `gid` are the ids seen inside."""

    means: Means
    uid: int
    gid: int

    @property
    def owner(self) -> int:
        """Id of the user that owns the servers' files, as seen outside a namespace."""
        return os.geteuid() if self.means is Means.NAMESPACE else self.uid

    def assume(self) -> None:
        """Switch to this identity for good. Only for a child process that is about to run another program."""
        match self.means:
            case Means.STAY:
                pass
            case Means.SETUID:
                os.setgroups([])
                os.setgid(self.gid)
                os.setuid(self.uid)
            case Means.NAMESPACE:
                self._enter_namespace()
            case _:
                assert_never(self.means)

    def reaches(self, paths: Iterable[Path]) -> bool:
        """Return whether this identity may enter folders and run programs. A child process assumes it and checks."""
        child = os.fork()
        if child == 0:
            reached = False
            try:
                self.assume()
                reached = all(os.access(path, os.X_OK) for path in paths)
            finally:
                os._exit(0 if reached else 1)
        return os.waitpid(child, 0)[1] == 0

    def _enter_namespace(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"{self.uid} 0 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"{self.gid} 0 1", "ascii")


def choose_identity(folder: DataFolder, programs: Programs) -> Identity:
    """Choose the user for the servers of a folder. A cluster keeps the user who created it."""
    owner = folder.cluster.stat().st_uid if folder.cluster.exists() else None
    if owner is not None and not may_be_ours(owner):
        raise belongs_to_another(folder.cluster, owner)
    if os.geteuid() != 0:
        return Identity(Means.STAY, os.geteuid(), os.getegid())
    chosen = next((identity for identity in _list_candidates(owner) if _can_run(identity, folder, programs)), None)
    if chosen is None:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, no unprivileged user can reach both {programs.postgres} and "
            f"{folder.path}, and user namespaces are refused here: run as another user, move the data folder "
            "to where other users may enter, or set DATABASE_URL and REDIS_URL"
        )
    return chosen


def make_private(path: Path, identity: Identity) -> None:
    """Create a folder that only the servers' user can enter. An existing folder must already be that user's."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if status.st_uid != identity.owner or not is_private(status):
            raise EmbeddedError(
                f"{path} is not a private folder of user {identity.owner}, which the servers run as: "
                "move it away and start again"
            ) from None
    else:
        if identity.means is Means.SETUID:
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def _list_candidates(owner: int | None) -> list[Identity]:
    candidates = [Identity(Means.SETUID, uid, gid) for uid, gid in server_users() if owner in {None, uid}]
    if sys.platform == "linux" and owner in {None, 0}:
        candidates.append(Identity(Means.NAMESPACE, UNPRIVILEGED, UNPRIVILEGED))
    return candidates


def _can_run(identity: Identity, folder: DataFolder, programs: Programs) -> bool:
    needed = [programs.postgres, programs.initdb, programs.valkey, folder.path.parent]
    if not identity.reaches(needed):
        return False
    if identity.means is Means.SETUID and _is_fresh(folder):
        os.chown(folder.path, -1, identity.gid)
        folder.path.chmod(0o710)
    return identity.reaches([folder.path])


def _is_fresh(folder: DataFolder) -> bool:
    """Return whether the data folder is root's and has only the files that this start has created."""
    ours = {folder.lock.name, folder.log("supervisor").name, folder.password_file.name}
    return folder.path.stat().st_uid == 0 and ours.issuperset(entry.name for entry in folder.path.iterdir())
