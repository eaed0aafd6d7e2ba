"""Slurm's side of a job: submit it with sbatch, ask for its state and its place in Slurm's queue, cancel it.

    slurm.json   in the job's directory: the Slurm job's name and number, and what Slurm last said about it
    batch.sh     what sbatch submitted: the job's supervisor, which runs on the first node that Slurm chooses

No process waits here for an answer: whoever reads the job's status asks Slurm, at most every few seconds, for all
readers. If Slurm does not answer, its last answer stands. Does not know what the job does.
"""

import contextlib
import fcntl
import re
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from core.ground.errors import BadInput
from core.ground.files import read_json, read_start, write_json, write_text
from core.ground.workspace import PROJECT
from core.jobs.slurm_commands import SILENT_SECONDS, NoAnswer, said, silent_since

FILE = "slurm.json"
# Slurm forgets a job some minutes after its end.
FORGOTTEN = "FORGOTTEN"
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
_RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT")
_QUEUED = re.compile(rb"^srun: job (\d+) queued and waiting for resources", re.MULTILINE)
# The number that sbatch prints last, and the cluster's name where there are several; other lines are a site's own.
_NUMBER = re.compile(r"^(\d+)(?:;\S+)?$", re.MULTILINE)
# How often Slurm is asked about a job that waits or runs.
_WAITING_SECONDS, _RUNNING_SECONDS = 3.0, 10.0
_SUBMIT_SECONDS = 60.0
# A result written on a node may be visible here a little later than Slurm's word that the job has ended.
_LAG_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmJob:
    """What Slurm last said about a job.

    `id` None: whether Slurm has taken it is not known yet, since it did not answer; it is then looked for by `name`.
    `why`: Slurm's reason for its state; `place`: its place among the `of` jobs that wait in its partition, by priority.
    Times by the wall clock: `asked` last, `silent_since` then unanswered, `ended` when it was first said to have ended.
    """

    id: int | None
    name: str = ""
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
        if self.silent_since:
            pause = SILENT_SECONDS
        elif self.id is None:
            # Its sbatch may not be over.
            pause = 2 * _SUBMIT_SECONDS
        else:
            pause = _WAITING_SECONDS if self.waiting else _RUNNING_SECONDS
        return abs(time.time() - self.asked) > pause


def submit(directory: Path, options: Sequence[str]) -> SlurmJob:
    """Submit the supervisor of the job in `directory` as a Slurm job. Raises BadInput with Slurm's words if refused.

    Its name is no other job's, so that it is found even if sbatch was not heard to end. If Slurm does not answer then
    either, it may have been submitted, and is returned without a number.
    """
    name = f"xtuner-{directory.parent.parent.name}-{directory.name}-{secrets.token_hex(3)}"
    script = directory / "batch.sh"
    command = shlex.join([sys.executable, "-m", "core.jobs.supervisor", str(directory), "--within-slurm", name])
    write_text(script, f"#!/bin/sh\nunset SLURM_JWT\ncd {shlex.quote(str(PROJECT))} && exec {command}\n")
    job = SlurmJob(id=None, name=name, asked=time.time())
    write_json(directory / FILE, asdict(job))
    try:
        job = replace(job, id=_submitted(directory, name, options, script))
        # Not _written: a job whose number is lost could neither be watched nor cancelled.
        write_json(directory / FILE, asdict(replace(job, asked=0.0)))
    except NoAnswer:
        now = time.time()
        return _written(directory, replace(job, asked=now, silent_since=now))
    except BaseException:
        with contextlib.suppress(BadInput):
            said("scancel", f"--name={name}")
        raise
    return replace(job, asked=0.0)


def _submitted(directory: Path, name: str, options: Sequence[str], script: Path) -> int:
    """Run sbatch and return the Slurm job's number. Raises NoAnswer if it may have been submitted, else BadInput."""
    try:
        # A path could hold a % or \, which Slurm would interpret: it gets names relative to the directory.
        told = said(
            "sbatch", "--parsable", "--no-requeue", f"--chdir={directory}", "--output=log.txt", "--open-mode=append",
            *options, f"--job-name={name}", str(script), seconds=_SUBMIT_SECONDS,
        )  # fmt: skip
    except NoAnswer as error:
        if "Unable to contact" in error.text.en:
            # Nothing was sent.
            raise BadInput(error.text.zh, error.text.en) from None
        if found := _named(name):
            return found
        raise BadInput(
            "Slurm 没有及时应答，任务没有提交：稍后再试",
            "Slurm did not answer in time, and the job was not submitted: try again later",
        ) from None
    if found := _NUMBER.findall(told):
        return int(found[-1])
    if number := _named(name):
        return number
    words = " ".join(told.split())[:500]
    raise BadInput(f"Slurm 没有给出任务号：{words}", f"Slurm gave no job number: {words}")


def _named(name: str) -> int | None:
    """Return the number of the job with this name; None if Slurm has none. Raises NoAnswer."""
    try:
        told = said("squeue", "--me", f"--name={name}", "--noheader", "--format=%i").split()
    except BadInput as error:
        raise NoAnswer(error.text.zh, error.text.en) from None
    return int(told[0]) if told else None


def check(options: Sequence[str], *, srun: bool = False) -> None:
    """Raise BadInput with Slurm's words if it would refuse a job with these options. Submits nothing.

    `srun`: whether srun is going to ask for it, whose variables have other names.
    """
    said("sbatch", "--test-only", *options, "--wrap=true", seconds=_SUBMIT_SECONDS, as_srun=srun)


def look(directory: Path) -> SlurmJob | None:
    """Return what Slurm says about the job in `directory`, not older than a few seconds; None if it is none of Slurm's."""
    job = _read(directory) or _queued_by_srun(directory)
    if job is None or not job._due:
        return job
    if since := silent_since():
        # Another job was not answered just now: neither would this one be.
        return job if job.silent_since else replace(job, silent_since=since)
    with _claim(directory) as ours:
        # Whoever asks now will have written the answer at the next look, or has done so a moment ago.
        job = _read(directory) or job
        return _asked(directory, job) if ours and job._due else job


def cancel(directory: Path) -> None:
    """Cancel the job in `directory`. If Slurm does not answer, that is repeated when it does; see `_asked`."""
    job = _read(directory) or _queued_by_srun(directory)
    if job is None:
        return
    _cancel(job)
    if since := silent_since():
        # Whoever waits for this would wait again.
        _written(directory, replace(job, asked=time.time(), silent_since=job.silent_since or since))
    else:
        _asked(directory, job)


def _cancel(job: SlurmJob) -> None:
    """Does nothing if Slurm no longer has it, or does not answer."""
    with contextlib.suppress(BadInput):
        said("scancel", f"--name={job.name}" if job.id is None else str(job.id))


@contextlib.contextmanager
def _claim(directory: Path) -> Iterator[bool]:
    """Claim to be the only one who asks about this job; False if another does, in this process or not."""
    try:
        claim = (directory / "slurm.lock").open("w")
    except OSError:
        # On a full disk everyone asks.
        yield True
        return
    with claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:
            # A shared disk without locks.
            yield True
        else:
            yield True


def _asked(directory: Path, job: SlurmJob) -> SlurmJob:
    """Ask Slurm about a job, and note the answer for all readers.

    A waiting job that was to stop is cancelled again: Slurm may not have heard it.
    """
    now = time.time()
    try:
        if job.id is None and (number := _named(job.name)):
            job = replace(job, id=number)
        job = _answered(job)
        if job.waiting and (directory / "stop.json").exists() and (directory / "batch.sh").exists():
            _cancel(job)
    except NoAnswer:
        return _written(directory, replace(job, asked=now, silent_since=job.silent_since or now))
    ended = None if job.waiting or job.state in _RUNNING else job.ended or now
    return _written(directory, replace(job, asked=now, ended=ended))


def _answered(job: SlurmJob) -> SlurmJob:
    """Return the job as Slurm now describes it. Raises NoAnswer."""
    if job.id is None:
        return replace(job, state=FORGOTTEN, why="", silent_since=None, place=None, of=None)
    try:
        line = said("squeue", f"--jobs={job.id}", "--states=all", "--noheader", "--format=%T|%r|%P|%N")
        state, why, partition, nodes = (line.splitlines()[0].split("|") if line else [FORGOTTEN, "", "", ""])[:4]
        job = replace(job, state=state, why="" if why == "None" else why, silent_since=None)
        if partition:
            job = replace(job, partition=partition, nodes=nodes)
        place, of = _place(job) if job.waiting else (None, None)
        return replace(job, place=place, of=of)
    except BadInput as error:
        if "Invalid job id" not in error.text.en:
            raise NoAnswer(error.text.zh, error.text.en) from None
        return replace(job, state=_recorded(job) or FORGOTTEN, why="", silent_since=None)


def _place(job: SlurmJob) -> tuple[int | None, int]:
    """Return the place among the waiting jobs of its partition that this account may see, and how many those are."""
    waiting = said(
        "squeue", "--states=PENDING", f"--partition={job.partition}", "--sort=-p,i", "--noheader", "--format=%i"
    ).split()
    return waiting.index(str(job.id)) + 1 if str(job.id) in waiting else None, len(waiting)


def _recorded(job: SlurmJob) -> str | None:
    """Return how a forgotten job ended, from Slurm's accounting; None without any."""
    with contextlib.suppress(BadInput):
        told = said("sacct", f"--jobs={job.id}", "--allocations", "--noheader", "--parsable2", "--format=State")
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
