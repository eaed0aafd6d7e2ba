"""The material that every section of a report is written from: run, language, mask, and the images that exist."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from core.data import dataset as datasets
from core.data.dataset import Dataset
from core.export.export import Exported, exported
from core.ground.errors import StudioError
from core.ground.figures import duration
from core.ground.text import Language, Text
from core.ground.tree import tree
from core.ground.workspace import Workspace
from core.report.markup import code, escaped
from core.report.mask import Mask
from core.report.outline import Outline, Picture
from core.training.run import Run
from core.training.state import State

MOST_FILES = 40
TITLES = {
    "task": Text("任务", "Task"),
    "environment": Text("环境", "Environment"),
    "model": Text("模型", "Model"),
    "dataset": Text("数据集", "Dataset"),
    "config": Text("配置", "Config"),
    "commands": Text("命令", "Commands"),
    "training": Text("训练", "Training"),
    "timeline": Text("看着它学", "Answers during training"),
    "comparison": Text("微调前后", "Before and after"),
    "scores": Text("评分", "Scores"),
    "export": Text("合并校验", "Verification"),
    "gguf": Text("带回家", "Export for your own computer"),
    "files": Text("每一步的文件", "Files after each step"),
    "time": Text("用时", "Duration"),
    "notes": Text("心得", "Notes"),
}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A report being written. `pictures` are the files already next to it."""

    workspace: Workspace
    run: Run
    language: Language
    outline: Outline
    points: list[dict[str, Any]]
    pictures: list[Picture] = field(default_factory=list)

    @cached_property
    def mask(self) -> Mask:
        return Mask(self.workspace, on=self.outline.masked, then=self.run.workspace_then)

    @cached_property
    def state(self) -> State:
        return self.run.state_at(self.points[-1] if self.points else None)

    @cached_property
    def exported(self) -> Exported:
        return exported(self.run)

    @cached_property
    def dataset(self) -> Dataset | None:
        """The dataset that the run was trained on; None if it is gone or another one has its name."""
        try:
            found = datasets.find(self.workspace, self.run.facts.dataset.name)
        except StudioError:
            return None
        return found if found.sha256 == self.run.facts.dataset.sha256 and found.data.is_file() else None

    @property
    def author(self) -> str:
        return self.outline.author or self.run.nickname or "-"

    def say(self, zh: str, en: str) -> str:
        """Return the text in the report's language."""
        return zh if self.language == "zh" else en

    def duration(self, seconds: float | None) -> str:
        """Format a duration in the report's language."""
        return duration(seconds).in_(self.language)

    def cell(self, text: object) -> str:
        """Mask and escape foreign text for a cell or a line."""
        return escaped(self.mask(str(text)))

    def tree(self, path: Path, depth: int, linked_to: Path | None = None) -> str:
        """Return a directory's files with their sizes as a code block; for a model, including the linked directory."""
        drawn = tree(path, depth=depth, sizes=True, most=MOST_FILES, linked_to=linked_to)
        return self.code(f"$ tree -h {path}\n{drawn}", "text")

    def code(self, text: str, language: str) -> str:
        """Return a masked code block."""
        return code(self.mask(text), language)
