"""A slow line on 127.0.0.1: a TCP proxy with limited bandwidth and latency.

The two directions are independent; the connections of a direction share its bandwidth, as in an SSH tunnel.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

BLOCK = 8192


class Tunnel:
    """A line to a port of this machine: `latency` is the round trip in seconds, `rate` the bits per second each way."""

    def __init__(self, port: int, *, latency: float = 0.1, rate: float = 4e6) -> None:
        self.to, self.latency, self.rate = port, latency, rate
        self.port = 0
        self.bytes = {"up": 0, "down": 0}
        self._free = {"up": 0.0, "down": 0.0}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either end closes it."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        ways = [self._carry(reader, far_writer, "up"), self._carry(far_reader, writer, "down")]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (writer, far_writer):
                end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, block = await on_the_way.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not block:
                    return
                writer.write(block)
                await writer.drain()

        arriving = asyncio.ensure_future(arrive())
        try:
            while block := await reader.read(BLOCK):
                self.bytes[way] += len(block)
                # The line is busy for the duration of the block, whichever connection it belongs to.
                self._free[way] = max(self._free[way], time.monotonic()) + 8 * len(block) / self.rate
                await asyncio.sleep(max(0.0, self._free[way] - time.monotonic()))
                on_the_way.put_nowait((self._free[way] + self.latency / 2, block))
            on_the_way.put_nowait((time.monotonic() + self.latency / 2, b""))
            await arriving
        except OSError:
            return
        finally:
            arriving.cancel()


@contextlib.contextmanager
def dug(tunnel: Tunnel) -> Iterator[Tunnel]:
    """Open the tunnel during the block, in its own thread, because the browser's driver has this one's event loop."""
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        server = await asyncio.start_server(tunnel.connect, "127.0.0.1", 0)
        tunnel.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()

    # Closes what is still open when it ends.
    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield tunnel
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(5)
