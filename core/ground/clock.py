"""Monotonic time across processes: seconds since boot, and the id of that boot.

The wall clock may be set back during a run; durations are measured by this clock.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def since_boot() -> float:
    """Return seconds since boot, including sleep; the same clock as start times in `/proc/PID/stat`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the id of this boot; empty if the kernel does not provide it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in time: `at` seconds after the boot with id `boot`."""

    boot: str
    at: float

    @classmethod
    def now(cls) -> "Moment":
        return cls(boot=boot_id(), at=since_boot())

    @classmethod
    def from_json(cls, value: Any) -> "Moment | None":
        try:
            return cls(boot=str(value["boot"]), at=float(value["at"]))
        except (TypeError, KeyError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def age(self) -> float | None:
        """Return the seconds since then; None if the machine has rebooted since."""
        now = Moment.now()
        return max(0.0, now.at - self.at) if now.boot == self.boot else None
