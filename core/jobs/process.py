"""Prove that a process is the one we started, and end it and all its descendants.

A pid alone proves nothing: identity is pid + start time (clock ticks since boot, from `/proc`) + boot id. No process is
ever found by its name or command line.
"""

import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from core.ground.clock import boot_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity of a process, beyond its pid."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return the identity of the live process `pid`; None if there is none, or only its zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # Field 2 is the name in brackets and may contain anything; the state is field 3 and the start time field 22.
        fields = stat[stat.rfind(")") + 2 :].split()
        return None if fields[0] in "ZX" else cls(pid=pid, start=int(fields[19]), boot=boot_id())

    @property
    def started(self) -> float:
        """The start time, in seconds since boot."""
        return self.start / os.sysconf("SC_CLK_TCK")

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> "Identity | None":
        return cls(pid=value["pid"], start=value["start"], boot=value["boot"]) if value else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def alive(self) -> bool:
        """Return whether this very process still runs."""
        return Identity.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal to this very process, if it still runs."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the group that this very process leads, if it still runs."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def end_descendants(grace: float = 0.0) -> int:
    """End all descendants of this process (SIGTERM, `grace` seconds, SIGKILL) and reap them.

    Returns how many there were.

    Repeats until none is left, since a process that is ending may still start another.
    """
    ended = 0
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        while below := [p for p in psutil.Process().children(recursive=True) if _lives(p)]:
            ended = max(ended, len(below))
            for process in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            reap()
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    reap()
    return ended


def _lives(process: psutil.Process) -> bool:
    """Return whether a process still runs: it may have exited, or become a zombie, since it was listed."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(variable: str, value: str) -> list[Identity]:
    """Return the live processes that were started with `variable=value` in their environment.

    For a value that only we set, such as one job's path: all processes of the job inherit it, whatever their parent
    now.
    """
    wanted, found = f"{variable}={value}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        identity = Identity.of(int(entry.name))
        with contextlib.suppress(OSError):
            if identity and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(identity)
    return found


def end_marked(variable: str, value: str) -> int:
    """Kill what is left of a job whose supervisor and guard were both killed. Returns how many there were."""
    ended = 0
    deadline = time.monotonic() + 5.0
    while (left := marked(variable, value)) and time.monotonic() < deadline:
        ended = max(ended, len(left))
        for identity in left:
            identity.signal(signal.SIGKILL)
        time.sleep(0.05)
    return ended


def reap() -> None:
    """Reap children that have exited, including orphans reparented to us, so that no zombie stays."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
