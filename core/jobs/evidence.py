"""What the machine knows of how a command ended: kills for want of memory, and space left on the disk."""

import shutil
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")


def oom_kills() -> int | None:
    """How many processes the kernel has ended so far because memory ran out, in our control group or, where it
    does not say, on the whole machine; None where nobody says."""
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
    """Space left for us on the disk of `path`; None where it cannot be asked."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _own_groups() -> list[Path]:
    """Where the kernel counts for our control group: version 2, then version 1."""
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
    # In a container the paths are those of the host, and its own group is the root that it sees.
    return [*found, _CGROUPS / "memory.events", _CGROUPS / "memory" / "memory.oom_control"]
