"""Returns unused memory to the system.

Each run of a page is a thread, and glibc gives threads heaps of their own, which remain as large as they ever were: a
server in use for hours would keep growing. So the number of heaps is limited, and their free memory is returned every
minute. Does nothing without glibc.

Large blocks are mapped separately and returned as soon as they are freed. By default glibc raises its threshold for this
(up to 32 MB) when it frees such a block; later ones are then allocated in the heaps and leave holes.
"""

import asyncio
import ctypes
import sys

from anyio import to_thread

# From malloc.h.
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
_HEAPS = 2
_LARGE = 256 << 10
_NAMES = 100_000
_EVERY_SECONDS = 60


def few_heaps() -> None:
    """Limit the number of heaps; call this before threads are created."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, _HEAPS)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)


def room_for_names() -> None:
    """Make Python's table of interned strings as large as it will get; call this once everything is imported.

    pathlib interns each part of each path. The slots of strings that are gone are reused only when the table is full and
    rebuilt with room for three times what it holds, which after the imports is twice its size. Without this, those 1.9 MB
    appear at some time in the first hours and look like a leak.
    """
    for number in range(_NAMES):
        sys.intern(f"/{number}")


async def give_back() -> None:
    """Give free memory back to the system at intervals, for as long as the server is running."""
    libc = _glibc()
    while libc is not None:
        await asyncio.sleep(_EVERY_SECONDS)
        # Takes milliseconds, during which other threads continue.
        await to_thread.run_sync(libc.malloc_trim, 0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
