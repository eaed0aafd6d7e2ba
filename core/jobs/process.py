"""Proving that a process is the one that we started, and ending it and everything below it.

A pid alone proves nothing: identity is pid + start time (clock ticks since boot, from `/proc`) + boot id.
No process is ever found by its name or command line.
"""

import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a process is, beyond its number."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of the live process `pid`; None if there is none, or only its zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        # Field 2 is the name in brackets and may hold anything; state is field 3 and start time field 22.
        fields = stat[stat.rfind(")") + 2 :].split()
        return None if fields[0] in "ZX" else cls(pid=pid, start=int(fields[19]), boot=boot)

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> "Identity | None":
        return cls(pid=value["pid"], start=value["start"], boot=value["boot"]) if value else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def alive(self) -> bool:
        """Whether this very process still runs."""
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
    """End every process below this one: SIGTERM, `grace` seconds, SIGKILL; reaps them. Returns how many there were.

    Repeats until none is left, since a process that is ending may still start another.
    """
    ended = 0
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        while below := [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]:
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


def reap() -> None:
    """Collect children that ended, those that were orphaned to us included, so that no zombie stays."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
