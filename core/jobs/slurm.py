"""Slurm's side of a job: submit it with sbatch, ask for its state and its place in Slurm's queue, cancel it.

    slurm.json   in the job's directory: the Slurm job's number, and what Slurm last said about it
    batch.sh     what sbatch submitted: the job's supervisor, which runs on the first node that Slurm chooses

No process waits here for an answer: whoever reads the job's status asks Slurm, at most every few seconds, for all
readers. If Slurm does not answer, its last answer stands. Does not know what the job does.
"""

import contextlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from core.ground.errors import BadInput
from core.ground.files import read_json, read_start, write_json, write_text
from core.ground.inherited import inherited
from core.ground.workspace import PROJECT

FILE = "slurm.json"
# Slurm forgets a job some minutes after its end.
FORGOTTEN = "FORGOTTEN"
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
_RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT")
_QUEUED = re.compile(rb"^srun: job (\d+) queued and waiting for resources", re.MULTILINE)
# How often Slurm is asked about a job that waits or runs, and again if it did not answer.
_WAITING_SECONDS, _RUNNING_SECONDS, _SILENT_SECONDS = 3.0, 10.0, 30.0
_ANSWER_SECONDS, _SUBMIT_SECONDS = 5.0, 60.0
# A result written on a node may be visible here a little later than Slurm's word that the job has ended.
_LAG_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmJob:
    """What Slurm last said about a job.

    `why`: Slurm's reason for its state; `place`: its place among the `of` jobs that wait in its partition, by priority.
    Times by the wall clock: `asked` last, `silent_since` then unanswered, `ended` when it was first said to have ended.
    """

    id: int
    state: str = "PENDING"
    why: str = ""
    partition: str = ""
    nodes: str = ""
    place: int | None = None
    of: int | None = None
    asked: float = 0.0
    silent_since: float | None = None
    ended: float | None = None

    @property
    def waiting(self) -> bool:
        return self.state in _WAITING

    @property
    def running(self) -> bool:
        """Whether it runs, or ended so recently that its result may not be visible yet."""
        return self.state in _RUNNING or (self.ended is not None and abs(time.time() - self.ended) < _LAG_SECONDS)

    @property
    def _due(self) -> bool:
        """Whether Slurm should be asked again."""
        if not (self.waiting or self.state in _RUNNING):
            return False
        pause = _SILENT_SECONDS if self.silent_since else _WAITING_SECONDS if self.waiting else _RUNNING_SECONDS
        return abs(time.time() - self.asked) > pause


def submit(directory: Path, options: Sequence[str]) -> SlurmJob:
    """Submit the supervisor of the job in `directory` as a Slurm job. Raises BadInput with Slurm's words if refused."""
    script = directory / "batch.sh"
    command = shlex.join([sys.executable, "-m", "core.jobs.supervisor", str(directory), "--within-slurm"])
    write_text(script, f"#!/bin/sh\ncd {shlex.quote(str(PROJECT))} && exec {command}\n")
    # A path could hold a % or \, which Slurm would interpret: it gets names relative to the directory.
    told = _said(
        "sbatch", "--parsable", "--no-requeue", f"--chdir={directory}", "--output=log.txt", "--open-mode=append",
        *options, str(script), seconds=_SUBMIT_SECONDS,
    )  # fmt: skip
    return _written(directory, SlurmJob(id=int(told.split(";")[0])))


def check(options: Sequence[str]) -> None:
    """Raise BadInput with Slurm's words if it would refuse a job with these options. Submits nothing."""
    _said("sbatch", "--test-only", *options, "--wrap=true", seconds=_SUBMIT_SECONDS)


def look(directory: Path) -> SlurmJob | None:
    """Return what Slurm says about the job in `directory`, not older than a few seconds; None if it is none of Slurm's."""
    job = _read(directory) or _queued_by_srun(directory)
    return _asked(directory, job) if job is not None and job._due else job


def cancel(directory: Path) -> None:
    """Cancel the job in `directory`. Does nothing if Slurm no longer has it."""
    job = _read(directory) or _queued_by_srun(directory)
    if job is not None:
        with contextlib.suppress(BadInput):
            _said("scancel", str(job.id), seconds=_SUBMIT_SECONDS)
        _asked(directory, job)


def _asked(directory: Path, job: SlurmJob) -> SlurmJob:
    """Ask Slurm about a job, and note the answer for all readers."""
    now = time.time()
    try:
        line = _said("squeue", f"--jobs={job.id}", "--states=all", "--noheader", "--format=%T|%r|%P|%N")
        state, why, partition, nodes = (line.splitlines()[0].split("|") if line else [FORGOTTEN, "", "", ""])[:4]
        job = replace(job, state=state, why="" if why == "None" else why, silent_since=None)
        if partition:
            job = replace(job, partition=partition, nodes=nodes)
        place, of = _place(job) if job.waiting else (None, None)
        job = replace(job, place=place, of=of)
    except BadInput as error:
        if "Invalid job id" not in str(error):
            return _written(directory, replace(job, asked=now, silent_since=job.silent_since or now))
        job = replace(job, state=_recorded(job) or FORGOTTEN, why="", silent_since=None)
    ended = None if job.waiting or job.state in _RUNNING else job.ended or now
    return _written(directory, replace(job, asked=now, ended=ended))


def _place(job: SlurmJob) -> tuple[int | None, int]:
    """Return the place among the waiting jobs of its partition that this account may see, and how many those are."""
    waiting = _said(
        "squeue", "--states=PENDING", f"--partition={job.partition}", "--sort=-p,i", "--noheader", "--format=%i"
    ).split()
    return waiting.index(str(job.id)) + 1 if str(job.id) in waiting else None, len(waiting)


def _recorded(job: SlurmJob) -> str | None:
    """Return how a forgotten job ended, from Slurm's accounting; None without any."""
    with contextlib.suppress(BadInput):
        told = _said("sacct", f"--jobs={job.id}", "--allocations", "--noheader", "--parsable2", "--format=State")
        # "CANCELLED by 1000"
        return told.split()[0] if told else None
    return None


def _queued_by_srun(directory: Path) -> SlurmJob | None:
    """Return the job that srun says it waits for, in the log of a job that starts srun itself."""
    if not ((read_json(directory / "job.json") or {}).get("argv") or [""])[0].endswith("srun"):
        return None
    with contextlib.suppress(OSError):
        if found := _QUEUED.search(read_start(directory / "log.txt", 4096)):
            return SlurmJob(id=int(found[1]))
    return None


def _read(directory: Path) -> SlurmJob | None:
    written = read_json(directory / FILE)
    return SlurmJob(**written) if isinstance(written, dict) else None


def _written(directory: Path, job: SlurmJob) -> SlurmJob:
    # On a full disk the answer serves this reader only.
    with contextlib.suppress(OSError):
        write_json(directory / FILE, asdict(job))
    return job


def _said(*argv: str, seconds: float = _ANSWER_SECONDS) -> str:
    """Run one of Slurm's commands and return its output. Raises BadInput with its words if it fails."""
    # Without the variables of an allocation in which the app itself may run: they would count as options.
    kept = inherited().items()
    environment = {name: value for name, value in kept if name == "SLURM_CONF" or not name.startswith("SLURM_")}
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=seconds, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise BadInput(
            f"这台机器上没有 {argv[0]}：在 Slurm 的登录节点上启动",
            f"there is no {argv[0]} on this machine: start on a Slurm login node",
        ) from None
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"Slurm 在 {seconds:.0f} 秒内没有应答（{argv[0]}）：稍后再试",
            f"Slurm did not answer {argv[0]} within {seconds:.0f} s: try again later",
        ) from None
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[:500]
        raise BadInput(f"Slurm 拒绝了：{words}", f"Slurm refused: {words}")
    return done.stdout.strip()
