"""What the kernel knows about how a command ended: out-of-memory kills, and free disk space."""

import shutil
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed so far for lack of memory; None if unknown.

    Counted in our control group or, if it does not report it, on the whole machine.
    """
    for file in (*_own_groups(), _VMSTAT):
        try:
            for line in file.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except (OSError, ValueError):
            continue
    return None


def free_bytes(path: Path) -> int | None:
    """Return the space available to us on the disk of `path`; None if it cannot be read."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _own_groups() -> list[Path]:
    """Return the files with the kernel's counters for our control group: version 2, then version 1."""
    found = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append(_CGROUPS / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            found.append(_CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control")
    # In a container these paths are the host's, and its own group appears as the root.
    return [*found, _CGROUPS / "memory.events", _CGROUPS / "memory" / "memory.oom_control"]
