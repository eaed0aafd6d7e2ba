"""The page on which to continue a single run, from its files. `assignment` looks at all runs."""

from typing import Literal

from core.chat.score import stored
from core.chat.scoring import can_be_scored
from core.export.export import exported
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training.run import Run

Page = Literal["train", "export", "chat", "report"]


def next_page(workspace: Workspace, run: Run) -> Page:
    """Return the next page for a run: train it to the end, export it, ask and score it, build the report."""
    state = run.state_at(None)
    if exported(run).merged is None:
        # Whoever stopped the run may resume it, or use what there is.
        return "export" if state.status is Status.FINISHED else "train"
    return "chat" if stored(run) is None and can_be_scored(workspace, run) else "report"
