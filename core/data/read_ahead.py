"""Reads ahead in other processes: an iterator in a second process, or pieces of work shared by several.

For a long file on a machine with at least two cores: other processes read and convert while this one checks and writes.
Knows nothing about the items; they and the state are pickled.
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
# Below this size, starting a second process does not pay off.
LEAST_BYTES = 32 << 20
_BLOCK = 500
# More processes would only wait for the consumer.
_MOST_PROCESSES = 4
# The pipe holds one result, so that its producer can begin the next.
_PIPE_BYTES = 1 << 20
_KILLED = WorkFailed(
    "读文件的进程中断了，多半是内存不够：关掉别的程序再导入",
    "the process reading the file was killed, most likely out of memory: close other programs and import again",
)


def is_worth_it(size: int) -> bool:
    """Return whether to read a file of this size ahead.

    It must be long, a second core available, and this the only thread: after a fork, locks held by other threads would
    never be released.
    """
    return size >= LEAST_BYTES and cores.usable() > 1 and threading.active_count() == 1


def read_ahead(items: Iterator[Item], state: Callable[[], Any], take: Callable[[Any], None]) -> Iterator[Item]:
    """Yield `items` in order; before each block, `take` receives the value of `state` after that block.

    Exceptions of the iterator are raised here at the same position. Raises WorkFailed if the second process is killed.
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
    """Yield `work(0)` to `work(count - 1)` in order, computed by one process per core, at most four.

    Each process takes every n-th piece. `work` must return its errors rather than raise them: a process that ends early
    raises WorkFailed.
    """
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
    """One of several processes; it sends its results through its own pipe."""
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
    """The SHA-256 of a file, computed in a background thread."""

    def __init__(self, file: Path) -> None:
        self._file, self._thread, self._found = file, None, ""

    def __enter__(self) -> "Hashing":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._thread.join()

    def begin(self) -> None:
        """Start, unless already started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def result(self) -> str:
        """Return the hash in hex. Raises OSError if the file cannot be read."""
        if self._thread:
            self._thread.join()
        return self._found or sha256(self._file)

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            self._found = sha256(self._file)


def _work(items: Iterator[Any], state: Callable[[], Any], theirs: Connection, ours: Connection) -> None:
    """The second process: sends blocks to `ours` and ends when nobody receives them."""
    # Otherwise this process would hold the reading end itself and never see a broken pipe.
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
