"""The state of a run: a snapshot computed from its newest job, metrics and checkpoints. Stores nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.engine.failures.reasons import reason
from core.ground.text import Text
from core.jobs.job import Job, Status
from core.jobs.slurm import SlurmJob


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A snapshot of a run.

    `pid` is the trainer's (rank 0), `reason` why it did not finish, `place` its position in the queue while it waits
    (1: the next one), `slurm` what Slurm last said about it, `seconds` its total training time, `quiet_s` the time since the trainer's last report.
    """

    run: str
    status: Status
    pid: int | None
    iter: int
    max_iters: int | None
    iters_per_epoch: int | None
    eta_s: float | None
    seconds: float
    phase: str
    loss: float | None
    exit_code: int | None
    reason: Text | None
    place: int | None = None
    quiet_s: float | None = None
    slurm: SlurmJob | None = None


def compute(
    run_id: str,
    job: Job | None,
    last_point: Mapping[str, Any] | None,
    *,
    seconds: float,
    complete: Callable[[int | None], bool],
    place: Callable[[Job], int | None],
    follows: bool = False,
) -> State:
    """Return the state of a run that has trained for `seconds`, from its newest job and the last point of its metrics.

    `complete`: whether the checkpoint after so many iterations (None: any) exists; `place`: a queued job's position;
    `follows`: whether machine 0 decides when it ends.
    """
    progress = job.progress if job else {}
    status = job.status() if job else Status.CRASHED
    why = reason(job) if job else Text("训练没有启动", "the training never started")
    if status is Status.FINISHED and not complete(progress.get("max_iters")):
        status = Status.KILLED if follows else Status.FAILED
        why = (
            Text("0 号机器停止了训练", "machine 0 stopped the training")
            if follows
            else Text("进程正常退出，但没有最后的检查点", "the process succeeded but wrote no final checkpoint")
        )
    if status is Status.KILLED and progress.get("max_iters") and complete(progress["max_iters"]):
        # The stop request came after the last step.
        status, why = Status.FINISHED, None
    live, running = status.live, status is Status.RUNNING
    pid = progress.get("pid") or (job.pids["command"].pid if job and job.pids["command"] else None)
    return State(
        run=run_id,
        status=status,
        pid=pid if running else None,
        iter=progress.get("iter") or (last_point["iter"] if last_point else 0),
        max_iters=progress.get("max_iters"),
        iters_per_epoch=progress.get("iters_per_epoch"),
        eta_s=progress.get("eta_s") if running else None,
        seconds=seconds,
        phase="queue" if status is Status.PENDING else progress.get("note", "import"),
        slurm=job.slurm if job and live else None,
        loss=last_point["loss"] if last_point else None,
        exit_code=(job.exit or {}).get("returncode") if job else None,
        reason=why,
        place=place(job) if job and live and not running else None,
        quiet_s=job.quiet_seconds if job and running else None,
    )
