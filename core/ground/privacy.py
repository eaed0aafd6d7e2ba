"""Files that are their owner's alone, whatever the umask was: those to be made, and those that were made before.

Directories become 0700 and files 0600. Links are not followed: what they lead to is somebody else's to set.
"""

import contextlib
import os
import stat
from pathlib import Path

_OTHERS = 0o077


def keep_private() -> None:
    """From now on, for this process and every child of it."""
    os.umask(_OTHERS)


def narrow(root: Path) -> bool:
    """Take the directory `root` and all in it from everybody else. Whether there was anything that others could reach.

    A disk that knows no owners, and a directory of another user's, stay as they are.
    """
    with contextlib.suppress(OSError):
        if not root.stat().st_mode & _OTHERS:
            return False
        # First: from here on nobody else gets in, neither to read nor to put a link where it would be followed.
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
