"""Whether another account could change or replace a file, by its permissions or those of any directory on its path.

Symbolic links are followed. This is the check of sshd's StrictModes, applied to whatever is to run with our rights.
Covers only the components of the path, not everything below a directory. What to refuse is up to the caller.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.ground.peer import is_own
from core.ground.text import Text

# The kernel's limit: more links in a path are treated as a loop.
_MOST_LINKS = 40
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# System groups that have no members by default: Debian lets `staff` write to /usr/local.
_EMPTY_GROUPS = ("root", "staff")
_ACL = "system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Exposed:
    """A file or directory that others can change: it belongs to `owner`, or (None) its permissions allow it."""

    path: Path
    owner: str | None

    @property
    def text(self) -> Text:
        """What is wrong, and what to do."""
        if self.owner is None:
            return Text(
                f"别的账号可以改写 {self.path}，也就能以你的身份运行代码：先运行 chmod go-w {self.path}",
                f"other accounts can write to {self.path} and could run code as you: run chmod go-w {self.path} first",
            )
        return Text(
            f"{self.path} 属于 {self.owner}，对方可以随时改写它，以你的身份运行代码：请用你自己或 root 安装的",
            f"{self.path} belongs to {self.owner}, who could change it at any time and run code as you: use one that you or root installed",
        )


def exposed(path: Path) -> Exposed | None:
    """Return the first component of `path` that others could change; None if only the user and root can.

    A component that is missing or unreadable ends the check: nothing can be run from there either.
    """
    try:
        return next((found for place in _way(path) if (found := _exposed(place))), None)
    except OSError:
        return None


def _way(path: Path) -> Iterator[Path]:
    """Yield every directory and link that the kernel traverses to `path`, and the target. Raises OSError."""
    at, links = Path("/"), 0
    yield at
    left = list(reversed(Path.cwd().joinpath(path).parts[1:]))
    while left:
        name = left.pop()
        if name == "..":
            at = at.parent
            continue
        yield at / name
        if not stat.S_ISLNK(os.lstat(at / name).st_mode):
            at = at / name
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(f"too many symbolic links: {path}")
        target = Path(os.readlink(at / name))
        at = Path("/") if target.is_absolute() else at
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _exposed(path: Path) -> Exposed | None:
    found = os.lstat(path)
    # Also for a link: in a directory with the sticky bit, its owner may replace it.
    if not is_own(found.st_uid):
        return Exposed(path, name_of(found.st_uid))
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & _OTHERS:
        return None
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        # Such as /tmp: only an entry's owner can replace it, and the owner of the entry is checked next.
        return None
    if not found.st_mode & stat.S_IWOTH and _alone_in(found.st_gid) and not _has_acl(path):
        return None
    return Exposed(path, None)


@cache
def _alone_in(gid: int) -> bool:
    """Return whether a group is the user's private group, or a system group without other members."""
    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
    except KeyError:
        return False
    members = {*group.gr_mem, *(other.pw_name for other in pwd.getpwall() if other.pw_gid == gid)}
    return group.gr_name in (user, *_EMPTY_GROUPS) and members <= {user, "root"}


def _has_acl(path: Path) -> bool:
    """Return whether an ACL with further accounts is behind the group bits."""
    try:
        return _ACL in os.listxattr(path)
    except OSError:
        return False


def name_of(uid: int) -> str:
    """Return a user's name; the uid if it has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
