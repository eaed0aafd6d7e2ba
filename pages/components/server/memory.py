"""Returns unused memory to the system.

Each run of a page is a thread, and glibc gives threads heaps of their own, which remain as large as they ever were: a
server in use for hours would keep growing. So the number of heaps is limited, and their free memory is returned every
minute. Does nothing without glibc.
"""

import asyncio
import ctypes

from anyio import to_thread

# From malloc.h.
_ARENA_MAX = -8
_HEAPS = 2
_EVERY_SECONDS = 60


def few_heaps() -> None:
    """Limit the number of heaps; call this before threads are created."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, _HEAPS)


async def give_back() -> None:
    """Return free memory regularly while the server is running."""
    libc = _glibc()
    while libc is not None:
        await asyncio.sleep(_EVERY_SECONDS)
        # Takes milliseconds, during which other threads continue.
        await to_thread.run_sync(libc.malloc_trim, 0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
