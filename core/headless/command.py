"""Shared by all headless commands: their type, common options, and the progress line on stderr."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from core.ground.figures import duration, share
from core.ground.workspace import Workspace
from core.jobs.job import Job

Options = argparse.Namespace
Answer = dict[str, Any]
Command = Callable[[Workspace, Options], Answer]
# Each command's name, its function, and its argparse arguments.
Table = dict[str, tuple[Command, list[tuple[tuple[str, ...], dict[str, Any]]]]]

RUN = (("run",), {"help": "a run id, or latest"})
OUT = (("--out",), {})
WAIT = (("--wait",), {"action": "store_true"})


class ProgressLine:
    """A line on stderr that is rewritten as a job progresses."""

    def __init__(self) -> None:
        self.shown = ""

    def __call__(self, job: Job) -> None:
        told = job.progress
        eta = told.get("eta_s")
        line = f"{job.name}: {told.get('note', '')} {share(told.get('done', 0))}"
        line += f", {duration(eta)}" if eta else ""
        if job.waits_in_slurm and (seen := job.slurm):
            line = f"{job.name}: Slurm job {seen.id} {seen.state} {seen.place or '?'}/{seen.of or '?'} {seen.why}"
        self.show(line, last=not job.status().live)

    def show(self, line: str, *, last: bool = False) -> None:
        if line != self.shown:
            print(f"\r{line:<60}", end="", file=sys.stderr, flush=True)
            self.shown = line
        if last:
            print(file=sys.stderr)


show_progress = ProgressLine()
