"""The words on the button with which a finished run goes on. Which page that is, `core.report.ahead` decides."""

from core.report.ahead import Page
from core.report.writeup import outdated, there
from core.training.run import Run
from pages.components.text import t


def words_to(page: Page, run: Run) -> str | None:
    """Return the label of the button to `page`; None, which names the page alone, if the run's report is written."""
    if page == "report" and there(run) and not outdated(run):
        return None
    return t(f"train.to_{page}")
