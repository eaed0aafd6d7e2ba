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

from core.engine.workers import ending
from core.engine.workers.beginning import begin_texts, install
from core.engine.workers.training_hook import Interrupted, departure, stop_asked, tell, telling, watch_runners
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


def mark_evaluations() -> None:
    """Log the iteration before each evaluation's answers, which XTuner itself does not say, and give them up when
    asked to stop."""
    import torch
    from xtuner.engine.hooks import EvaluateChatHook

    generate = EvaluateChatHook._generate_samples

    def criterion(ids: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        if stop_asked():
            raise Interrupted
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def marked(self: EvaluateChatHook, runner: object, *arguments: object, **options: object) -> None:
        before = not options.get("save_eval_output") and options.get("max_new_tokens") == 50
        after = runner.iter >= runner.max_iters or runner.train_loop.stop_training
        done = runner.iter if before else runner.iter + (0 if after else 1)
        runner.logger.info(f"Evaluation at iteration {done}.")
        # Ranks that generate together must all go on to the end, however long that takes.
        if runner.world_size == 1 and criterion not in self.stop_criteria:
            self.stop_criteria.append(criterion)
        try:
            with telling("evaluate"):
                generate(self, runner, *arguments, **options)
        except Interrupted:
            runner.logger.info("The answers were given up for the wish to stop.")

    EvaluateChatHook._generate_samples = marked


def begin_rows() -> None:
    """Have training and evaluation begin a row as the model's own tokenizer and chat template do, BOS not twice; and a
    row whose last answer was cut off does not end."""
    from xtuner.dataset import utils
    from xtuner.engine.hooks import EvaluateChatHook

    install(utils)
    ending.install(vars(sys.modules["xtuner.dataset.map_fns.template_map_fn"]))
    made = EvaluateChatHook.__init__

    def begun(self: EvaluateChatHook, *arguments: object, **options: object) -> None:
        made(self, *arguments, **options)
        begin_texts(self.tokenizer)

    EvaluateChatHook.__init__ = begun


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
    make_cpu_work()
    from core.engine.workers import torch_files

    torch_files.guard()
    from xtuner.tools import train

    watch_runners()
    mark_evaluations()
    begin_rows()
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
