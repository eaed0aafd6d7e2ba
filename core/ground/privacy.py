"""Restrict files to their owner, whatever the umask: new ones, and existing ones.

Directories become 0700 and files 0600. Links are not followed: their targets are not ours to change.
"""

import contextlib
import os
import stat
from pathlib import Path

_OTHERS = 0o077


def keep_private() -> None:
    """Set the umask for this process and all its children."""
    os.umask(_OTHERS)


def narrow(root: Path) -> bool:
    """Remove access for others from the directory `root` and all in it; return whether others could reach anything.

    A file system without ownership, and another user's directory, are left unchanged.
    """
    with contextlib.suppress(OSError):
        if not root.stat().st_mode & _OTHERS:
            return False
        # Done first: after this nobody else can get in, to read or to place a link that would be followed.
        root.chmod(stat.S_IMODE(root.stat().st_mode) & ~_OTHERS)
        anything = False
        for directory, directories, files in os.walk(root):
            for name in (*directories, *files):
                anything = True
                with contextlib.suppress(OSError):
                    _narrow(Path(directory, name))
        return anything
    return False


def _narrow(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode) and mode & _OTHERS:
        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
