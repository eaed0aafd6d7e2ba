"""A run that still trains, as the pages see it that come after the training: the way back to it is their next step."""

from core.training.run import Run
from pages.components.contents import show_outcome
from pages.components.text import t


def show_unfinished(run: Run) -> bool:
    """The card of a run that is live; whether it is."""
    live = bool((job := run.job) and job.status().live)
    if live:
        show_outcome(t("frame.unfinished"), "train")
    return live
