"""Wait for a job that must finish, or raise an error with the task, the reason, the next step and the log."""

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
    """Wait until `job` ends. Raises WorkFailed if it did not finish: `what` says so, `why` finds the reason."""
    if job.wait(on_progress=on_progress) is not Status.FINISHED:
        raise unfinished(job, what, why(job), next_step)


def unfinished(job: Job, what: Text, why: Text | None, next_step: Text | None = None) -> WorkFailed:
    """Return the error for a job that did not finish; its status stands in for an unknown reason."""
    why = why or Text(str(job.status()), str(job.status()))
    zh, en = (f"{next_step.zh}。", f" {next_step.en}.") if next_step else ("", "")
    return WorkFailed(f"{what.zh}：{why.zh}。{zh}日志：{job.log}", f"{what.en}: {why.en}.{en} Log: {job.log}")
