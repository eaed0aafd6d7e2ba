"""Samples of the machine during a job, one JSON object per line, written by the supervisor while the job runs.

    t                                 Unix seconds
    cpu                               percent of all cores, since the previous sample
    memory_mb, memory_total_mb        of the host;  disk_free_mb, disk_total_mb  where the samples are written
    cores                             of the host
    process_mb, process_cpu           resident memory and CPU (100 is one core) of the job's processes together
    processes                         the largest of them: pid, mb, cpu, gpu_mb
    gpus                              `ground.gpu.gpus` for each GPU, and ours_mb: the part used by the job
    slices                            the output of `vgpu-smi`, if installed
    iter, at, cuda                    the trainer's last report: iteration, when, its own view of the GPU

An unknown value is null, never 0. Samples are read by `samples`.
"""

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from core.ground.files import read_json
from core.ground.gpu import gpus, memory_by_process, vgpu_slices
from core.jobs.process import Identity

EVERY_SECONDS = 2.0
# Keeps a day of samples small: from the second hour on they are less frequent.
LATER_SECONDS = 5.0
LATER = 3600.0
# Expensive queries are repeated only every few samples: walking the machine's processes, starting vgpu-smi.
ASK_AGAIN = 5
MOST_PROCESSES = 16


def record(path: Path, command: Identity, progress: Path) -> None:
    """Append samples to `path` while `command` lives, every 2 s, later every 5 s; `progress` is its progress file."""
    sampler, began = Sampler(pid=command.pid, disk=path.parent, progress=progress), time.monotonic()
    while command.alive():
        # A full disk or an exiting process must not end the sampling.
        with contextlib.suppress(OSError, psutil.Error):
            line = json.dumps(sampler.sample(), ensure_ascii=False, separators=(",", ":"))
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        time.sleep(EVERY_SECONDS if time.monotonic() - began < LATER else LATER_SECONDS)


@dataclass(slots=True, kw_only=True)
class Sampler:
    """Samples the machine, the process tree of `pid`, and the job's progress file."""

    pid: int
    disk: Path
    progress: Path | None = None
    _looks: int = 0
    _processes: dict[int, psutil.Process] = field(default_factory=dict)
    _slices: list[dict[str, Any]] = field(default_factory=list)

    def sample(self) -> dict[str, Any]:
        """Take one sample; rates are null in the first."""
        first, again = self._looks == 0, self._looks % ASK_AGAIN == 0
        self._looks += 1
        if again:
            self._find_processes()
            self._slices = vgpu_slices()
        cards, on_cards = gpus(), memory_by_process()
        processes = self._look_at_processes(on_cards, first)
        for card, by_pid in zip(cards, on_cards, strict=False):
            ours = [by_pid[p["pid"]] for p in processes if p["pid"] in by_pid]
            card["ours_mb"] = sum(ours) if ours else None
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self.disk))
        told = (read_json(self.progress) if self.progress else None) or {}
        load = psutil.cpu_percent()
        return {
            "t": round(time.time(), 2),
            "cores": psutil.cpu_count() or 1,
            "cpu": None if first else load,
            "memory_mb": round(memory.used / 2**20),
            "memory_total_mb": round(memory.total / 2**20),
            "disk_free_mb": round(disk.free / 2**20),
            "disk_total_mb": round(disk.total / 2**20),
            "process_mb": sum(p["mb"] for p in processes),
            "process_cpu": None if first else round(sum(p["cpu"] or 0.0 for p in processes), 1),
            "processes": sorted(processes, key=lambda p: -p["mb"])[:MOST_PROCESSES],
            "gpus": cards,
            "slices": self._slices,
            **{name: told.get(name) for name in ("iter", "at", "cuda")},
        }

    def _find_processes(self) -> None:
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(self.pid)
            for process in (top, *top.children(recursive=True)):
                self._processes.setdefault(process.pid, process)

    def _look_at_processes(self, on_cards: list[dict[int, int]], first: bool) -> list[dict[str, Any]]:
        found = []
        for pid, process in list(self._processes.items()):
            try:
                with process.oneshot():
                    mb, cpu = round(process.memory_info().rss / 2**20), process.cpu_percent()
            except psutil.Error:
                del self._processes[pid]
                continue
            used = [by_pid[pid] for by_pid in on_cards if pid in by_pid]
            found.append({"pid": pid, "mb": mb, "cpu": None if first else cpu, "gpu_mb": sum(used) if used else None})
        return found
