"""The queue of a workspace: jobs waiting for the machine, in order. One job has its turn at a time.

    .lock       held by whoever changes the order
    order.json  the directories of the waiting jobs, first to last
    turn        held (flock) by the supervisor whose job has its turn, and by its guard
    turn.json   whose turn it is, or was last

No process runs the queue: each waiting job's supervisor checks whether it is first and takes the turn when the kernel
releases it, however the previous job ended. So it works without a page and without a server.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from core.ground.files import read_json, write_json
from core.ground.lock import locked
from core.jobs.job import Job, Status
from core.jobs.process import end_marked


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue in one directory."""

    directory: Path

    def waiting(self) -> list[Job]:
        """The waiting jobs, next one first. A job whose supervisor has died no longer waits."""
        return [job for job in map(Job, self._order()) if job.status() is Status.PENDING]

    def current(self) -> Job | None:
        """The job that has its turn; None if there is none."""
        told = read_json(self.directory / "turn.json")
        job = Job(Path(told["job"])) if told else None
        return job if job and job.status().live else None

    def place(self, job: Job) -> int | None:
        """Return 1 for the next job, 2 for the one after it, …; None for a job that is not waiting."""
        return next((place for place, waiting in enumerate(self.waiting(), 1) if waiting == job), None)

    def join(self, job: Path) -> None:
        """Append the job, if it is not in the queue."""
        with locked(self.directory / ".lock"):
            order = [waiting.directory for waiting in self.waiting()]
            if job not in order:
                self._set([*order, job])

    def move(self, job: Job, place: int) -> None:
        """Move a waiting job to `place`, 1 being the next one; a place beyond the end means the end."""
        with locked(self.directory / ".lock"):
            order = [waiting.directory for waiting in self.waiting()]
            if job.directory in order:
                order.remove(job.directory)
                order.insert(max(0, place - 1), job.directory)
                self._set(order)

    def leave(self, job: Path) -> None:
        """Remove the job from the queue."""
        with locked(self.directory / ".lock"):
            self._set([other for other in self._order() if other != job])

    def busy(self, job: Path) -> bool:
        """Return whether another job is ahead of `job`: running, or queued before it."""
        first = next((waiting.directory for waiting in self.waiting()), job)
        current = self.current()
        return first != job or (current is not None and current.directory != job)

    def take_turn(self, job: Path) -> int | None:
        """Take the turn for a waiting job, if it is first and the turn is free.

        Returns an open descriptor: the turn is held until every process that has it has exited.
        """
        order = self.waiting()
        if order and order[0].directory != job:
            return None
        descriptor = os.open(self.directory / "turn", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        last = read_json(self.directory / "turn.json")
        if last:
            # Its supervisor and guard have both exited, or the turn would not be free.
            end_marked("XTUNER_STUDIO_STOP", str(Path(last["job"]) / "stop.json"))
        write_json(self.directory / "turn.json", {"job": str(job)})
        self.leave(job)
        return descriptor

    def _order(self) -> list[Path]:
        told = read_json(self.directory / "order.json")
        return [Path(path) for path in told] if isinstance(told, list) else []

    def _set(self, order: list[Path]) -> None:
        write_json(self.directory / "order.json", [str(path) for path in order])
