"""Randomly damaged files into each reader: it must answer or refuse with a message, quickly, and leave nothing behind.

`make fuzz`, or `COUNT=n SEED=n SECONDS=n python -m tests.fuzz [READER …]`: at most this many files into each reader,
starting with this seed, within this time. A failure is reported with its reader and seed, which repeat it.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import configs, data, logs, models

READERS = {"data": data, "models": models, "configs": configs, "logs": logs}
MOST_SECONDS = 10.0


def tried(reader: str, number: int) -> str | None:
    """Try one damaged file; return what went wrong."""
    with tempfile.TemporaryDirectory() as place:
        began = time.process_time()
        try:
            READERS[reader].trial(Path(place), random.Random(number))
        except Exception as error:  # noqa: BLE001 - what is looked for
            return f"{type(error).__name__}: {str(error)[:300]}"
        seconds = time.process_time() - began
    return f"took {seconds:.0f} s" if seconds > MOST_SECONDS else None


def main() -> int:
    """Try the given number in each reader."""
    usual = {"COUNT": 1_000_000, "SEED": 1, "SECONDS": 120}
    count, seed, seconds = (int(os.environ.get(name, value)) for name, value in usual.items())
    failures = 0
    for reader in sys.argv[1:] or READERS:
        began, number = time.monotonic(), seed
        while number < seed + count and time.monotonic() - began < seconds:
            if wrong := tried(reader, number):
                failures += 1
                print(f"SEED={number} COUNT=1 python -m tests.fuzz {reader}: {wrong}", flush=True)
            number += 1
        print(f"{reader}: {number - seed} files in {time.monotonic() - began:.0f} s", flush=True)
    print(f"{failures} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
