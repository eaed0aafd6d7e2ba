"""How many processors this process may use, which on a rented machine are fewer than it has. Standard library alone."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable() -> int:
    """Those that its affinity names, or fewer where the time of its control group is less; 1 at least."""
    return max(1, math.floor(min([len(os.sched_getaffinity(0)), *filter(None, map(_granted, _groups()))])))


def _groups() -> list[Path]:
    """Our control group and those around it, which all limit us. In a container the first is the root that it sees."""
    found = [_CGROUPS, _CGROUPS / "cpu"]
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = _CGROUPS / "cpu" if controllers else _CGROUPS
        for part in Path(path.lstrip("/")).parts:
            place /= part
            found.append(place)
    return found


def _granted(group: Path) -> float | None:
    """The processors whose time a group may take, by version 2 or 1; None where it has no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
            # "max", and -1, are no limit.
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None
