"""The configs of a workspace: `configs/<name>/` with config.py (what XTuner gets), base.py (the preset), config.json.

Creates, edits, lists and compares them. Values are only in config.py; config.json says what it was created for. Files
from elsewhere are handled by `exchange`, earlier texts by `versions`.
"""

import difflib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from core.config import keeping, own_recipe
from core.config import recipe as recipes
from core.config.fit import fit_here
from core.config.named import PLACES, dataset_named, model_named
from core.config.proposal import propose
from core.config.settings.edit import apply
from core.config.settings.fields import BY_NAME
from core.config.settings.method import OWN
from core.config.versions import Versions
from core.data import dataset as datasets
from core.data.assistant import COURSE_QUESTIONS, Assistant
from core.data.dataset import Dataset
from core.engine import consent, interpreter
from core.engine.config_file import ConfigFile
from core.engine.config_text import read
from core.engine.presets import preset_text
from core.ground.cores import multiply_bf16
from core.ground.errors import BadInput
from core.ground.files import new_directory, read_json, write_json, write_text
from core.ground.gpu import gpus
from core.ground.lock import locked
from core.ground.workspace import Workspace, each_with, free_name
from core.models import model as models
from core.models.model import Model

# Settings that name a model or dataset of the workspace; in the file they are paths.
NAMED = ("model", "dataset")


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

    @property
    def versions(self) -> Versions:
        return Versions(self.path)

    def text(self) -> str:
        return read(self.file)

    def base_text(self) -> str:
        return read(self.path / "base.py")

    def values(self) -> dict[str, Any]:
        """The editable settings, by XTuner's name."""
        config = ConfigFile(self.text())
        return {name: field.read(config) for name, field in BY_NAME.items()}

    def questions(self) -> list[str]:
        """The evaluation questions; none if the file computes them."""
        asked = self.values()["evaluation_inputs"]
        return [str(question) for question in asked] if isinstance(asked, list | tuple) else []

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
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """Create a config from a preset for a model and a dataset of the workspace.

    If it raises BadInput, nothing is written.

    `recipe` is one of XTuner Studio's or one of the user's own, which brings its own text and preset.
    """
    chosen_model, chosen_data = models.usable(workspace, model), datasets.find(workspace, dataset)
    questions = questions_for(chosen_data)
    own = own_recipe.find(workspace, recipe) if recipe not in recipes.RECIPES else None
    gpu = bool(cards := len(gpus()))
    if own is not None:
        preset_name, base = own.preset, own.base
        config = ConfigFile(own.text)
        known = consent.agreed(workspace, own.text)
        changes = list(recipes.task_edits(config, chosen_model, chosen_data.data, questions))
    else:
        xtuner, known = interpreter.xtuner_directory(workspace), True
        preset_name = preset or propose(chosen_model, recipe, xtuner)
        base = preset_text(preset_name, xtuner)
        config = ConfigFile(base)
        recipes.check_preset(config, preset_name, recipe)
        changes = list(
            recipes.edits(
                recipe,
                config,
                model=chosen_model,
                data=chosen_data.data,
                rows=chosen_data.rows,
                questions=questions,
                gpu=gpu,
                bf16=not gpu and multiply_bf16(),
                kept=keeping.suits(chosen_data, chosen_model),
                cards=cards,
                fit=fit_here(workspace, chosen_model, chosen_data, recipes.RANKS[recipe]) if gpu else None,
            )
        )
    apply(config, changes)
    _apply_settings(workspace, config, settings or {})
    facts = {
        "created": time.time(),
        "preset": preset_name,
        "recipe": recipe,
        "model": model,
        "dataset": dataset,
        "gpu": gpu,
        "edits": [{"path": edit.path, "why": {"zh": edit.why.zh, "en": edit.why.en}} for edit in changes],
    }
    stem = f"{chosen_data.name[:50]}-{recipe[:13]}"
    return store(workspace, name or free_name(workspace.configs, stem), config.text, base, facts, agreed=known)


def questions_for(dataset: Dataset) -> list[str]:
    """Return the evaluation questions, in the language of the data.

    The assignment's two questions as taught, or else the first questions of the data.
    """
    if dataset.made["kind"] == "assistant":
        made = Assistant.of(dataset)
        return list(made.asked(made.languages[0]))
    first = [row["conversation"][0] for row in dataset.page(0, 100)]
    # Plain text has no question: the model continues from its beginning.
    asked = dict.fromkeys((turn["input"] or turn["output"][:10]).strip() for turn in first)
    return [question for question in asked if question][:3] or list(COURSE_QUESTIONS)


def change(workspace: Workspace, name: str, settings: Mapping[str, Any]) -> Config:
    """Change settings of a config by name.

    Raises BadInput, and writes nothing, if a value is invalid or the editor holds text that is not valid Python yet.
    """
    with _writing(workspace, name) as config:
        if config.versions.draft is not None:
            raise BadInput(
                f"配置 {name} 的编辑器里有还不是 Python 的文字：先改好它或撤销，再改设置",
                f"the editor of the config {name} contains text that is not valid Python: fix or undo it, then change settings",
            )
        file = ConfigFile(config.text())
        _apply_settings(workspace, file, settings)
        _write(workspace, config, file.text)
    return _named_anew(workspace, name)


def replace_text(workspace: Workspace, name: str, text: str, *, typed: bool = False) -> Config:
    """Replace the Python text of a config by one edited by hand. Raises SyntaxRefusal if it is not valid Python."""
    ConfigFile(text)
    with _writing(workspace, name) as config:
        _write(workspace, config, text, typed=typed)
    return _named_anew(workspace, name)


def step(workspace: Workspace, name: str, by: int) -> Config:
    """Undo (-1) or redo (1) the last change of a config."""
    with _writing(workspace, name) as config:
        config.versions.step(by)
    return _named_anew(workspace, name)


def save_as(workspace: Workspace, name: str, new_name: str) -> Config:
    """Copy a config under another name. Raises BadInput if that is taken."""
    config = find(workspace, name)
    facts = {**config.facts, "created": time.time()}
    text = config.text()
    return store(workspace, new_name, text, config.base_text(), facts, agreed=consent.agreed(workspace, text))


def find(workspace: Workspace, name: str) -> Config:
    """Return the config `name`. Raises BadInput if there is none."""
    path = workspace.config(name)
    facts = read_json(path / "config.json")
    if facts is None:
        raise BadInput(
            f"没有配置 {name}：先用 configs new 建一个", f"there is no config {name}: create one with configs new"
        )
    return Config(name=name, path=path, facts=facts)


def every(workspace: Workspace) -> list[Config]:
    """Return all configs, by name."""
    return each_with(workspace.configs, "config.json", partial(find, workspace))


def model_of(workspace: Workspace, config: Config) -> Model:
    """Return the model that a config is for."""
    return models.find(workspace, config.model)


def store(
    workspace: Workspace, name: str, text: str, base: str, facts: dict[str, Any], *, agreed: bool = False
) -> Config:
    """Write a new config. Raises BadInput if the name is taken. `agreed`: created here, from trusted parts."""
    path = workspace.config(name)
    try:
        with new_directory(path) as partial:
            write_text(partial / "config.py", text)
            write_text(partial / "base.py", base)
            write_json(partial / "config.json", {**facts, "name": name})
    except FileExistsError:
        raise BadInput(
            f"配置 {name} 已存在：请换一个名称", f"the config {name} already exists: choose another name"
        ) from None
    if agreed:
        consent.agree(workspace, text)
    return find(workspace, name)


def _write(workspace: Workspace, config: Config, text: str, *, typed: bool = False) -> None:
    """Set the config's text; an edit made here keeps a trusted text trusted, and an untrusted one untrusted."""
    known = consent.agreed(workspace, config.text())
    config.versions.write(text, typed=typed)
    if known:
        consent.agree(workspace, text)


@contextmanager
def _writing(workspace: Workspace, name: str) -> Iterator[Config]:
    """Yield the config `name`, locked against other writers."""
    config = find(workspace, name)
    with locked(workspace.configs / f".{name}.lock"):
        yield config


def _named_anew(workspace: Workspace, name: str) -> Config:
    """Return the config after a change of its text, with the model and dataset of the workspace that it now names."""
    config = find(workspace, name)
    file, facts = ConfigFile(config.text()), dict(config.facts)
    for what, look in (("model", model_named), ("dataset", dataset_named)):
        try:
            facts[what] = look(workspace, file) or facts[what]
        except BadInput:
            # `check` reports it; until then the model or dataset stays the one it was created for.
            continue
    if facts != config.facts:
        write_json(config.path / "config.json", facts)
        config = replace(config, facts=facts)
    return config


def _apply_settings(workspace: Workspace, config: ConfigFile, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name in NAMED or (name, value) == ("prompt_template", OWN):
            apply(config, PLACES[name](workspace, config, str(value)))
            continue
        field = BY_NAME.get(name)
        if field is None:
            raise BadInput(
                f"没有设置项 {name}：可用 {'、'.join((*NAMED, *BY_NAME))}",
                f"there is no setting {name}: use one of {', '.join((*NAMED, *BY_NAME))}",
            )
        field.write(config, value)
