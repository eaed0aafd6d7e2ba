"""Work that would keep a page waiting, done beside it by a thread; the page asks for what came of it when it is drawn again.

For what takes seconds and is cheap to do again: what must outlive the server is a job.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

# One at a time: each is busy with all the processors there are.
_TURN = threading.Lock()


def beside(work: Callable[[], Any]) -> Future[Any]:
    """Begin `work`, and return what will hold its result, or the error that it ended with. Keeps no server from ending."""
    made: Future[Any] = Future()

    def do() -> None:
        try:
            with _TURN:
                made.set_result(work())
        except Exception as error:
            made.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return made
