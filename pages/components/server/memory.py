"""Memory that nobody uses any more goes back to the system.

Each run of a page is a thread of its own, and glibc gives threads heaps of their own, each of which stays as large as it
ever had to be: a server that is looked at for hours would grow for no reason. So there are few heaps, and what is free in
them is given back each minute. Elsewhere than under glibc, nothing is done.
"""

import asyncio
import ctypes

from anyio import to_thread

# malloc.h
_ARENA_MAX = -8
_HEAPS = 2
_EVERY_SECONDS = 60


def few_heaps() -> None:
    """To be called before there are threads."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, _HEAPS)


async def give_back() -> None:
    """For as long as the server serves."""
    libc = _glibc()
    while libc is not None:
        await asyncio.sleep(_EVERY_SECONDS)
        # Some milliseconds, in which others go on.
        await to_thread.run_sync(libc.malloc_trim, 0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
