"""Work that other processes do ahead of the one that takes what comes of it: an iterator in a second process, or pieces of
work that several share.

For a long file on a machine with two cores: others read and convert while this one checks and writes. Knows nothing of
what the items are; they and the state beside them are pickled.
"""

import contextlib
import fcntl
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from core.ground import cores
from core.ground.errors import WorkFailed
from core.ground.files import sha256

Item = TypeVar("Item")
Piece = TypeVar("Piece")
# Below, a second process is not worth its beginning.
LEAST_BYTES = 32 << 20
_BLOCK = 500
# More would wait for the one that takes what they make.
_MOST_PROCESSES = 4
# A pipe holds a piece of work, so that its maker goes on with the next.
_PIPE_BYTES = 1 << 20
_KILLED = WorkFailed(
    "读文件的进程中断了，多半是内存不够：关掉别的程序再导入",
    "the process reading the file was killed, most likely out of memory: close other programs and import again",
)


def is_worth_it(size: int) -> bool:
    """Whether to read a file of so many bytes ahead: a long one, with a core to spare, and no thread that a fork would
    leave behind with its locks held."""
    return size >= LEAST_BYTES and cores.usable() > 1 and threading.active_count() == 1


def read_ahead(items: Iterator[Item], state: Callable[[], Any], take: Callable[[Any], None]) -> Iterator[Item]:
    """`items` in their order; before those of each block, what `state` said there, after them, is given to `take`.

    What the iterator raises is raised here in its place. Raises WorkFailed where the second process is killed.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(items, state, ours, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            block, said, error = pickle.loads(ours.recv_bytes())
            take(said)
            yield from block
            if error is not None:
                raise error
            if len(block) < _BLOCK:
                return
    except EOFError as error:
        raise _KILLED from error
    finally:
        ours.close()
        process.kill()
        process.join()


def share_out(work: Callable[[int], Piece], count: int) -> Iterator[Piece]:
    """`work(0)` to `work(count - 1)` in their order, worked out by as many processes as there are cores, each every
    so many-th. What it raises is for it to return: a process that ends raises WorkFailed."""
    context = multiprocessing.get_context("fork")
    many = max(1, min(count, _MOST_PROCESSES, cores.usable()))
    pipes = [context.Pipe(duplex=False) for _ in range(many)]
    processes = [context.Process(target=_work_on, args=(work, range(n, count, many), pipes, n), daemon=True)
                 for n in range(many)]  # fmt: skip
    for process in processes:
        process.start()
    for _, theirs in pipes:
        theirs.close()
    try:
        for place in range(count):
            yield pickle.loads(pipes[place % many][0].recv_bytes())
    except EOFError as error:
        raise _KILLED from error
    finally:
        for ours, _ in pipes:
            ours.close()
        for process in processes:
            process.kill()
            process.join()


def _work_on(
    work: Callable[[int], Any], places: range, pipes: list[tuple[Connection, Connection]], number: int
) -> None:
    """One of several processes: its pieces go into its own pipe."""
    for other, (ours, theirs) in enumerate(pipes):
        ours.close()
        if other != number:
            theirs.close()
    into = pipes[number][1]
    with contextlib.suppress(OSError):
        fcntl.fcntl(into.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        for place in places:
            into.send_bytes(pickle.dumps(work(place), pickle.HIGHEST_PROTOCOL))


class Hashing:
    """A file's SHA-256, worked out by a thread beside all else."""

    def __init__(self, file: Path) -> None:
        self._file, self._thread, self._found = file, None, ""

    def __enter__(self) -> "Hashing":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._thread.join()

    def begin(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def result(self) -> str:
        """The hash, in hex. Raises OSError where the file cannot be read."""
        if self._thread:
            self._thread.join()
        return self._found or sha256(self._file)

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            self._found = sha256(self._file)


def _work(items: Iterator[Any], state: Callable[[], Any], theirs: Connection, ours: Connection) -> None:
    """The second process: its blocks go to `ours`; where nobody takes them any more, it ends."""
    # Else it would wait for itself to read.
    theirs.close()
    error = None
    while error is None:
        block: list[Any] = []
        try:
            block.extend(islice(items, _BLOCK))
        except Exception as raised:  # noqa: BLE001 - raised again where the items are taken
            error = raised
        try:
            ours.send_bytes(pickle.dumps((block, state(), error), pickle.HIGHEST_PROTOCOL))
        except (BrokenPipeError, KeyboardInterrupt):
            return
        if len(block) < _BLOCK:
            return
