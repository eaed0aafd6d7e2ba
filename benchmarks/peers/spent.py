"""What a piece of work takes: seconds, CPU seconds and memory of every process that it starts, detached ones included.

The work runs in a process of its own that adopts whatever its descendants leave behind (Linux' child subreaper) and
waits for all of it, so that nothing is sampled and nothing is missed; all of it ends with the process that asked for
it. Knows nothing of training.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from core.jobs.process import end_descendants

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Failed(Exception):  # noqa: N818
    """The work raised; the message is its own."""


def spent(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `work` returns and what it took until the last process that it started had ended.

    `load` is the number of processes that wanted a core before it began. Raises Failed if `work` raises.
    """
    load = os.getloadavg()[0]
    forked = multiprocessing.get_context("fork")
    reading, writing = forked.Pipe(duplex=False)
    process = forked.Process(target=_adopting, args=(work, writing))
    process.start()
    writing.close()
    try:
        found = reading.recv()
    except EOFError:
        raise Failed(f"ended with {process.exitcode}") from None
    finally:
        process.join()
    if "failed" in found:
        raise Failed(found["failed"])
    return {**found, "load": round(load, 1)}


def _adopting(work: Callable[[], dict[str, Any]], writing: Connection) -> None:
    signal.signal(signal.SIGTERM, _end)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    try:
        found = work()
    except Exception as error:
        found = {"failed": f"{type(error).__name__}: {error}"}
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    writing.send(
        {
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
            # Of the process that used most.
            "memory_mb": used.ru_maxrss >> 10,
            **found,
        }
    )


def _end(_signal: int, _frame: object) -> NoReturn:
    end_descendants()
    os._exit(1)
