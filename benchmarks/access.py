"""The cost of access control per request, compared with the same server without it.

    python -m benchmarks.access

A small app replaces Streamlit, so that nothing else takes time. Measured are a request on an open connection, one on a
new connection, and one on a new connection while thousands of others are open, which make the kernel's table long.
"""

import contextlib
import http.client
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from benchmarks.measure import interleaved, say, write
from pages.components.server.access import Access
from pages.components.server.entrance import Names, Token

REQUESTS = 300
ROUNDS = 7
OPEN = 5_000


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    """Serve the app on a free port, as Streamlit runs its own."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    # Created explicitly as TCP, so that asyncio disables Nagle's algorithm: its delays would dominate the measurement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def requests(port: int, *, anew: bool) -> None:
    """Send many requests in sequence, over one connection or a new one each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(REQUESTS):
        connection.request("GET", "/", headers={"Host": f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        if anew:
            connection.close()
    connection.close()


def compared(bare: int, guarded: int, *, anew: bool) -> dict[str, Any]:
    """Return milliseconds per request without (`one`) and with access control (`other`), and their ratio."""
    found = interleaved(lambda: requests(bare, anew=anew), lambda: requests(guarded, anew=anew), ROUNDS)
    each = {name: round(1000 * min(times) / REQUESTS, 4) for name, times in found["seconds"].items()}
    return {"least_ms": each, "ratio": found["ratio"]}


@contextlib.contextmanager
def many_connections() -> Iterator[None]:
    """Keep many connections open that are unrelated to the app, both ends in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * OPEN + 1000), hard))
    with contextlib.ExitStack() as kept:
        listening = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        for _ in range(OPEN):
            kept.enter_context(socket.create_connection(listening.getsockname()))
            kept.enter_context(listening.accept()[0])
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main() -> None:
    """Measure and store the results."""
    app = PlainTextResponse("x" * 1000)
    with served(app) as bare, served(Access(app, Names(), Token("benchmark"))) as guarded:
        requests(bare, anew=True), requests(guarded, anew=True)
        say("an open connection, new ones")
        figures = {
            "open_connection": compared(bare, guarded, anew=False),
            "new_connection": compared(bare, guarded, anew=True),
        }
        say(f"new ones among {OPEN} others")
        with many_connections():
            figures["new_connection_among_5000"] = compared(bare, guarded, anew=True)
    write("access", figures)


if __name__ == "__main__":
    main()
