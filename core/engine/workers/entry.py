"""Training: runs XTuner's own `xtuner.tools.train`, adapted to run here and to be watched and stopped.

Runs in the engine's interpreter as `python -m core.engine.workers.entry CONFIG [xtuner train's options]`; never
imported. Adds to XTuner: support for machines without a GPU, a progress file, and "finish the step, save, exit" on a
stop request. Changes no file of XTuner, and of the training data only a row's first and last tokens: `beginning`,
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

from core.engine.workers import code_gate, ending, phases
from core.engine.workers.beginning import install
from core.engine.workers.early_card import load_onto_card, make_ready, warm_up
from core.engine.workers.evaluation import ask_together, mark_evaluations
from core.engine.workers.formalities import leave_out_formalities
from core.engine.workers.frozen_weights import leave_in_bf16
from core.engine.workers.training_hook import departure, tell, watch_runners
from core.engine.workers.unneeded import leave_out, leave_out_compiler, named, or_whole
from core.engine.workers.without_gpu import make_cpu_work
from core.ground import garbage

_PR_SET_PDEATHSIG = 1
# Replaces the module `time` where there is no need to wait.
UNHURRIED = types.SimpleNamespace(sleep=lambda _seconds: None)


def die_with_parent() -> None:
    """End with the parent process: a rank must not outlive torchrun, however that ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def name_after_the_last(work_dir: str) -> None:
    """Give this run's log directory a timestamp later than the existing ones, whatever the clock says.

    The directories are ordered by name into one history.
    """
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
    """Begin rows as the model's own tokenizer and chat template do, without a double BOS.

    A row whose last answer is truncated gets no ending.
    """
    from xtuner.dataset import utils

    install(utils)
    ending.install(vars(sys.modules["xtuner.dataset.map_fns.template_map_fn"]))


def waste_no_time_between_epochs() -> None:
    """Skip mmengine's 2 s pause before each further epoch, unless worker processes load the data.

    Those may hang without it; with few rows and many epochs the pause would be half of the training time.
    """
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
    config, kept = named(sys.argv[1:]), os.environ.get("XTUNER_STUDIO_KEEP")
    rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    make_ready(config, rank)
    leave_out(sys.argv[1:])
    with or_whole():
        leave_out_compiler(sys.argv[1:])
        make_cpu_work()
        if kept == "answers":
            warm_up(config, rank)
        from core.engine.workers import torch_files

        torch_files.guard()
        code_gate.close()
        from xtuner.tools import train

    garbage.resume()
    leave_out_formalities(config)
    load_onto_card(sys.argv[1:])
    leave_in_bf16()
    if "--launcher" in sys.argv:
        from core.engine.workers import near_store

        # Under Slurm there is no torchrun to create the store.
        near_store.install()
        near_store.below_the_word()
        if "slurm" in sys.argv and "SLURM_PROCID" in os.environ:
            from core.engine.workers import slurm_meeting

            slurm_meeting.agree()
    watch_runners()
    mark_evaluations()
    ask_together()
    begin_rows()
    if kept:
        from core.engine.workers.aiming import look_before_training
        from core.engine.workers.keeping import keep_what_is_known

        keep_what_is_known(texts=kept == "texts")
        if kept == "answers":
            look_before_training()
    waste_no_time_between_epochs()
    if "--work-dir" in sys.argv:
        work_dir = sys.argv[sys.argv.index("--work-dir") + 1]
        name_after_the_last(work_dir)
        torch_files.ours(Path(work_dir))
    phases.reach("imported")
    tell(note="prepare", done=0.0)
    sys.argv[0] = "xtuner.tools.train"
    train.main()


if __name__ == "__main__":
    main()
