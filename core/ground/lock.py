"""An inter-process lock with a timeout; on failure, the holder is reported.

The kernel releases it however its holder dies. Local disks only.
"""

import contextlib
import fcntl
import os
import pwd
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from core.ground.errors import WorkFailed
from core.ground.figures import duration
from core.ground.text import Text

# Work under a lock takes seconds, even on a busy machine.
MOST_SECONDS = 60.0
_BETWEEN_LOOKS = 0.02


@contextlib.contextmanager
def locked(path: Path, seconds: float = MOST_SECONDS) -> Iterator[None]:
    """Hold the lock file `path` during the block. Raises WorkFailed after waiting `seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        until = time.monotonic() + seconds
        while not _taken(file):
            if time.monotonic() > until:
                holder, waited = holder_of(file), duration(seconds)
                raise WorkFailed(
                    f"{path} 已被{holder.zh}占用 {waited.zh}：等它结束再试；它若已没有用处，就结束那个进程",
                    f"{path} has been held by {holder.en} for {waited.en}: try again later, or stop the process if it is no longer needed",
                )
            time.sleep(_BETWEEN_LOOKS)
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def holder_of(file: IO[str]) -> Text:
    """Return who holds the lock on an open file, as far as the kernel tells."""
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii")
        held = re.search(rf"FLOCK\s+ADVISORY\s+\w+ (\d+) [0-9a-f]+:[0-9a-f]+:{os.fstat(file.fileno()).st_ino} ", lines)
        pid = int(held[1]) if held else 0
        owner = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return Text("另一个进程", "another process")
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    return Text(f"用户 {name} 的进程 {pid} ", f"process {pid} of user {name}")
