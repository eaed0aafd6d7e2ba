"""Why a job did not finish, explained for a learner: from its log, how it ended, and what the machine reports.

Reads the end of the log first, where a program says why it died, and only a bounded part of a log of any size.
"""

import re
import signal
from typing import Any

from core.engine.failures.by_slurm import cancelled_by_slurm, ended_in_slurm, refused_by_slurm
from core.engine.failures.causes import CAUSES, RANK_KILLED
from core.ground.text import Text
from core.jobs import outputs
from core.jobs.job import Job, Status

# The end first; if it contains no error (other processes may have kept printing), a larger part.
_PIECES = (64_000, 2_000_000)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_ERROR = re.compile(r"(\[rank\d+\]: ?)?(?!.*ChildFailedError)[\w.]*(Error|Exception)(:|$)")
# Ordinary log entries, including model answers, which may contain any text.
_ORDINARY = re.compile(r"(\d{4}/)?\d\d/\d\d \d\d:\d\d:\d\d - mmengine - (INFO|WARNING|DEBUG) - ")
_SAID_BESIDE = re.compile(r"\S*(torch|python|srun|slurm)\S*: |\[|[EFW]\d{4}|Killed|Traceback")
_LONGEST_LINE = 4000
_NEARLY_FULL_BYTES = 2 * 2**20


def reason(job: Job) -> Text | None:
    """Return why `job` did not finish; None while it runs or if it finished."""
    status = job.status()
    if status.live or status is Status.FINISHED:
        return None
    ended = job.exit
    if status is Status.KILLED:
        if ended["returncode"] is None if ended else not job.begun:
            return Text("开始之前就从排队中取消了", "removed from the queue before it started")
        if (job.stop_request or {}).get("why") == "time limit":
            if (ended or {}).get("returncode") == 0:
                return Text(
                    "快到 Slurm 的时限，保存后停止：可以从最后一个检查点继续",
                    "saved and stopped because Slurm's time limit was near: resume from the last checkpoint",
                )
            return Text(
                "到了 Slurm 的时限，没有来得及保存：只能从更早的检查点继续，如果有",
                "Slurm's time limit came before it had saved: resume from an earlier checkpoint, if there is one",
            )
        return Text("按要求停止", "stopped on request")
    if ended is None:
        return ended_in_slurm(job) or _lost(job)
    return (
        cancelled_by_slurm(job.log_tail())
        or _said(job)
        or refused_by_slurm(job.log_tail())
        or ended_in_slurm(job)
        or _from_outside(ended)
        or _last_error(job)
        or _nothing_made(job, ended)
        or Text(
            f"以退出码 {ended['returncode']} 结束：{_end(job)}",
            f"it exited with code {ended['returncode']}: {_end(job)}",
        )
    )


def known_cause(log: str) -> tuple[str, Text] | None:
    """Return the name and text of the known cause of a log's errors; None if none is known.

    Ordinary entries do not count as errors.
    """
    errors = errors_of(log)
    for cause in CAUSES:
        found = list(cause.pattern.finditer(errors))
        if found:
            groups = [part.strip(" .")[:200] for part in found[-1].groups() if part]
            return cause.name, Text(_filled(cause.text.zh, groups), _filled(cause.text.en, groups))
    return None


def errors_of(log: str) -> str:
    """Return the part of a log that is about errors: from the first traceback on, else all but ordinary entries."""
    traceback = _TRACEBACK.search(log)
    if traceback:
        log = log[log.rfind("\n", 0, traceback.start()) + 1 :]
    kept, ordinary, frame = [], False, False
    for line in map(_without_rank, map(_short, log.splitlines())):
        if _ORDINARY.match(line):
            # The lines that follow, a config or an answer, belong to it, up to the next message.
            ordinary = True
        elif _ERROR.match(line) or _SAID_BESIDE.match(line):
            ordinary = False
        # A source line under a traceback frame says nothing about the error.
        frame = line.startswith("  File ") or (frame and line.startswith("    "))
        if not ordinary and not (frame and line.startswith("    ")):
            kept.append(line)
    return "\n".join(kept)


def _short(line: str) -> str:
    """Return the line, or the beginning and end of a very long one: patterns take quadratic time."""
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"


def _without_rank(line: str) -> str:
    return re.sub(r"^\[rank\d+\]: ?", "", line)


def _said(job: Job) -> Text | None:
    size = job.log.stat().st_size if job.log.exists() else 0
    for most in _PIECES:
        found = known_cause(job.log_tail(most))
        if found and found[0] == RANK_KILLED and (job.exit or {}).get("oom_kills") == 0:
            # The kernel killed no process for lack of memory.
            return _by_signal("SIGKILL")
        if found or size <= most:
            return found[1] if found else None
    return None


def _lost(job: Job) -> Text:
    if not job.begun:
        return Text(
            "还在排队时监督进程被强行结束（或机器重启）：点“继续”重新排队",
            "its supervisor was killed while it was queued (or the machine restarted): resume to queue it again",
        )
    return Text(
        "监督进程被强行结束（机器重启，或内存不足），训练进程已随之清理：可以从最后一个检查点继续",
        "its supervisor was killed (by a reboot or out of memory), which ended the training: resume from the last checkpoint",
    )


def _from_outside(ended: dict[str, Any]) -> Text | None:
    """Return what ended the job if its log does not say: a full disk, the kernel, or a signal."""
    free, kills, code = ended.get("free_bytes"), ended.get("oom_kills"), ended["returncode"]
    if code and free is not None and free < _NEARLY_FULL_BYTES:
        return next(cause.text for cause in CAUSES if cause.name == "disk full")
    if code == -signal.SIGKILL and kills:
        return Text(
            "内存不足，内核结束了训练进程：减小 batch_size 或 max_length，或关闭其他程序，再从最后的检查点继续",
            "out of memory, the kernel killed the training: lower batch_size or max_length or close other programs, then resume from the last checkpoint",
        )
    if code == -signal.SIGKILL and kills is None:
        return Text(
            "进程被强行结束，多半是内存不足：减小 batch_size，或关闭其他程序",
            "the process was killed, most likely out of memory: lower batch_size or close other programs",
        )
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return _by_signal(name)
    return None


def _by_signal(name: str) -> Text:
    return Text(
        f"进程被外部信号 {name} 结束（不是因为内存不足）：可以从最后一个检查点继续",
        f"another process ended it with {name}; memory was not the reason: resume from the last checkpoint",
    )


def _last_error(job: Job) -> Text | None:
    for line in reversed(job.log_tail().splitlines()):
        if _ERROR.match(line):
            return Text(f"出错：{line[:300]}", line[:300])
    return None


def _nothing_made(job: Job, ended: dict[str, Any]) -> Text | None:
    if ended["returncode"] == 0:
        names = ", ".join(outputs.missing(job.directory, job.spec.get("artefacts", [])))
        return Text(f"没有留下应有的文件：{names}", f"expected output is missing: {names}")
    return None


def _end(job: Job) -> str:
    """Return the last line of the log: our own commands print their error message last."""
    return next((line.strip()[:300] for line in reversed(job.log_tail().splitlines()) if line.strip()), "-")


def _filled(text: str, groups: list[str]) -> str:
    filled = text.format(*groups, *[""] * 6)
    # Remove the gaps that unmatched groups leave.
    return re.sub(r"（\s*）|\(\s*\)", "", re.sub(r" +([：:，,;；)）])", r"\1", re.sub(r" {2,}", " ", filled)))
