"""The CPUs: how many this process may use, which may be fewer than the machine has, and whether they multiply bf16.

Standard library only.
"""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_PROCESSOR = Path("/proc/cpuinfo")
# Their products of bf16 take 0.4 of the time of single precision; without them PyTorch emulates, which is slower.
_BF16 = {"avx512_bf16", "amx_bf16"}


def usable() -> int:
    """Return the CPUs allowed by the affinity mask and the control group's quota; at least 1."""
    return max(1, math.floor(min([len(os.sched_getaffinity(0)), *filter(None, map(_granted, _groups()))])))


def multiply_bf16() -> bool:
    """Return whether the processor has instructions for products of bf16. Of x86 alone: others were not measured."""
    try:
        lines = _PROCESSOR.read_text().splitlines()
    except OSError:
        return False
    return any(not _BF16.isdisjoint(line.split()) for line in lines if line.startswith("flags"))


def _groups() -> list[Path]:
    """Return our control group and its parents, all of which limit us. In a container the first is the visible root."""
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
    """Return a group's CPU quota in CPUs, by version 2 or 1; None if it has no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
            # "max" and -1 mean no limit.
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None
