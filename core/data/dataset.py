"""The front door to datasets: find them, and make them of a nickname or of a file.

What a dataset is on disk is in `storage`; what can be chosen of an assistant in `assistant`, of a file in `intake`.
"""

from pathlib import Path

from core.data import assistant, intake
from core.data.assistant import COURSE_N, Assistant, Recipe
from core.data.intake import Report
from core.data.storage import Dataset, check, every, find
from core.ground.workspace import Workspace

__all__ = ["Dataset", "check", "every", "find", "import_file", "make_assistant"]


def make_assistant(
    workspace: Workspace, nickname: str, recipe: Recipe = "balanced", *, n: int = COURSE_N, name: str | None = None
) -> Dataset:
    """Make the dataset that teaches `nickname`'s assistant. Raises BadInput; then nothing is written."""
    return assistant.make(workspace, Assistant(nickname=nickname, recipe=recipe, n=n), name)


def import_file(
    workspace: Workspace, file: Path, format_: str = "auto", *, name: str | None = None
) -> tuple[Dataset, Report]:
    """Make a dataset of a file. Raises BadInput where nothing in it can be used; then nothing is written."""
    return intake.import_file(workspace, file, format_, name=name)
