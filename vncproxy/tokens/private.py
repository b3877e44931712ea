"""Keeping the embedded database its owner's: hosts, machines and hashes of tokens stand in it.

SQLite gives the files that it makes beside a database the mode of the database, so that one made
with mode 0600 keeps them private, whatever the umask.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MODE = 0o600
_OTHERS = 0o077
_FILES = ("", "-wal", "-shm", "-journal")


def make_private(database: Path) -> None:
    """Make the database where it is missing, and take away what others may with its files.

    Links, and files of other people, are left as they are.

    Raises:
        OSError: it can't be made.
    """
    owner = database.parent.stat()
    with suppress(FileExistsError):
        made = os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            if os.geteuid() == 0:  # a command that is run by root is for the gateway's user
                os.fchown(made, owner.st_uid, owner.st_gid)
        finally:
            os.close(made)
    for suffix in _FILES:
        with suppress(FileNotFoundError, PermissionError):
            _narrow(f"{database}{suffix}", {os.geteuid(), owner.st_uid})


def _narrow(path: str, owners: set[int]) -> None:
    # Never opened for reading: to close any descriptor of a file drops the locks that SQLite has
    # on it elsewhere in this process. One that is opened as a path only has no part in that.
    if not hasattr(os, "O_PATH"):  # not Linux
        if _is_open_to_others(os.lstat(path), owners):
            os.chmod(path, _MODE, follow_symlinks=False)
        return
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if _is_open_to_others(os.fstat(descriptor), owners):
            os.chmod(f"/proc/self/fd/{descriptor}", _MODE)
    finally:
        os.close(descriptor)


def _is_open_to_others(status: os.stat_result, owners: set[int]) -> bool:
    """Return whether a file of one of the owners, and at no other path, gives others rights."""
    ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid in owners
    return ours and bool(status.st_mode & _OTHERS)


def exposures(database: Path) -> Iterator[str]:
    """Give a line for the directory and each file of the database that others have rights on."""
    for path, mode in [
        (database.parent, 0o700),
        *((database.with_name(database.name + suffix), _MODE) for suffix in _FILES),
    ]:
        with suppress(OSError):
            found = stat.S_IMODE(path.stat().st_mode)
            if found & _OTHERS:
                yield f"{path} has mode {found:04o}, so others may use it: chmod {mode:04o} {path}"
