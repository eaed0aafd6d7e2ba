"""Runs as shown to the user: which are listed, which one matters now, and their titles.

A run that was removed from the queue before its turn has nothing to show and is not listed. Starts and changes nothing.
"""

import time
from collections.abc import Sequence

from core.ground.text import Text
from core.ground.workspace import Workspace
from core.training import run as runs
from core.training.record import Run
from core.training.shelf import given_name


def worth_a_look(run: Run) -> bool:
    """Return whether it has trained, trains or is queued."""
    return run.begun or bool((job := run.job) and job.status().live)


def foremost(workspace: Workspace, found: Sequence[Run]) -> Run | None:
    """Return the run that matters now: the one training, else the newest with a checkpoint, else the newest."""
    live = runs.running_of(workspace, found)
    if live is not None:
        return live
    usable = (run for run in found if any(checkpoint.whole for checkpoint in run.checkpoints()))
    return next(usable, found[0] if found else None)


def titles(found: Sequence[Run]) -> dict[str, Text]:
    """Return a unique title for each of `found`, by id: `小明 · 第 1 次 · 15:18`."""
    named = {run.id: _title(run) for run in found}
    zh = [title.zh for title in named.values()]
    return {
        run_id: title if zh.count(title.zh) == 1 else Text(f"{title.zh} · {run_id}", f"{title.en} · {run_id}")
        for run_id, title in named.items()
    }


def _title(run: Run) -> Text:
    who = given_name(run) or run.nickname or run.facts.config.name or run.id
    began = time.localtime(run.facts.created)
    today = began[:3] == time.localtime()[:3]
    when = time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", began)
    serial = run.facts.serial
    # Runs of an earlier version have no serial number.
    zh, en = (f"第 {serial} 次 · ", f"run {serial} · ") if serial else ("", "")
    return Text(f"{who} · {zh}{when}", f"{who} · {en}{when}")
