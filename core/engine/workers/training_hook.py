"""What is done beside a training: its progress told, a wish to stop heeded, its checkpoints written with care.

A part of `entry`, in the engine's interpreter. Changes nothing of what is trained.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.engine.workers.early_stop import PLAN, Looks
from core.engine.workers.optimization import check_warmup, updates
from core.ground.figures import size
from core.ground.progress import write_progress

STOP = os.environ.get("XTUNER_STUDIO_STOP")
# Less than this is not enough for the log and the metrics of a few minutes.
LEAST_FREE_BYTES = 4 * 2**20
# How long the supervisor may have to wait for a step, and for a large checkpoint on a slow disk.
STEP_PATIENCE, SAVE_PATIENCE = 20.0, 900.0
# Why a training ends before its last iteration; the greater counts.
LEARNED, ASKED = 1, 2

_told: dict = {}


def tell(**facts: object) -> None:
    """Replace the progress file by `facts`: `note`, and once training `iter`, `max_iters`, `done`, `eta_s`.

    One process of each machine tells.
    """
    _told.clear()
    _told.update(facts)
    if _rank_here() == 0:
        write_progress(**facts, since_boot=time.clock_gettime(time.CLOCK_BOOTTIME))


@contextmanager
def telling(note: str) -> Iterator[None]:
    """Tell that it is at something for which the supervisor is to wait, and afterwards what was told before."""
    before = dict(_told)
    tell(**{**before, "note": note, "patience": SAVE_PATIENCE})
    try:
        yield
    finally:
        tell(**before)


def _rank_here() -> int:
    """This process's number: of those that torchrun started on this machine, or of all that Slurm started."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("LOCAL_RANK", "0"))
    return int(os.environ.get("SLURM_PROCID", "0"))


def stop_asked() -> bool:
    """Whether somebody wants this process to stop."""
    return bool(STOP and os.path.exists(STOP))


class Departure(threading.Thread):
    """Ends the process when it is to stop and nothing is learned yet: in the imports, in the data mapping, in the
    answers before the training there is no step to finish and nothing to save."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.begun = threading.Event()

    def run(self) -> None:
        while not self.begun.wait(0.1):
            if stop_asked():
                os.write(1, b"Stopped as asked before the first iteration.\n")
                os._exit(0)


departure = Departure()


class Interrupted(Exception):
    """The answers to the evaluation questions were given up for a wish to stop."""


def cuda_memory() -> "dict[str, int] | None":
    """GPU memory in MB as this process sees it: of a sliced card, the slice. None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(device)
    return {
        "index": device,
        "used_mb": (total - free) >> 20,
        "total_mb": total >> 20,
        "reserved_mb": torch.cuda.memory_reserved(device) >> 20,
        "peak_mb": torch.cuda.max_memory_reserved(device) >> 20,
    }


def any_rank(here: int) -> int:
    """The greatest of all processes: one answer for all, since a rank that goes on alone would wait for ever."""
    import torch

    if not torch.distributed.is_initialized():
        return int(here)
    flag = torch.tensor(int(here), device="cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return int(flag.item())


def watch_runners() -> None:
    """Let every runner that trains carry our hook, and every checkpoint be written with care."""
    from mmengine.hooks import CheckpointHook, Hook
    from mmengine.runner import FlexibleRunner, Runner

    class StudioHook(Hook):
        """Writes progress, and ends the training after a whole step when a stop is asked for."""

        priority = "VERY_LOW"

        def __init__(self) -> None:
            self.told = 0.0
            self.since = time.monotonic()
            self.first = 0
            self.looks: Looks | None = None

        def before_run(self, runner: Runner) -> None:
            check_warmup(runner)

        def before_train(self, runner: Runner) -> None:
            departure.begun.set()
            first, last = -any_rank(-runner.iter), any_rank(runner.iter)
            if first != last:
                # Each would train other weights.
                raise RuntimeError(f"The processes begin at different iterations: {first} and {last}")
            self.since, self.first = time.monotonic(), runner.iter
            self.tell(runner, runner.iter)
            if PLAN and runner.rank == 0:
                self.looks = Looks(runner)

        def tell(self, runner: Runner, done: int) -> None:
            """Write the progress: `eta_s` from this process's own iterations so far."""
            new = done - self.first
            each = (time.monotonic() - self.since) / new if new else None
            tell(
                note="train",
                pid=os.getpid(),
                at=round(time.time(), 2),
                iter=done,
                max_iters=runner.max_iters,
                iters_per_epoch=len(runner.train_dataloader),
                **updates(runner, done),
                tokens_per_iter=self.tokens_per_iter(runner),
                cuda=cuda_memory(),
                done=done / runner.max_iters,
                eta_s=each and each * (runner.max_iters - done),
                patience=STEP_PATIENCE + 3 * (each or 0.0),
            )
            self.told = time.monotonic()

        def tokens_per_iter(self, runner: Runner) -> "float | None":
            """Tokens that an iteration goes through on average, padding not counted."""
            dataset = runner.train_dataloader.dataset
            lengths = getattr(dataset, "length", None)
            return sum(lengths) / len(runner.train_dataloader) if lengths else None

        def after_train_iter(
            self,
            runner: Runner,
            batch_idx: int,  # noqa: ARG002
            data_batch: object = None,  # noqa: ARG002
            outputs: object = None,  # noqa: ARG002
        ) -> None:
            done = runner.iter + 1
            if time.monotonic() - self.told > 0.5 or done == runner.max_iters:
                self.tell(runner, done)
                if shutil.disk_usage(runner.work_dir).free < LEAST_FREE_BYTES:
                    raise no_space(runner.work_dir, LEAST_FREE_BYTES)
            if done >= runner.max_iters:
                return
            learned = bool(self.looks and self.looks.learned(runner, done))
            wish = any_rank(ASKED if stop_asked() else LEARNED if learned else 0)
            if wish:
                for hook in runner.hooks:
                    if isinstance(hook, CheckpointHook) and not hook.every_n_train_iters(runner, hook.interval):
                        hook._save_checkpoint(runner)
                self.tell(runner, done)
                runner.train_loop.stop_training = True
                if wish == LEARNED:
                    if self.looks:
                        self.looks.stop(runner, done)
                    return
                runner.logger.info(f"Stopped on request after iteration {done}.")
                # The answers after training belong to a whole training.
                runner._hooks = [hook for hook in runner.hooks if type(hook).__name__ != "EvaluateChatHook"]

    for runner_class in (Runner, FlexibleRunner):

        def train(self: Runner, _train: object = runner_class.train) -> object:
            self.register_hook(StudioHook())
            return _train(self)

        runner_class.train = train

    save = CheckpointHook._save_checkpoint

    def save_with_care(self: CheckpointHook, runner: Runner) -> None:
        """Save where there is room for it: mmengine deletes the oldest checkpoint before it writes the new one."""
        needed, free = checkpoint_bytes(runner), shutil.disk_usage(runner.work_dir).free
        # One that is the only one is deleted after, where there is room for both.
        only = None
        # mmengine has no such list where all are kept.
        kept = self.keep_ckpt_ids if self.max_keep_ckpts > 0 else []
        if self.max_keep_ckpts == 1 and list(kept) not in ([], [runner.iter + 1]):
            only = None if any_rank(free < needed) else kept.pop()
        if len(kept) == self.max_keep_ckpts:
            # The oldest makes room.
            free += needed
        if any_rank(free < needed):
            raise no_space(runner.work_dir, needed)
        with telling("save"):
            try:
                save(self, runner)
            except (OSError, RuntimeError) as error:
                if not is_full(error, runner.work_dir):
                    raise
                remove(os.path.join(runner.work_dir, f"iter_{runner.iter + 1}.pth"))
                raise no_space(runner.work_dir, needed) from error
            if only is not None and runner.rank == 0:
                remove(os.path.join(runner.work_dir, f"iter_{only}.pth"))

    CheckpointHook._save_checkpoint = save_with_care


def checkpoint_bytes(runner: object) -> int:
    """What a checkpoint takes: as much as the largest that is there, else what is trained with Adam's averages."""
    there = [
        taken(os.path.join(runner.work_dir, name))
        for name in os.listdir(runner.work_dir)
        if name.startswith("iter_") and name.endswith(".pth")
    ]
    if there:
        return max(there)
    trained = sum(getattr(p, "ds_numel", p.numel()) for p in runner.model.parameters() if p.requires_grad)
    return 12 * trained


def taken(path: str) -> int:
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


def is_full(error: BaseException, work_dir: str) -> bool:
    """Whether writing failed for want of space; torch says only that it failed."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "PytorchStreamWriter" in str(error) and shutil.disk_usage(work_dir).free < LEAST_FREE_BYTES


def no_space(work_dir: str, needed: int) -> OSError:
    """What to raise where a checkpoint has no room: those that are there stay whole."""
    free = shutil.disk_usage(work_dir).free
    figures = f"{size(needed)} needed, {size(free)} free"
    return OSError(errno.ENOSPC, f"No space left on device: {figures}", work_dir)


def remove(path: str) -> None:
    """Take away what was written of a checkpoint, so that the rest of the run can be told."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.unlink(path)
