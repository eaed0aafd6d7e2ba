"""A browser tab without the browser, for as long as it runs: `python -m benchmarks.tab ADDRESS PAGE QUERY`.

It sends the server the same requests as a tab, including the refreshes that the server asks for, and discards the
answers. So a server can be observed at work without a browser next to it, which in practice is on another machine.
"""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


class Tab(threading.Thread):
    """A tab in a thread; `drawn` is set once its page is complete, `errors` are the exceptions shown on it."""

    def __init__(self, address: str, page: str) -> None:
        super().__init__(daemon=True)
        self.page = page
        self._at, self._connection = (address, page, ""), None
        self.drawn, self._over = threading.Event(), False
        self.errors: list[str] = []
        self.start()

    def run(self) -> None:
        """Watch until `end`."""
        with contextlib.suppress(ConnectionClosed, OSError):
            watch(*self._at, opened=self._opened, drawn=self.drawn.set, failed=self.errors.append)

    def ask_for_what_is_gone(self) -> None:
        """Request a redraw of a part that is no longer on the page, as happens between two clicks."""
        if self._connection is not None:
            message = BackMsg()
            message.rerun_script.fragment_id = "gone"
            self._connection.send(message.SerializeToString())

    def end(self) -> None:
        """Disconnect without notice, like a browser that crashes."""
        self._over = True
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.socket.shutdown(socket.SHUT_RDWR)
        # The thread itself ends a tab that was closed before it had a connection.
        if self is not threading.current_thread():
            self.join(10)

    def _opened(self, connection: ClientConnection) -> None:
        self._connection = connection
        if self._over:
            self.end()


def watch(
    address: str,
    page: str,
    query: str,
    opened: Callable[[ClientConnection], None] = lambda _: None,
    drawn: Callable[[], None] = lambda: None,
    failed: Callable[[str], None] = lambda _: None,
) -> None:
    """Watch `page` of the app at `address` (`http://…`) until the server closes the connection."""
    with connect(
        f"ws{address.removeprefix('http')}/_stcore/stream", subprotocols=["streamlit"], origin=address, max_size=None
    ) as stream:
        opened(stream)

        def ask(fragment: str = "") -> None:
            message = BackMsg()
            wish = message.rerun_script
            wish.page_name, wish.query_string, wish.fragment_id = page, query, fragment
            wish.is_auto_rerun = bool(fragment)
            stream.send(message.SerializeToString())

        ask()
        every: dict[str, float] = {}
        due: dict[str, float] = {}
        while True:
            try:
                answer = ForwardMsg.FromString(
                    stream.recv(timeout=max(0.0, min(due.values(), default=1e9) - time.monotonic()))
                )
            except TimeoutError:
                fragment = min(due, key=due.__getitem__)
                due[fragment] = time.monotonic() + every[fragment]
                ask(fragment)
                continue
            match answer.WhichOneof("type"):
                case "auto_rerun":
                    fragment = answer.auto_rerun.fragment_id
                    every[fragment] = answer.auto_rerun.interval
                    due[fragment] = time.monotonic() + every[fragment]
                case "script_finished":
                    drawn()
                case "delta" if answer.delta.new_element.WhichOneof("type") == "exception":
                    failed(answer.delta.new_element.exception.type)
                case "stop_auto_rerun":
                    for fragment in answer.stop_auto_rerun.fragment_ids:
                        due.pop(fragment, None)


if __name__ == "__main__":
    watch(*sys.argv[1:])
