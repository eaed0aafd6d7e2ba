"""Waits for a job that must finish, and says why it did not: what was to be done, the reason, the next step, the log."""

from collections.abc import Callable

from core.engine.failures.reasons import reason
from core.ground.errors import WorkFailed
from core.ground.text import Text
from core.jobs.job import Job, Status


def finish_job(
    job: Job,
    what: Text,
    *,
    on_progress: Callable[[Job], None] | None = None,
    why: Callable[[Job], Text | None] = reason,
    next_step: Text | None = None,
) -> None:
    """Wait until `job` is over. Raises WorkFailed where it did not finish: `what` says so, `why` finds the reason."""
    if job.wait(on_progress=on_progress) is not Status.FINISHED:
        raise unfinished(job, what, why(job), next_step)


def unfinished(job: Job, what: Text, why: Text | None, next_step: Text | None = None) -> WorkFailed:
    """The error for a job that did not finish; how it ended stands in for a reason that nobody knows."""
    why = why or Text(str(job.status()), str(job.status()))
    zh, en = (f"{next_step.zh}。", f" {next_step.en}.") if next_step else ("", "")
    return WorkFailed(f"{what.zh}：{why.zh}。{zh}日志：{job.log}", f"{what.en}: {why.en}.{en} Log: {job.log}")
