"""Hooks around training: progress reports, stop requests, and safe checkpoint writing.

Part of `entry`, in the engine's interpreter. Does not change what is trained.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.engine.workers import phases
from core.engine.workers.early_stop import PLAN, Looks
from core.engine.workers.optimization import check_warmup, updates
from core.ground.figures import size
from core.ground.files import read_json
from core.ground.progress import write_progress

STOP = os.environ.get("XTUNER_STUDIO_STOP")
# Less is not enough for a few minutes of log and metrics.
LEAST_FREE_BYTES = 4 * 2**20
# How long the supervisor may have to wait for a step, and for a large checkpoint on a slow disk.
STEP_PATIENCE, SAVE_PATIENCE = 20.0, 900.0
# Why training ends before its last iteration; the larger value takes precedence.
LEARNED, ASKED = 1, 2

_told: dict = {}


def tell(**facts: object) -> None:
    """Replace the progress file by `facts`: `note`, and during training `iter`, `max_iters`, `done`, `eta_s`.

    Written by one process per machine.
    """
    _told.clear()
    _told.update(facts)
    if _rank_here() == 0:
        spoken = {"phases": phases.reached, "spent": dict(phases.spent)} if phases.reached else {}
        write_progress(**facts, **spoken, since_boot=time.clock_gettime(time.CLOCK_BOOTTIME))


@contextmanager
def telling(note: str) -> Iterator[None]:
    """Report an activity that the supervisor should wait for, and restore the previous report afterwards."""
    before = dict(_told)
    tell(**{**before, "note": note, "patience": SAVE_PATIENCE})
    try:
        yield
    finally:
        tell(**before)


def _rank_here() -> int:
    """Return this process's rank: among torchrun's on this machine, or among all of Slurm's."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("LOCAL_RANK", "0"))
    return int(os.environ.get("SLURM_PROCID", "0"))


def stop_asked() -> bool:
    """Return whether a stop was requested that leaves time to save. Without it, the supervisor's SIGTERM follows."""
    return bool(STOP and (read_json(Path(STOP)) or {}).get("grace"))


class Departure(threading.Thread):
    """Ends the process on a stop request before training has begun.

    During imports, data mapping and the answers before training there is no step to finish and nothing to save.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.begun = threading.Event()

    def run(self) -> None:
        while not self.begun.wait(0.1):
            if STOP and os.path.exists(STOP):
                os.write(1, b"Stopped before the first iteration, as requested.\n")
                os._exit(0)


departure = Departure()


class Interrupted(Exception):
    """An evaluation was abandoned because of a stop request."""


def cuda_memory() -> "dict[str, int] | None":
    """Return GPU memory in MB as this process sees it: on a sliced card, the slice's. None without a GPU."""
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
    """Return the maximum over all processes: all must agree, since a rank that continues alone would wait forever."""
    import torch

    if not torch.distributed.is_initialized():
        return int(here)
    flag = torch.tensor(int(here), device="cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return int(flag.item())


def watch_runners() -> None:
    """Attach our hook to every runner that trains, and make checkpoint writing safe."""
    from mmengine.hooks import CheckpointHook, Hook
    from mmengine.runner import FlexibleRunner, Runner

    class StudioHook(Hook):
        """Writes progress, and ends training after a complete step on a stop request."""

        priority = "VERY_LOW"

        def __init__(self) -> None:
            self.told = 0.0
            self.since = time.monotonic()
            self.first = 0
            self.looks: Looks | None = None

        def before_run(self, runner: Runner) -> None:
            phases.reach("mapped")
            check_warmup(runner)

        def before_train(self, runner: Runner) -> None:
            departure.begun.set()
            first, last = -any_rank(-runner.iter), any_rank(runner.iter)
            if first != last:
                # Each would train different weights.
                raise RuntimeError(f"The processes begin at different iterations: {first} and {last}")
            self.since, self.first = time.monotonic(), runner.iter
            self.tell(runner, runner.iter)
            if PLAN and runner.rank == 0:
                self.looks = Looks(runner)
            phases.reach("begun")

        def tell(self, runner: Runner, done: int) -> None:
            """Write the progress; `eta_s` is extrapolated from this process's own iterations."""
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

        def after_run(self, runner: Runner) -> None:  # noqa: ARG002
            phases.reach("ended")
            tell(**_told)

        def tokens_per_iter(self, runner: Runner) -> "float | None":
            """Return the average number of tokens per iteration, without padding."""
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
            phases.reach("first")
            if done == runner.max_iters:
                phases.reach("last")
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
                phases.reach("last")
                self.tell(runner, done)
                runner.train_loop.stop_training = True
                if wish == LEARNED:
                    if self.looks:
                        self.looks.stop(runner, done)
                    return
                runner.logger.info(f"Stopped on request after iteration {done}.")
                # The final evaluation belongs to a completed run.
                runner._hooks = [hook for hook in runner.hooks if type(hook).__name__ != "EvaluateChatHook"]

    for runner_class in (Runner, FlexibleRunner):

        def train(self: Runner, _train: object = runner_class.train) -> object:
            phases.reach("built")
            self.register_hook(StudioHook())
            return _train(self)

        runner_class.train = train

    save = CheckpointHook._save_checkpoint

    def save_with_care(self: CheckpointHook, runner: Runner) -> None:
        """Save if there is space: mmengine deletes the oldest checkpoint before it writes the new one."""
        needed, free = checkpoint_bytes(runner), shutil.disk_usage(runner.work_dir).free
        # If only one checkpoint is kept, delete it after writing the new one, provided both fit.
        only = None
        # mmengine has no such list if all checkpoints are kept.
        kept = self.keep_ckpt_ids if self.max_keep_ckpts > 0 else []
        if self.max_keep_ckpts == 1 and list(kept) not in ([], [runner.iter + 1]):
            only = None if any_rank(free < needed) else kept.pop()
        if len(kept) == self.max_keep_ckpts:
            # Deleting the oldest frees its space.
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
    """Return the size of a checkpoint: the largest existing one's, else the trained weights with Adam's states."""
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
    """Return whether writing failed because the disk is full; torch only says that it failed."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "PytorchStreamWriter" in str(error) and shutil.disk_usage(work_dir).free < LEAST_FREE_BYTES


def no_space(work_dir: str, needed: int) -> OSError:
    """Return the error for a checkpoint that does not fit; existing ones stay intact."""
    free = shutil.disk_usage(work_dir).free
    figures = f"{size(needed)} needed, {size(free)} free"
    return OSError(errno.ENOSPC, f"No space left on device: {figures}", work_dir)


def remove(path: str) -> None:
    """Remove a partial checkpoint, so that there is space to record the rest of the run."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.unlink(path)
