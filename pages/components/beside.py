"""Runs work that would block a page in a background thread; the page picks up the result when it is redrawn.

For work that takes seconds and is cheap to repeat: work that must outlive the server is a job.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

# One at a time, because each uses all processors.
_TURN = threading.Lock()


def beside(work: Callable[[], Any]) -> Future[Any]:
    """Start `work`; return the future of its result or exception. The thread does not keep the server from exiting."""
    made: Future[Any] = Future()

    def do() -> None:
        try:
            with _TURN:
                made.set_result(work())
        except Exception as error:
            made.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return made
