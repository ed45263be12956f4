"""Chooses the user that the servers run as.

PostgreSQL refuses to be root, so root becomes an unprivileged user, or is one inside a user namespace.
Nothing but our own folders is ever made more open for that.
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
UNPRIVILEGED = 65534  # what a namespace's only user is called there; any number but 0 would do


class Means(Enum):
    """How a child process gets its identity."""

    STAY = auto()  # it is unprivileged already
    SETUID = auto()
    NAMESPACE = auto()  # root outside is a plain user inside: it keeps its access to root's files and loses the rest


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the servers run as. In a namespace `uid` and `gid` are what they see themselves as."""

    means: Means
    uid: int
    gid: int

    @property
    def owner(self) -> int:
        """The user that owns the servers' files, seen from outside."""
        return os.geteuid() if self.means is Means.NAMESPACE else self.uid

    def assume(self) -> None:
        """Become it for good. Only for a child process that is about to be another program."""
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
        """Say whether it may enter these folders and run these programs: a child becomes it and looks."""
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
    """Choose the user for the servers of this folder. A cluster stays with the user that it was made by."""
    owner = folder.cluster.stat().st_uid if folder.cluster.exists() else None
    if owner is not None and not may_be_ours(owner):
        raise belongs_to_another(folder.cluster, owner)
    if os.geteuid() != 0:
        return Identity(Means.STAY, os.geteuid(), os.getegid())
    chosen = next((one for one in _candidates(owner) if _can_run(one, folder, programs)), None)
    if chosen is None:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, no unprivileged user can reach both {programs.postgres} and "
            f"{folder.path}, and user namespaces are refused here: run as another user, move the data folder "
            "to where others may enter, or set DATABASE_URL and REDIS_URL"
        )
    return chosen


def make_private(path: Path, identity: Identity) -> None:
    """Create a folder for the servers alone. One that exists must be theirs: it is never taken over."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if found.st_uid != identity.owner or not is_private(found):
            raise EmbeddedError(
                f"{path} is not a private folder of user {identity.owner}, whom the servers run as: "
                "move it away and start again"
            ) from None
    else:
        if identity.means is Means.SETUID:
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def _candidates(owner: int | None) -> list[Identity]:
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
    """Say whether the data folder is root's and holds nothing but what we put there to get this far."""
    ours = {folder.lock.name, folder.log("supervisor").name}
    return folder.path.stat().st_uid == 0 and ours.issuperset(found.name for found in folder.path.iterdir())
