"""A job is a directory: its command, its processes, its result. All long-running work is done as jobs.

    job.json      written once: kind, command, environment, required output files
    lock          held by the supervisor, and by its guard, for as long as they live
    waiting.json  since when it has been queued, and under which supervisor
    pid.json      the identities of the supervisor and the command's process, and the start time
    stop.json     a stop request
    exit.json     how it ended;  lost.json  if its supervisor was killed instead
    log.txt       everything the command printed;  progress.json  the command's progress report

Status is computed from these files each time, never stored; for a job that Slurm runs, from them and Slurm's answer.
The command is run by the supervisor, not by this module.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ground import progress
from core.ground.clock import Moment, since_boot
from core.ground.errors import WorkFailed
from core.ground.files import read_json, read_tail, write_json
from core.ground.inherited import inherited
from core.ground.workspace import PROJECT
from core.jobs import outputs, slurm
from core.jobs.numbered import next_directory, numbered
from core.jobs.process import Identity
from core.jobs.status import Status

STARTING_SECONDS = 15.0
# By then the supervisor kills even a command that is still writing its checkpoint.
MOST_SECONDS_TO_STOP = 960.0


@dataclass(frozen=True, slots=True)
class Job:
    """One job, given by its directory."""

    directory: Path

    @classmethod
    def start(
        cls,
        jobs: Path,
        kind: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        artefacts: Sequence[Path] = (),
        facts: Mapping[str, Any] | None = None,
        telemetry: Path | None = None,
        queue: Path | None = None,
        secrets: Mapping[str, str] | None = None,
        sbatch: Sequence[str] | None = None,
    ) -> "Job":
        """Start `argv` (an argument list) under its own supervisor, as the next job of `kind` in `jobs`.

        `env` is added to the inherited environment; `artefacts` must all exist for the job to count as finished;
        `facts` are kept in job.json; samples of the machine go to `telemetry`. `secrets` are added to the environment
        too, but only their names are stored. With a `queue` (its directory) the job waits for its turn there. With
        `sbatch` (its options) Slurm runs the job, supervisor included, wherever and whenever it decides. Returns once
        it runs or is queued. Raises WorkFailed if the supervisor does not start, BadInput if Slurm refuses the job.
        """
        about = {
            "kind": kind,
            "argv": list(argv),
            "env": dict(env or {}),
            "artefacts": outputs.named(jobs, artefacts),
            "facts": dict(facts or {}),
            "telemetry": str(telemetry) if telemetry else None,
            "queue": str(queue) if queue else None,
            "secrets": sorted(secrets or {}),
            "created": time.time(),
            "asked": Moment.now().to_json(),
        }
        directory = next_directory(jobs, kind, about)
        job = cls(directory)
        if sbatch is not None:
            try:
                slurm.submit(directory, sbatch)
            except BaseException:
                shutil.rmtree(directory)
                raise
            return job
        # Returns immediately: the supervisor moves to its own session.
        subprocess.run(
            [sys.executable, "-m", "core.jobs.supervisor", str(directory)],
            cwd=PROJECT,
            env=inherited(secrets),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        known = [directory / name for name in ("pid.json", "exit.json", "waiting.json")]
        if not wait_until(lambda: any(path.exists() for path in known), STARTING_SECONDS):
            raise WorkFailed(
                f"任务没有启动，详见 {directory / 'log.txt'}", f"the job did not start; see {directory / 'log.txt'}"
            )
        return job

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def log(self) -> Path:
        return self.directory / "log.txt"

    @property
    def spec(self) -> dict[str, Any]:
        """The content of job.json; empty if it is not written yet."""
        return read_json(self.directory / "job.json") or {}

    @property
    def exit(self) -> dict[str, Any] | None:
        """How it ended: `returncode` (negative: signal; None: never ran), `ended`, `seconds`, `error`; None before."""
        return read_json(self.directory / "exit.json")

    @property
    def progress(self) -> dict[str, Any]:
        """The command's last progress report: `done` from 0 to 1, and whatever its kind adds."""
        return read_json(self.directory / progress.FILE) or {}

    @property
    def pids(self) -> dict[str, Identity | None]:
        """The identities of `supervisor` and `command`, None before they are known."""
        pids = read_json(self.directory / "pid.json") or read_json(self.directory / "waiting.json") or {}
        return {role: Identity.from_json(pids.get(role)) for role in ("supervisor", "command")}

    @property
    def slurm(self) -> slurm.SlurmJob | None:
        """What Slurm says about it, if Slurm runs it or srun waits in Slurm's queue."""
        return slurm.look(self.directory)

    @property
    def waits_in_slurm(self) -> bool:
        """Whether Slurm has not yet given it a machine."""
        return not self.progress and (seen := self.slurm) is not None and seen.waiting

    @property
    def begun(self) -> bool:
        """Whether its command was ever started."""
        return (self.directory / "pid.json").exists()

    @property
    def seconds(self) -> float:
        """How long it ran, or has been running, by a monotonic clock."""
        told = read_json(self.directory / "pid.json") or {}
        over = self.exit or read_json(self.directory / "lost.json") or {}
        if over.get("seconds") is not None:
            return over["seconds"]
        began = Moment.from_json(told.get("began"))
        if began and self._supervised():
            age = began.age()
            # On another machine there is only the wall clock.
            return max(0.0, time.time() - told["started"]) if age is None else age
        if "started" not in told:
            return 0.0
        # If supervisor and guard were both killed, use the last sign of life.
        return max(0.0, over.get("ended", self.log.stat().st_mtime) - told["started"])

    @property
    def quiet_seconds(self) -> float | None:
        """Seconds since the command's last progress report; None if there was none."""
        try:
            told = (self.directory / progress.FILE).stat().st_mtime
        except FileNotFoundError:
            return None
        # Other machines, which srun reaches, have other clocks.
        elsewhere = (self.spec.get("argv") or [""])[0] == "srun"
        at = None if elsewhere else self.progress.get("since_boot")
        return max(0.0, time.time() - told if at is None else since_boot() - at)

    def status(self) -> Status:
        """Its state, from its files and the supervisor's lock."""
        for _ in range(2):
            ended = self.exit
            if ended is not None:
                return self._ended_as(ended)
            if self._supervised():
                return Status.RUNNING if self.begun and not self.waits_in_slurm else Status.PENDING
            # The supervisor may have written exit.json and exited in between: read again.
        if (in_slurm := self.slurm) is not None and self._in_batch:
            unheard = in_slurm.state == slurm.FORGOTTEN
            return Status.KILLED if self.stopping else Status.CRASHED if unheard else Status.FAILED
        if self.begun or (self.directory / "waiting.json").exists():
            return Status.CRASHED
        asked = Moment.from_json(self.spec.get("asked"))
        age = asked.age() if asked else None
        return Status.PENDING if age is not None and age < STARTING_SECONDS else Status.CRASHED

    @property
    def stopping(self) -> bool:
        """Whether it has been asked to stop."""
        return (self.directory / "stop.json").exists()

    @property
    def discarding(self) -> bool:
        """Whether it was asked to stop without saving, which cannot be changed any more."""
        return self.stop_request is not None and not self.stop_request.get("grace")

    @property
    def stop_request(self) -> dict[str, Any] | None:
        """The content of stop.json; None without a request."""
        return read_json(self.directory / "stop.json")

    def ask_to_stop(self, *, discard: bool = False, grace: float = 20.0) -> None:
        """Tell the supervisor to stop: request, wait `grace` seconds, then SIGTERM, then SIGKILL.

        With `discard` there is no time to save, also if an earlier request gave it. If it has ended, nothing changes.
        """
        if self.exit is not None:
            return
        wish, at_once = self.stop_request, discard or self.waits_in_slurm
        if wish is None or (discard and wish.get("grace")):
            wish = {"discard": discard, "grace": 0.0 if at_once else grace, "asked": time.time()}
            write_json(self.directory / "stop.json", wish)
        if self._in_batch and at_once:
            slurm.cancel(self.directory)

    def stop(self, *, discard: bool = False, grace: float = 20.0) -> Status:
        """Stop it and return once no process is left: at most `grace` and some seconds after its last report."""
        if self.status().live:
            self.ask_to_stop(discard=discard, grace=grace)
            if self.wait(MOST_SECONDS_TO_STOP).live:
                # Its node no longer answers, or this process cannot reach its supervisor.
                slurm.cancel(self.directory)
        return self.status()

    def wait(self, timeout: float | None = None, on_progress: Callable[["Job"], None] | None = None) -> Status:
        """Wait until it has ended, at most `timeout` seconds; `on_progress` is called about four times a second."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.status()).live and time.monotonic() < deadline:
            if on_progress:
                on_progress(self)
            time.sleep(0.25)
        if on_progress:
            on_progress(self)
        return status

    def log_tail(self, most_bytes: int = 64_000) -> str:
        return read_tail(self.log, most_bytes)

    def _ended_as(self, ended: dict[str, Any]) -> Status:
        whole = ended["returncode"] == 0 and not outputs.missing(self.directory, self.spec.get("artefacts", []))
        return Status.KILLED if self.stopping else Status.FINISHED if whole else Status.FAILED

    @property
    def _in_batch(self) -> bool:
        return (self.directory / "batch.sh").exists()

    def _supervised(self) -> bool:
        """Whether the supervisor holds its lock, which the kernel releases however it dies; for a batch job, Slurm says."""
        if self._in_batch:
            seen = self.slurm
            return seen is not None and (seen.waiting or seen.running)
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two concurrent readers do not mistake each other for the supervisor.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def jobs_in(directory: Path, kind: str | None = None) -> list[Job]:
    """Return the jobs in a `jobs` directory, of one kind or all, oldest first."""
    return [Job(path) for path in numbered(directory, kind or "*")]


def latest_job(directory: Path, kind: str) -> Job | None:
    """Return the newest job of a kind; None if there is none."""
    found = jobs_in(directory, kind)
    return found[-1] if found else None


def wait_until(condition: Callable[[], object], timeout: float) -> bool:
    """Poll until `condition` holds, less often the longer it takes; False after `timeout` seconds."""
    began = time.monotonic()
    while not condition():
        if (waited := time.monotonic() - began) > timeout:
            return False
        time.sleep(min(0.02 + 0.02 * waited, 0.2))
    return True
