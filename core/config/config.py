"""The configs of a workspace: `configs/<name>/` with config.py (what XTuner gets), base.py (the preset), config.json.

Makes, edits, lists and compares them. The values are in config.py alone; config.json says what it was made for.
"""

import ast
import difflib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import recipe as recipes
from core.config.fields import BY_NAME
from core.data import dataset as datasets
from core.data.assistant import COURSE_QUESTIONS
from core.data.dataset import Dataset
from core.engine import interpreter
from core.engine import model as models
from core.engine.config_file import ConfigFile
from core.engine.model import Model
from core.engine.presets import preset_text
from core.ground.errors import BadInput
from core.ground.files import new_directory, read_json, write_json, write_text
from core.ground.gpu import gpus
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import Workspace, directories_with, free_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A config on disk. `facts` holds `preset`, `recipe`, `model`, `dataset` (names) and `gpu`."""

    name: str
    path: Path
    facts: dict[str, Any]

    @property
    def file(self) -> Path:
        return self.path / "config.py"

    @property
    def model(self) -> str:
        return self.facts["model"]

    @property
    def dataset(self) -> str:
        return self.facts["dataset"]

    def text(self) -> str:
        return self.file.read_text(encoding="utf-8")

    def base_text(self) -> str:
        return (self.path / "base.py").read_text(encoding="utf-8")

    def values(self) -> dict[str, Any]:
        """The settings that a person changes, by XTuner's name."""
        config = ConfigFile(self.text())
        return {name: field.read(config) for name, field in BY_NAME.items()}

    def diff(self) -> str:
        """The changes against the preset, as a unified diff."""
        lines = difflib.unified_diff(
            self.base_text().splitlines(),
            self.text().splitlines(),
            f"{self.facts['preset']}.py",
            "config.py",
            lineterm="",
        )
        return "\n".join(lines)


def make(
    workspace: Workspace,
    *,
    model: str,
    dataset: str,
    preset: str | None = None,
    recipe: str = "fast",
    name: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Config:
    """Make a config of a preset for a model and a dataset of the workspace. Raises BadInput; then nothing is written."""
    if recipe not in recipes.RECIPES:
        raise BadInput(
            f"没有配方 {recipe}：可用 {'、'.join(recipes.RECIPES)}",
            f"there is no recipe {recipe}: use {', '.join(recipes.RECIPES)}",
        )
    chosen_model, chosen_data = models.usable(workspace, model), datasets.find(workspace, dataset)
    preset_name = preset or recipes.DEFAULT_PRESETS[recipe]
    base = preset_text(preset_name, interpreter.xtuner_directory(workspace))
    config = ConfigFile(base)
    recipes.check_preset(config, preset_name, recipe)
    gpu = bool(gpus())
    changes = list(
        recipes.edits(
            recipe,
            config,
            model=chosen_model,
            data=chosen_data.data,
            rows=chosen_data.rows,
            questions=questions_for(chosen_data),
            gpu=gpu,
        )
    )
    recipes.apply(config, changes)
    _apply_settings(config, settings or {})
    facts = {
        "created": time.time(),
        "preset": preset_name,
        "recipe": recipe,
        "model": model,
        "dataset": dataset,
        "gpu": gpu,
        "edits": [{"path": edit.path, "why": {"zh": edit.why.zh, "en": edit.why.en}} for edit in changes],
    }
    return _store(
        workspace, name or free_name(workspace.configs, f"{chosen_data.name[:50]}-{recipe}"), config.text, base, facts
    )


def questions_for(dataset: Dataset) -> list[str]:
    """What to ask during the training: the course's two questions, and for other data its first questions."""
    if dataset.made["kind"] == "assistant":
        return list(COURSE_QUESTIONS)
    first = [row["conversation"][0] for row in dataset.page(0, 100)]
    # A text has no question: its beginning is what the model is to go on from.
    asked = dict.fromkeys((turn["input"] or turn["output"][:10]).strip() for turn in first)
    return [question for question in asked if question][:3] or list(COURSE_QUESTIONS)


def change(workspace: Workspace, name: str, settings: dict[str, Any]) -> Config:
    """Change settings of a config by name. Raises BadInput where one does not fit; then nothing is written."""
    config = find(workspace, name)
    file = ConfigFile(config.text())
    _apply_settings(file, settings)
    write_text(config.file, file.text)
    return config


def replace_text(workspace: Workspace, name: str, text: str) -> Config:
    """Replace the Python text of a config by one edited by hand. Raises BadInput where it is not Python."""
    config = find(workspace, name)
    ConfigFile(text)
    write_text(config.file, text)
    return config


def find(workspace: Workspace, name: str) -> Config:
    """The config `name`. Raises BadInput where there is none."""
    path = workspace.config(name)
    facts = read_json(path / "config.json")
    if facts is None:
        raise BadInput(
            f"没有配置 {name}：先用 configs new 建一个", f"there is no config {name}: make one with configs new"
        )
    return Config(name=name, path=path, facts=facts)


def every(workspace: Workspace) -> list[Config]:
    """All configs, by name."""
    return [find(workspace, path.name) for path in directories_with(workspace.configs, "config.json")]


def check(workspace: Workspace, config: Config) -> list[Problem]:
    """What would keep a config from training, seen without running it: the files that it names, its settings."""
    problems = []

    def problem(where: str, error: BadInput) -> None:
        problems.append(
            Problem(
                severity="error",
                where=where,
                message=error.text,
                hint=Text("改好后再开始训练", "mend it before the training"),
            )
        )

    try:
        file = ConfigFile(config.text())
    except BadInput as error:
        problem("config.py", error)
        return problems
    for name, field in BY_NAME.items():
        value = field.read(file)
        if isinstance(value, int | float | str | list):
            try:
                field.check(value)
            except BadInput as error:
                problem(name, error)
    for where, look in (
        ("model", lambda: models.usable(workspace, config.model)),
        ("dataset", lambda: datasets.find(workspace, config.dataset)),
    ):
        try:
            look()
        except BadInput as error:
            problem(where, error)
    return problems


def parse_setting(text: str) -> tuple[str, Any]:
    """`name=value` of the command line; the value is read as Python, else taken as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadInput(f"{text!r} 不是 名称=值 的形式", f"{text!r} is not of the form name=value")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value


def model_of(workspace: Workspace, config: Config) -> Model:
    """The model that a config is for."""
    return models.find(workspace, config.model)


def _apply_settings(config: ConfigFile, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        field = BY_NAME.get(name)
        if field is None:
            raise BadInput(
                f"没有设置项 {name}：可用 {'、'.join(BY_NAME)}",
                f"there is no setting {name}: use one of {', '.join(BY_NAME)}",
            )
        config.set(field.place(config), field.check(value))


def _store(workspace: Workspace, name: str, text: str, base: str, facts: dict[str, Any]) -> Config:
    path = workspace.config(name)
    try:
        with new_directory(path) as partial:
            write_text(partial / "config.py", text)
            write_text(partial / "base.py", base)
            write_json(partial / "config.json", {"name": name, **facts})
    except FileExistsError:
        raise BadInput(
            f"配置 {name} 已存在：请换一个名称", f"the config {name} is there already: choose another name"
        ) from None
    return find(workspace, name)
