"""An iterator whose items a second process works out, a block ahead of the one that takes them.

For a long file on a machine with two cores: one process reads and converts while the other checks and writes. Knows
nothing of what the items are; they and the state beside them are pickled.
"""

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from core.ground.errors import WorkFailed

Item = TypeVar("Item")
# Below, a second process is not worth its beginning.
LEAST_BYTES = 32 << 20
_BLOCK = 500


def is_worth_it(size: int) -> bool:
    """Whether to read a file of so many bytes ahead: a long one, with a core to spare, and no thread that a fork would
    leave behind with its locks held."""
    return size >= LEAST_BYTES and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


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
        raise WorkFailed(
            "读文件的进程中断了，多半是内存不够：关掉别的程序再导入",
            "the process that reads the file was ended, most likely for want of memory: close other programs and import again",
        ) from error
    finally:
        ours.close()
        process.kill()
        process.join()


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
