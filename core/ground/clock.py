"""Time that nobody can set: seconds since the machine was started, and which start that was.

A wall clock may be put back while a training runs; durations are measured by this one.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def since_boot() -> float:
    """Seconds since the machine was started, sleep included; the clock of the start times in `/proc/PID/stat`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Which start of the machine this is; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in time: `at` seconds after the start `boot` of the machine."""

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
        """Seconds since then; None where the machine was started anew in between."""
        now = Moment.now()
        return max(0.0, now.at - self.at) if now.boot == self.boot else None
