"""Why Slurm ended a job: what its daemons wrote into the log, else the state that it reports."""

import re

from core.ground.text import Text
from core.jobs.job import Job
from core.jobs.slurm import FORGOTTEN

# Written by slurmstepd on the node. A step alone is also cancelled when one of its own processes has failed.
_CANCELLED = re.compile(
    r"^slurmstepd\S*: error: \*\*\* (JOB|STEP) \S+ ON \S+ CANCELLED AT \S+(?: DUE TO ([A-Z ]+))?", re.M
)
_OWN_FAILURE = re.compile(
    r"^srun: error: \S+: tasks? [\d,-]+: (Exited with exit code|Out Of Memory|Segmentation|Aborted)", re.M
)
_NODE = re.compile(r"^srun: error: Node failure on (\S+)", re.M)
# Before there was a job at all. Without "error:" it is a reason to wait.
_REFUSED = re.compile(r"^srun: error: (?:Unable to allocate resources: |Requested )(.+)", re.M)
_ALLOCATED = re.compile(r"^srun: job \d+ has been allocated resources", re.M)

_RESUME = Text("可以从最后一个检查点继续", "resume from the last checkpoint")
_ENDS: dict[str, Text] = {
    "CANCELLED": Text("在 Slurm 里被取消（不是由本应用）", "cancelled in Slurm, not by this app"),
    "TIMEOUT": Text("到了 Slurm 的时限", "Slurm's time limit was reached"),
    "NODE_FAIL": Text("Slurm 的一个节点失效", "a node failed in Slurm"),
    "PREEMPTED": Text("被 Slurm 里优先级更高的任务抢占", "preempted in Slurm by a job of higher priority"),
    "OUT_OF_MEMORY": Text(
        "超出了 Slurm 分配的内存：用 --mem 多申请一些，或减小 batch_size",
        "more memory was used than Slurm allotted: ask for more with --mem, or lower batch_size",
    ),
    "DEADLINE": Text("到了 Slurm 的截止时间", "Slurm's deadline was reached"),
    "BOOT_FAIL": Text("Slurm 的节点没能启动", "a node did not boot"),
    FORGOTTEN: Text(
        "Slurm 已不记得这个任务，它也没有留下结果：多半被取消、到了时限，或节点失效",
        "Slurm no longer knows the job, and it left no result: cancelled, out of time, or its node failed",
    ),
}
_WORDS = {"TIME LIMIT": "TIMEOUT", "NODE FAILURE": "NODE_FAIL", "PREEMPTION": "PREEMPTED", "DEADLINE": "DEADLINE"}


def said_by_slurm(log: str) -> Text | None:
    """Return why Slurm ended or refused the job, from its log; None if Slurm did neither."""
    return cancelled_by_slurm(log) or refused_by_slurm(log)


def cancelled_by_slurm(log: str) -> Text | None:
    """Return why Slurm ended the job, from its log; None if it did not."""
    whole, cause = False, None
    for found in _CANCELLED.finditer(log):
        whole = whole or found[1] == "JOB"
        cause = cause or next((state for words, state in _WORDS.items() if words in (found[2] or "")), None)
        whole = whole or cause is not None
    if whole or (_CANCELLED.search(log) and not _OWN_FAILURE.search(log)):
        return _end(cause or "CANCELLED", node[1] if (node := _NODE.search(log)) else "")
    return None


def refused_by_slurm(log: str) -> Text | None:
    """Return why Slurm refused the job, from its log; None if it did not, or accepted it after all."""
    refused = _REFUSED.search(log)
    if refused is None or _ALLOCATED.search(log, refused.end()):
        return None
    return Text(f"Slurm 没有接受：{refused[1]}", f"Slurm refused it: {refused[1]}")


def ended_in_slurm(job: Job) -> Text | None:
    """Return why a batch job ended that left no result itself; None if Slurm did not run it.

    With a result, only if Slurm says that it ended the job: the node that wrote its log may be the one that failed.
    """
    told = job.slurm
    if told is None or (job.exit is not None and (told.state not in _ENDS or told.state == FORGOTTEN)):
        return None
    return said_by_slurm(job.log_tail()) or _end(told.state, told.why if told.state == "FAILED" else "")


def _end(state: str, more: str) -> Text:
    text = _ENDS.get(state) or Text(f"Slurm 报告 {state}", f"Slurm reports {state}")
    zh, en = (f"（{more}）", f" ({more})") if more else ("", "")
    return Text(f"{text.zh}{zh}：{_RESUME.zh}", f"{text.en}{en}: {_RESUME.en}")
