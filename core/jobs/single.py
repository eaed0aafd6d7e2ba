"""Kinds of jobs that run one at a time: a second start is refused, or returns the one in progress.

Starting takes a lock per kind, so that two simultaneous clicks do not start two jobs.
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

# `Job.start` bound to a kind and a directory; takes the remaining arguments.
Start = Callable[..., Job]


def live(jobs: Path, kind: str, facts: Mapping[str, Any] | None = None) -> Job | None:
    """Return the running or queued job of `kind`, with these `facts` if given; None if there is none."""
    alike = (job for job in jobs_in(jobs, kind) if facts is None or job.spec.get("facts") == facts)
    return next((job for job in alike if job.status().live), None)


@contextmanager
def only_one(jobs: Path, kind: str, busy: Text) -> Iterator[Start]:
    """Yield a function that starts the only job of `kind`. Raises BadInput with `busy` if one is live."""
    with starting(jobs, kind):
        if live(jobs, kind):
            raise BadInput(busy.zh, busy.en)
        yield functools.partial(Job.start, jobs, kind)


@contextmanager
def starting(jobs: Path, kind: str) -> Iterator[None]:
    """Hold the lock under which jobs of `kind` are started."""
    with locked(jobs / f".{kind}.lock"):
        yield
