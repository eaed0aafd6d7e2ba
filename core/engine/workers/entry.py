"""Trains: XTuner's own `xtuner.tools.train`, started so that it works here and can be watched and stopped.

Runs in the engine's interpreter as `python -m core.engine.workers.entry CONFIG [xtuner train's options]`; imported by
nobody. Adds to XTuner: what it lacks on a machine without a GPU, a progress file, and "finish the step, save,
exit" when asked to stop. Changes no file of XTuner, and of what is trained a row's first token and its last: `beginning`,
`ending`.
"""

import ctypes
import os
import re
import signal
import sys
import time
import types
from pathlib import Path

from core.engine.workers import code_gate, ending
from core.engine.workers.beginning import install
from core.engine.workers.evaluation import ask_together, mark_evaluations
from core.engine.workers.training_hook import departure, tell, watch_runners
from core.engine.workers.unneeded import leave_out, or_whole
from core.engine.workers.without_gpu import make_cpu_work

_PR_SET_PDEATHSIG = 1
# In place of the module `time` where nothing is to be waited for.
UNHURRIED = types.SimpleNamespace(sleep=lambda _seconds: None)


def die_with_parent() -> None:
    """End with the process that started this one: a rank must not outlive torchrun, whatever ends that."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def name_after_the_last(work_dir: str) -> None:
    """Give this training's directory of logs a time stamp after those that are there, whatever the clock says: by
    their names they make one history."""
    from mmengine._strategy import base
    from mmengine.runner import runner

    def shared(stamp: object, *arguments: object, **options: object) -> object:
        there = os.listdir(work_dir) if os.path.isdir(work_dir) else []
        found = [name for name in there if re.fullmatch(r"\d{8}_\d{6}", name)]
        if stamp.dim() == 0 and stamp.is_floating_point() and found:
            last = time.mktime(time.strptime(max(found), "%Y%m%d_%H%M%S"))
            stamp.fill_(max(float(stamp), last + 1))
        return broadcast(stamp, *arguments, **options)

    broadcast = runner.broadcast
    runner.broadcast = base.broadcast = shared


def begin_rows() -> None:
    """Have training begin a row as the model's own tokenizer and chat template do, BOS not twice; and a row whose last
    answer was cut off does not end."""
    from xtuner.dataset import utils

    install(utils)
    ending.install(vars(sys.modules["xtuner.dataset.map_fns.template_map_fn"]))


def waste_no_time_between_epochs() -> None:
    """Have mmengine wait for 2 s before each further epoch only where processes load the data, which may hang without
    it; with a few rows and many epochs the wait would be half of a training."""
    from mmengine.runner import loops

    batches = loops._InfiniteDataloaderIterator
    following = batches.__next__

    def at_once(self: object) -> object:
        loops.time = time if self._dataloader.num_workers else UNHURRIED
        return following(self)

    batches.__next__ = at_once


def main() -> None:
    """Train as `xtuner.tools.train` does, with the same options."""
    die_with_parent()
    departure.start()
    tell(note="import", done=0.0)
    leave_out(sys.argv[1:])
    with or_whole():
        make_cpu_work()
        from core.engine.workers import torch_files

        torch_files.guard()
        code_gate.close()
        from xtuner.tools import train

    if "--launcher" in sys.argv:
        from core.engine.workers import near_store

        # Slurm starts no torchrun that would make the store.
        near_store.install()
        near_store.below_the_word()
    watch_runners()
    mark_evaluations()
    ask_together()
    begin_rows()
    if os.environ.get("XTUNER_STUDIO_KEEP"):
        from core.engine.workers.keeping import keep_what_is_known

        keep_what_is_known()
    waste_no_time_between_epochs()
    if "--work-dir" in sys.argv:
        work_dir = sys.argv[sys.argv.index("--work-dir") + 1]
        name_after_the_last(work_dir)
        torch_files.ours(Path(work_dir))
    tell(note="prepare", done=0.0)
    sys.argv[0] = "xtuner.tools.train"
    train.main()


if __name__ == "__main__":
    main()
