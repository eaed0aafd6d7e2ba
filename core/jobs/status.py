"""The states of a job."""

from enum import StrEnum


class Status(StrEnum):
    """The state of a job."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    KILLED = "KILLED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"

    @property
    def live(self) -> bool:
        return self in (Status.PENDING, Status.RUNNING)
