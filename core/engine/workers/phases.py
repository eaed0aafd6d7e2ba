"""When a training process reached each phase, in seconds since it began, and what some of its work cost.

Part of `entry`; `training_hook` writes both into the progress file, which stays with the run. `spent` counts seconds of
`answers` to questions, of `aim: read` and `aim: solve` (see `adapter_inputs`), and of `warm up`, beside the imports (see
`early_card`). Standard library only.
"""

import contextlib
import os
import time
from collections.abc import Iterator

# In this order: everything imported, the model built, the data mapped, the adapter aimed if it is, the first iteration
# begun and ended, the last one ended, everything ended.
PHASES = ("imported", "built", "mapped", "aimed", "begun", "first", "last", "ended")

reached: "dict[str, float]" = {}
spent: "dict[str, float]" = {}


def _age() -> float:
    """Return the seconds since this process began; since this module was loaded if the system does not tell."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/stat", encoding="utf-8") as file:
        began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        if 0 < began <= now:
            return now - began
    return 0.0


_BEGAN = time.monotonic() - _age()


def reach(phase: str) -> None:
    """Note that a phase was reached; only the first time counts."""
    reached.setdefault(phase, round(time.monotonic() - _BEGAN, 2))


@contextlib.contextmanager
def spending(on: str) -> "Iterator[None]":
    """Add the seconds of what follows to those spent `on` the same before."""
    began = time.monotonic()
    try:
        yield
    finally:
        spent[on] = round(spent.get(on, 0.0) + time.monotonic() - began, 2)
