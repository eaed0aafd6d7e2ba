"""Which page comes next for one run, from what it has on disk. The assignment over all runs is `assignment`'s."""

from typing import Literal

from core.chat.score import stored
from core.chat.scoring import can_be_scored
from core.export.export import exported
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training.run import Run

Page = Literal["train", "export", "chat", "report"]


def next_page(workspace: Workspace, run: Run) -> Page:
    """Where a run goes on: trained to its end, exported, asked and scored, written up."""
    state = run.state_at(None)
    if exported(run).merged is None:
        # Who stopped it may go on with it, or take what there is.
        return "export" if state.status is Status.FINISHED else "train"
    return "chat" if stored(run) is None and can_be_scored(workspace, run) else "report"
