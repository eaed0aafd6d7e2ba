"""Kinds of jobs that run one at a time: a second start is refused, or returns the one in progress.

Starting one holds a lock of its kind, so that two simultaneous clicks do not start two.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.ground.errors import BadInput
from core.ground.lock import locked
from core.ground.text import Text
from core.jobs.job import Job, jobs_in

# `Job.start` for one kind of job in one directory: takes the arguments and options that are left.
Start = Callable[..., Job]


def live(jobs: Path, kind: str, facts: Mapping[str, Any] | None = None) -> Job | None:
    """The job of `kind` that runs or waits now, of those with these `facts` if they are given; None where none does."""
    alike = (job for job in jobs_in(jobs, kind) if facts is None or job.spec.get("facts") == facts)
    return next((job for job in alike if job.status().live), None)


@contextmanager
def only_one(jobs: Path, kind: str, busy: Text) -> Iterator[Start]:
    """What starts the one job of `kind`, while nobody else can. Raises BadInput, saying `busy`, where one is live."""
    with starting(jobs, kind):
        if live(jobs, kind):
            raise BadInput(busy.zh, busy.en)
        yield functools.partial(Job.start, jobs, kind)


@contextmanager
def starting(jobs: Path, kind: str) -> Iterator[None]:
    """While it lasts, nobody else starts a job of `kind`."""
    with locked(jobs / f".{kind}.lock"):
        yield
