"""Samples of the machine beside a job, one JSON object a line.

Each: `t` (Unix seconds), `cpu` (percent of all cores), `memory_mb` and `memory_total_mb` of the host,
`process_mb` and `process_cpu` of the job's own processes, `gpus`: one object each with `index`, `name`, `used_mb`, `total_mb`,
`utilisation` (percent), `temperature` (°C), `power_w`; null where the driver does not say. NVML shows a
whole card even where only a slice of it is ours.
"""

import json
import time
from pathlib import Path
from typing import Any

import psutil

from core.ground.gpu import gpus
from core.jobs.process import Identity

EVERY_SECONDS = 2.0


def record(path: Path, command: Identity) -> None:
    """Append a sample to `path` every two seconds for as long as `command` lives."""
    seen: dict[int, psutil.Process] = {}
    while command.alive():
        line = json.dumps(sample(command.pid, seen))
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        time.sleep(EVERY_SECONDS)


def sample(pid: int, seen: dict[int, psutil.Process]) -> dict[str, Any]:
    """One sample of the machine and of the processes from `pid` down. `seen` is kept between samples."""
    memory = psutil.virtual_memory()
    resident, cpu = 0, 0.0
    try:
        below = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        below = []
    for found in below:
        process = seen.setdefault(found.pid, found)
        try:
            resident += process.memory_info().rss
            cpu += process.cpu_percent()
        except psutil.NoSuchProcess:
            seen.pop(found.pid, None)
    return {
        "t": round(time.time(), 2),
        "cpu": psutil.cpu_percent(),
        "memory_mb": round(memory.used / 2**20),
        "memory_total_mb": round(memory.total / 2**20),
        "process_mb": round(resident / 2**20),
        "process_cpu": cpu,
        "gpus": gpus(),
    }
