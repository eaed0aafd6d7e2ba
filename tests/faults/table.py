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
# What goes wrong, and what happens then

Every row is a test in `tests/faults/`, with real processes and real files; only the training is fake (`tests/fakes/trainer.py`
writes what XTuner writes, through the same hook). The table is written by the tests: `python -m tests.faults.table`. A test
fails unless the status is right within five seconds, no process is left, what was saved is whole, and a resumed run makes
one line of losses with what was there before. "Seconds" is how long after the fault the status was right; "stop" how long
the stop took to come back.

| what happens | status shown | seconds | stop | processes left | last whole checkpoint | resumed | test |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
AFTER = """
## How it is done

- **The supervisor owns the run.** It leaves for a session of its own, holds a lock that the kernel frees however it dies, and
  starts the trainer in a process group of its own. A guard, its parent, waits for nothing but its end: if the supervisor is
  killed, the guard ends everything below it and writes `lost.json`; the run is CRASHED and can be resumed. A run never goes on
  unwatched. If both are killed, the kernel ends the trainer with its parent, torchrun's ranks end with torchrun, and whatever
  still carries the run's mark in its environment is ended before the next run has its turn.
- **The queue has no process.** Each waiting run has its own supervisor, which takes the turn, a kernel lock, when it is the
  first in `queue/order.json` and the one before is gone. The turn is held by supervisor and guard together: it is free only
  when nothing of the run before is left on the GPU.
- **Stop and keep** is a file. The trainer heeds it after each step on all ranks, gives up answering evaluation questions, saves
  and exits; before the first step it leaves at once. It is given 20 seconds after its last sign of life, more while it says that
  it is writing a checkpoint (15 minutes at most); then SIGTERM, and five seconds later SIGKILL. **Discard** skips the wait, and
  may follow a wish to keep.
- **A checkpoint is whole** when every entry of the archive lies within the file and its outline names no block that is missing
  or too short; one of DeepSpeed also needs the shard of every rank. Nothing in it is run to find out.
- **A full disk:** before a start, room for the checkpoints is asked for. During the training no checkpoint is begun that has no
  room, and one that fails half-way is taken away again, so that the one before stays the last. The supervisor keeps 64 KB back
  to write how it ended.
- **Time** is counted by a clock that nobody can set (`CLOCK_BOOTTIME`); a process is known by its number, its start time on that
  clock, and the boot.
- **The same start asked for twice** before the first one's run was there (a double click, two servers, a command typed twice at
  once) starts one run. On the page that is five seconds; for the command it is whether the second was typed before the first
  had answered.

In a real browser, with the real engine, `tests/e2e/test_journey.py` closes the tab and kills the server during a demo. With the
real engine, on the demo model and CPUs, `tests/e2e/test_distributed.py` trains with two processes and DeepSpeed ZeRO-2,
stops, resumes and converts from the checkpoint directory, and trains on two hosts in network namespaces. Tried by
hand there: a disk that was full at the second checkpoint (stopped with iter_4 whole; resumed after making room, it ended with
exactly the loss of a run that was not interrupted), and `--launcher slurm` with a stand-in for srun on one machine. On two H200s (NCCL,
the 1.8 B architecture, random weights) a training with ZeRO-2 was stopped at iteration 30 in 5.6 s, the memory of the GPU was
as free as before, and it went on to its end in one line of iterations. Not run so far: several machines with GPUs, a real
Slurm, a workspace on NFS (`flock` is asked of local disks only).
"""
COLUMNS = ("status", "seconds", "stop_seconds", "left", "kept", "resumed")


def main() -> int:
    """Run the tests and write the page. Returns their exit code; the page is left alone where one failed."""
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
