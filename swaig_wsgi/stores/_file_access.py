"""The access of other users to files with secrets or with the state of a store."""

from __future__ import annotations

import logging
import os
import stat

_log = logging.getLogger("swaig_wsgi")

#: The files of which a warning has been logged, by device and inode.
_reported: set[tuple[int, int]] = set()


class UnsafeFileError(OSError):
    """Other users may write a file or directory that only this one should."""


def check_access(subject: str, status: os.stat_result) -> None:
    """Reject a file that other users may write, and warn once of one that they may read.

    The owner and root are trusted, and the group is not. A directory is rejected if everybody may
    write to it, even with the sticky bit, and only warned of if its group may, because volumes of
    containers are set up so. Pipes and devices are not checked, nor are systems without modes.

    Args:
        subject: the beginning of the message; it must not contain a secret.
        status: of the open file, or of the target of a link.

    Raises:
        UnsafeFileError: other users may write it.
    """
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        unsafe, doubtful, access = 0o002, 0o020, "written"
    else:
        unsafe, doubtful, access = 0o022, 0o044, "read"
        if not stat.S_ISREG(status.st_mode):
            return
    if os.name != "posix":
        return
    if mode & unsafe:
        raise UnsafeFileError(
            f"{subject} can be written by other users (mode {mode:04o}); remove their access with "
            "chmod go-w"
        )
    if mode & doubtful and (status.st_dev, status.st_ino) not in _reported:
        _reported.add((status.st_dev, status.st_ino))
        _log.warning("%s can be %s by other users (mode %04o)", subject, access, mode)
