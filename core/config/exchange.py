"""Import and export of configs, under the file names of XTuner's `copy-cfg`.

Imported files are read as text and parsed, never executed.
"""

import time
from pathlib import Path

from core.config.check import missing_modules
from core.config.config import Config, find, questions_for, store
from core.config.named import dataset_named, model_named
from core.config.recipe import task_edits
from core.config.settings.edit import apply
from core.data import dataset as datasets
from core.engine import consent, interpreter
from core.engine.config_file import ConfigFile
from core.engine.presets import preset_text, presets
from core.ground.errors import BadInput
from core.ground.files import write_text
from core.ground.gpu import gpus
from core.ground.workspace import Workspace, free_name
from core.models import model as models


def copy_name(preset: str) -> str:
    """Return the file name that `xtuner copy-cfg` gives a preset: its name with `_copy`."""
    return f"{preset}_copy.py"


def copy_preset(workspace: Workspace, preset: str, directory: Path) -> Path:
    """Write a preset to a file in `directory`, like `xtuner copy-cfg`. Raises BadInput if the file exists."""
    text, place = preset_text(preset, interpreter.xtuner_directory(workspace)), directory / copy_name(preset)
    return _new_file(place, text)


def export(workspace: Workspace, name: str, out: Path | None = None) -> Path:
    """Write a config to a file, by default `<preset>_copy.py` in the current directory.

    Raises BadInput if it exists.
    """
    config = find(workspace, name)
    place = out or Path(file_name(config))
    return _new_file(place / file_name(config) if place.is_dir() else place, config.text())


def file_name(config: Config) -> str:
    """Return a config's file name: after its preset, as in the course; else after itself."""
    preset = config.facts["preset"]
    return copy_name(preset) if preset in presets() else f"{config.name}.py"


def take(
    workspace: Workspace,
    file: str,
    text: str,
    *,
    model: str | None = None,
    dataset: str | None = None,
    name: str | None = None,
    beside: Path | None = None,
) -> Config:
    """Create a config from a file's text, unchanged.

    With `model` and `dataset` (names of the workspace), adapted to them.

    `beside`: the directory that the file is in, if known. The diff is against the preset that the file's name begins
    with, else against the file as imported. Raises BadInput, with the line if it is not Python; then nothing is
    written.
    """
    config = ConfigFile(text)
    for problem in missing_modules(workspace, config, beside):
        raise BadInput(
            f"{file}：{problem.message.zh}。{problem.hint.zh}", f"{file}: {problem.message.en}; {problem.hint.en}"
        )
    consent.alone(Path(file), text)
    base_name, base = _base(file, text)
    known_model, known_data = model or model_named(workspace, config), dataset or dataset_named(workspace, config)
    if known_model is None or known_data is None:
        raise BadInput(
            f"{file} 里看不出模型或数据：请指定模型和数据集",
            f"{file} does not name its model or data: give a model and a dataset",
        )
    edits = []
    if model is not None or dataset is not None:
        data = datasets.find(workspace, known_data)
        edits = list(task_edits(config, models.usable(workspace, known_model), data.data, questions_for(data)))
        apply(config, edits)
    facts = {
        "created": time.time(),
        "preset": base_name,
        "recipe": "import",
        "file": file,
        "gpu": bool(gpus()),
        "model": known_model,
        "dataset": known_data,
        "edits": [{"path": edit.path, "why": {"zh": edit.why.zh, "en": edit.why.en}} for edit in edits],
    }
    # A text that was exported from here, or is an unchanged preset, is trusted.
    known = consent.agreed(workspace, text) or (base_name in presets() and text == base)
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in Path(file).stem).strip("-_")
    return store(
        workspace, name or free_name(workspace.configs, stem[:60] or "config"), config.text, base, facts, agreed=known
    )


def _base(file: str, text: str) -> tuple[str, str]:
    stem = Path(file).stem
    found = max((preset for preset in presets() if stem.startswith(preset)), key=len, default=None)
    return (found, preset_text(found)) if found else (stem or "config", text)


def _new_file(place: Path, text: str) -> Path:
    if place.exists():
        raise BadInput(f"{place} 已存在：请换一个文件名", f"{place} already exists: choose another file name")
    if not place.parent.is_dir():
        raise BadInput(f"没有目录 {place.parent}", f"directory not found: {place.parent}")
    write_text(place, text)
    return place
