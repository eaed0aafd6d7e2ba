"""A hook for XTuner's runner: a training waits before its first iteration until it is its turn on the GPUs.

So that several trainings start beside each other, which takes longer than what is measured, and each is measured alone.
Runs in the engine's process; `benchmarks.scaling` adds it to a config and gives the turns.
"""

import atexit
import os
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook


class Turn(Hook):
    """Touches `ready` and waits for `go`, then touches `done`, in `directory/<number of the job>/`; one file a rank.

    `most_mb` is the memory that the process may allocate from then on, like a slice of a GPU.
    """

    priority = "LOWEST"

    def __init__(self, directory: str, most_mb: "float | None" = None) -> None:
        self.rank, self.most_mb, self.waited = os.environ.get("RANK", "0"), most_mb, False
        # A job that resumes is the second.
        job = 2 if Path(directory, "1", "go").exists() else 1
        self.directory = Path(directory, str(job))
        self.directory.mkdir(parents=True, exist_ok=True)
        atexit.register(self.after_train)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        if self.waited:
            return
        self.waited = True
        began = time.time()
        (self.directory / f"ready-{self.rank}").touch()
        while not (self.directory / "go").exists():
            time.sleep(0.05)
        (self.directory / f"waited-{self.rank}").write_text(str(time.time() - began))
        if self.most_mb and torch.cuda.is_available():
            torch.cuda.empty_cache()
            total = torch.cuda.mem_get_info()[1] / 2**20
            torch.cuda.set_per_process_memory_fraction(min(1.0, self.most_mb / total))

    def after_train(self, runner: Any = None) -> None:  # noqa: ARG002
        (self.directory / f"done-{self.rank}").touch()
