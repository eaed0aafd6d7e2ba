"""Runs the fault tests and writes what they measured into docs/reliability.md: `python -m tests.faults.table`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from core.ground.workspace import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
HERE = Path(__file__).parent
BEFORE = """\
# Faults, and what happens then

Every row is a test in `tests/faults/` with real processes and real files; only the training is fake (`tests/fakes/trainer.py`
writes what XTuner writes, through the same hook). The tests write the table: `python -m tests.faults.table`. A test fails
unless the status is correct within five seconds, no process is left, everything saved is complete, and a resumed run
continues the earlier losses without a gap. "Seconds" is the time from the fault to the correct status; "stop" is how long
the stop took to return.

| what happens | status shown | seconds | stop | processes left | last complete checkpoint | resumed | test |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
AFTER = """
## How it works

- **The supervisor owns the run.** It runs in its own session, holds a lock that the kernel releases however it dies, and
  starts the trainer in its own process group. Its parent, a guard, only waits for it to end: if the supervisor is killed,
  the guard ends everything below it and writes `lost.json`; the run is CRASHED and can be resumed. A run never continues
  unsupervised. If both are killed, the kernel ends the trainer with its parent, torchrun's ranks end with torchrun, and
  whatever still carries the run's mark in its environment is ended before the next run takes its turn.
- **The queue has no process.** Each queued run has its own supervisor, which takes the turn, a kernel lock, when it is
  first in `queue/order.json` and the previous run has ended. Supervisor and guard hold the turn together: it is free only
  when nothing of the previous run is left on the GPU.
- **Stop and save** is a file. The trainer checks it after each step on all ranks, abandons evaluation, saves and exits;
  before the first step it exits immediately. It gets 20 seconds after its last sign of life, or up to 15 minutes while it
  reports that it is writing a checkpoint; then SIGTERM, and five seconds later SIGKILL. **Stop without saving** skips the
  wait, and may follow a stop request.
- **A checkpoint is complete** when every entry of the archive lies within the file and its outline names no block that is
  missing or too short; a DeepSpeed checkpoint also needs the shard of every rank. Nothing in it is executed to check this.
- **A full disk:** a start checks that there is enough disk space for the checkpoints. During training, no checkpoint is
  started without enough space, and one that fails halfway is deleted, so the previous one stays the last. The supervisor
  reserves 64 KB to record how the run ended.
- **Time** uses a clock that cannot be set (`CLOCK_BOOTTIME`); a process is identified by its pid, its start time on that
  clock, and the boot.
- **Starting the same run twice** before the first one is visible (a double click, two servers, a command typed twice)
  starts one run. On the page the limit is five seconds; on the command line, whether the second command was typed before
  the first had answered.

In a real browser with the real engine, `tests/e2e/test_journey.py` closes the tab and kills the server during a demo. With the
real engine, on the demo model and CPUs, `tests/e2e/test_distributed.py` trains with two processes and DeepSpeed ZeRO-2,
stops, resumes, converts from the checkpoint directory, and trains on two hosts in network namespaces. Tried by hand: a full
disk at the second checkpoint (stopped with iter_4 complete; after freeing space it resumed and ended with exactly the loss
of an uninterrupted run). `tests/e2e/test_slurm.py` does the same over two nodes of a real Slurm, with srun and sbatch, and
shows what Slurm does to a run: [scaling.md](scaling.md). On two H200s (NCCL, the 1.8 B
architecture, random weights) a ZeRO-2 run was stopped at iteration 30 in 5.6 s, GPU memory was free again, and it resumed
to its end without a gap. Not run so far: several machines with GPUs, a workspace on NFS (`flock` is tested on
local disks only).
"""
COLUMNS = ("status", "seconds", "stop_seconds", "left", "kept", "resumed")


def main() -> int:
    """Run the tests and write the page. Returns their exit code; the page is not changed if one failed."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.jsonl"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", str(HERE), f"--ignore={HERE / 'test_table.py'}"],
            cwd=PROJECT,
            env={**os.environ, "FAULT_RESULTS": str(results)},
            check=False,
        )
        if done.returncode == 0:
            rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
            PAGE.write_text(BEFORE + "".join(map(_line, rows)) + AFTER, encoding="utf-8")
    return done.returncode


def _line(row: dict[str, Any]) -> str:
    cells = [row["what"], *(str(row.get(name, "–")) for name in COLUMNS), f"`{row['test']}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    raise SystemExit(main())
