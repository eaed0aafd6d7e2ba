"""The queue of a workspace: jobs that wait for the machine, in their order. One has its turn at a time.

    .lock       held by whoever changes the order
    order.json  the directories of the jobs that wait, first to last
    turn        held (flock) by the supervisor whose job has its turn, and by its guard
    turn.json   whose turn it is, or was last

Nobody runs the queue: each waiting job's own supervisor looks whether it is the first and takes the turn when
the kernel frees it, whatever way the one before ended. So it goes on without a page and without a server.
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
        """The jobs that wait, the next one first. Those whose supervisor is gone wait no more."""
        return [job for job in map(Job, self._order()) if job.status() is Status.PENDING]

    def current(self) -> Job | None:
        """The job that has its turn, None while nobody has."""
        told = read_json(self.directory / "turn.json")
        job = Job(Path(told["job"])) if told else None
        return job if job and job.status().live else None

    def place(self, job: Job) -> int | None:
        """1 for the next one, 2 for the one after it, …; None for a job that does not wait."""
        return next((place for place, waiting in enumerate(self.waiting(), 1) if waiting == job), None)

    def join(self, job: Path) -> None:
        """Put the job at the end, if it is not in the queue."""
        with locked(self.directory / ".lock"):
            order = [waiting.directory for waiting in self.waiting()]
            if job not in order:
                self._set([*order, job])

    def move(self, job: Job, place: int) -> None:
        """Put a waiting job at `place`, 1 being the next one; beyond the end means the end."""
        with locked(self.directory / ".lock"):
            order = [waiting.directory for waiting in self.waiting()]
            if job.directory in order:
                order.remove(job.directory)
                order.insert(max(0, place - 1), job.directory)
                self._set(order)

    def leave(self, job: Path) -> None:
        """Take the job out of the order."""
        with locked(self.directory / ".lock"):
            self._set([other for other in self._order() if other != job])

    def busy(self, job: Path) -> bool:
        """Whether somebody is before `job`: one that has its turn, or one that waits longer."""
        first = next((waiting.directory for waiting in self.waiting()), job)
        current = self.current()
        return first != job or (current is not None and current.directory != job)

    def take_turn(self, job: Path) -> int | None:
        """Take the turn for a job that waits here, if it is the first and the turn is free.

        Returns an open descriptor: the turn is held until every process that has it is gone.
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
            # Its supervisor and its guard are both gone, or we would not have the turn.
            end_marked("XTUNER_STUDIO_STOP", str(Path(last["job"]) / "stop.json"))
        write_json(self.directory / "turn.json", {"job": str(job)})
        self.leave(job)
        return descriptor

    def _order(self) -> list[Path]:
        told = read_json(self.directory / "order.json")
        return [Path(path) for path in told] if isinstance(told, list) else []

    def _set(self, order: list[Path]) -> None:
        write_json(self.directory / "order.json", [str(path) for path in order])
