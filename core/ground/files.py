"""Reading and writing files so that a reader never sees a partial one.

Complete files are written next to their destination and renamed; growing files are read from an offset, and a
half-written last line is left for the next read. Standard library and Python 3.10 only, because the engine's workers
import it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically: to a temporary file, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_start(path: Path, most_bytes: int | None = None) -> bytes:
    """Return the first bytes of a file; all of them without a limit.

    Raises OSError for anything but a regular file: reading a pipe could block forever.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        return file.read(-1 if most_bytes is None else most_bytes)


def read_json(path: Path, most_bytes: int | None = None) -> Any | None:
    """The content of a JSON file; None if it is missing, not valid JSON, or larger than `most_bytes`."""
    try:
        content = read_start(path, None if most_bytes is None else most_bytes + 1)
        too_large = most_bytes is not None and len(content) > most_bytes
        return None if too_large else json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError, MemoryError):
        return None


def read_lines_from(path: Path, offset: int) -> tuple[list[str], int]:
    """The complete lines after byte `offset`, and the offset for the next read.

    An unfinished last line is left for the next read. If the file has become shorter than `offset`, reading restarts
    at 0. A missing file gives no lines.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = offset if offset <= size else 0
            file.seek(start)
            block = file.read()
    except FileNotFoundError:
        return [], 0
    whole = block[: block.rfind(b"\n") + 1]
    return whole.decode("utf-8", errors="replace").splitlines(), start + len(whole)


def read_tail(path: Path, most_bytes: int = 64_000) -> str:
    """The end of a text file, at most `most_bytes`, starting at a complete line; empty without a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            block = file.read()
    except FileNotFoundError:
        return ""
    if size > most_bytes:
        block = block[block.find(b"\n") + 1 :]
    return block.decode("utf-8", errors="replace")


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    digest = hashlib.sha256()
    # By hand: `hashlib.file_digest` is not in Python 3.10, which the engine's workers may run under.
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything below a directory, links not followed."""
    if path.is_file():
        return path.stat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*") if not entry.is_dir())


@contextlib.contextmanager
def new_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a directory to fill; it is renamed to `path` if the block succeeds and deleted if it fails.

    Raises FileExistsError if `path` exists; with `replace`, replaces it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not replace:
        raise FileExistsError(path)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield partial
        if replace and path.exists():
            shutil.rmtree(path)
        try:
            os.rename(partial, path)
        except OSError as error:
            # The name was taken while the block ran.
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(path) from error
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
