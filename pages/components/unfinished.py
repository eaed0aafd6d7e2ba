"""The card for a run that is still training, on the pages after training: their next step is the way back to it."""

from core.training.run import Run
from pages.components.contents import show_outcome
from pages.components.text import t


def show_unfinished(run: Run) -> bool:
    """Draw the card if the run is live; return whether it is."""
    live = bool((job := run.job) and job.status().live)
    if live:
        show_outcome(t("frame.unfinished"), "train")
    return live
