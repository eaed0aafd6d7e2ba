"""Traces what grows within the app's server: a thread in that process writes a line of figures every half minute.

    XTUNER_STUDIO_TRACE=FILE [XTUNER_STUDIO_TRACE_LINES=1] python -m benchmarks.inside run app.py …

Starts Streamlit like `python -m streamlit`. Each line is JSON: resident memory; malloc's memory in use and free;
Python's own blocks; types with more objects than at the first look; caches, sessions, media files and threads; file
descriptors by kind. With `…_LINES` also tracemalloc's source lines that hold more than at the first look: this makes
everything twice as slow and large, so memory should then be judged by tracemalloc's sums only.
"""

import collections
import contextlib
import ctypes
import functools
import gc
import json
import os
import re
import runpy
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

TRACE, LINES = "XTUNER_STUDIO_TRACE", "XTUNER_STUDIO_TRACE_LINES"
EVERY_SECONDS = 30.0
# Before this, imports and first pages dominate.
FIRST_SECONDS = 60.0
_MB = 2**20


class _Malloc(ctypes.Structure):
    """glibc's mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def malloc() -> dict[str, float]:
    """Return glibc's memory from the kernel, in MB: in use, free in its arenas, mapped directly."""
    asked = ctypes.CDLL(None).mallinfo2
    asked.restype = _Malloc
    found = asked()
    return {
        "used_mb": round(found.uordblks / _MB, 2),
        "free_mb": round(found.fordblks / _MB, 2),
        "mapped_mb": round(found.hblkhd / _MB, 2),
    }


def resident() -> dict[str, float]:
    """Return the process's resident memory by kind, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        line.partition(":")[0]: round(int(line.split()[1]) / 1024, 2)
        for line in lines
        if line.startswith(("VmRSS", "RssAnon", "RssFile"))
    }


def pythons() -> float:
    """Return the memory of Python's own allocator, in MB, parsed from its human-readable report."""
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        words = said.read().decode()
    found = re.search(r"(\d+) arenas \* (\d+) bytes/arena", words.replace(",", ""))
    return round(int(found[1]) * int(found[2]) / _MB, 2) if found else 0.0


def caches() -> dict[str, int]:
    """Return the number of entries in each of our `lru_cache`s and in Streamlit's caches."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("core.", "pages.")):
            for key, value in list(vars(module).items()):
                if isinstance(value, functools._lru_cache_wrapper) and value.cache_info().currsize:
                    found[f"{name}.{key}"] = value.cache_info().currsize
    return found


def streamlit() -> dict[str, int]:
    """Return the sessions and media files that Streamlit holds."""
    from streamlit.runtime import Runtime

    with contextlib.suppress(RuntimeError, AttributeError):
        runtime = Runtime.instance()
        manager = runtime._session_mgr
        return {
            "sessions": manager.num_sessions(),
            "active": manager.num_active_sessions(),
            "media": len(runtime.media_file_mgr._file_metadata),
            "media_sessions": len(runtime.media_file_mgr._files_by_session_and_coord),
            "tables": len(runtime._dataframe_source_mgr.__dict__.get("_sources", ())),
        }
    return {}


def descriptors() -> list[str]:
    """Return what the file descriptors refer to, without their numbers."""
    found: collections.Counter[str] = collections.Counter()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            found[target.partition(":[")[0]] += 1
    return [f"{count} {name}" for name, count in sorted(found.items())]


def types() -> collections.Counter[str]:
    """Return the number of objects of each type known to the garbage collector."""
    # Keep other threads from running: a tuple under construction fails if somebody else holds a reference to it.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        return collections.Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())
    finally:
        sys.setswitchinterval(usual)


def more(now: collections.Counter[str], then: collections.Counter[str]) -> dict[str, int]:
    """Return what has increased, largest first."""
    grown = {name: count - then[name] for name, count in now.items() if count - then[name] > 20}
    return dict(sorted(grown.items(), key=lambda pair: -pair[1])[:25])


def follow(file: Path, lines: bool) -> None:
    """Write down the current state at intervals."""
    began, first, kept = time.monotonic(), None, None
    loaded: set[str] = set()
    while True:
        time.sleep(EVERY_SECONDS)
        age = time.monotonic() - began
        entry: dict[str, Any] = {"age": round(age), **resident(), "malloc": malloc(), "python_mb": pythons()}
        entry |= {"blocks": sys.getallocatedblocks(), "caches": caches(), "streamlit": streamlit()}
        entry["descriptors"] = descriptors()
        entry["threads"] = sorted(thread.name for thread in threading.enumerate())
        entry["loaded"] = sorted(set(sys.modules) - loaded) if loaded else []
        loaded = set(sys.modules)
        now = types()
        entry["objects"] = sum(now.values())
        if first is not None:
            entry["more"] = more(now, first)
        if lines:
            entry["traced_mb"] = round(tracemalloc.get_traced_memory()[0] / _MB, 2)
            shot = tracemalloc.take_snapshot()
            if kept is not None:
                entry["lines"] = [str(difference) for difference in shot.compare_to(kept, "lineno")[:25]]
        if first is None and age > FIRST_SECONDS:
            first, kept = now, shot if lines else None
        with file.open("a") as target:
            target.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    lines = bool(os.environ.get(LINES))
    # The server's warnings and errors, in a separate file.
    said = os.open(f"{os.environ[TRACE]}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if lines:
        tracemalloc.start(1)
    threading.Thread(target=follow, args=(Path(os.environ[TRACE]), lines), daemon=True, name="inside").start()
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
