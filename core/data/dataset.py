"""Entry point for datasets: find them, create them from a nickname or a file.

`storage` has the form on disk, `assistant` and `intake` the options for a nickname and a file.
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
    """Create the dataset that teaches `nickname`'s assistant. Raises BadInput; nothing is written in that case."""
    return assistant.make(workspace, Assistant(nickname=nickname, recipe=recipe, n=n), name)


def import_file(
    workspace: Workspace, file: Path, format_: str = "auto", *, name: str | None = None
) -> tuple[Dataset, Report]:
    """Create a dataset from a file. Raises BadInput if it has no usable record; nothing is written in that case."""
    return intake.import_file(workspace, file, format_, name=name)
