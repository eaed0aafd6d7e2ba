"""Finds the runs of a workspace on disk. Starts nothing, and imports nothing that starting a run takes."""

from functools import partial

from core.ground.errors import BadInput
from core.ground.files import read_json
from core.ground.workspace import Workspace, each_with
from core.training.facts import RunFacts
from core.training.record import Run


def find(workspace: Workspace, run_id: str) -> Run:
    """Return the run `run_id`, or the newest for `latest`. Raises BadInput if there is none."""
    if run_id == "latest":
        newest_first = every(workspace)
        if not newest_first:
            raise BadInput("还没有训练：先用 train start 开始一次", "no runs yet: start one with train start")
        return newest_first[0]
    path = workspace.run(run_id)
    written = read_json(path / "run.json")
    if not isinstance(written, dict):
        raise BadInput(f"没有训练 {run_id}：用 train list 查看", f"there is no run {run_id}: run train list")
    return Run(id=run_id, path=path, facts=RunFacts.from_json({**written, "id": run_id}))


def every(workspace: Workspace) -> list[Run]:
    """Return all runs, newest first, even if the clock was set back in between."""
    unsorted = each_with(workspace.runs, "run.json", partial(find, workspace))
    return sorted(unsorted, key=lambda run: (run.facts.serial, run.facts.created), reverse=True)
