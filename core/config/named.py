"""Find and replace the model and dataset of the workspace that a config's text names: in the file they are paths."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config.recipe import own_prompt, task_edits
from core.config.settings.edit import Edit
from core.config.settings.method import DATASET, LLM, one_dataset
from core.data import dataset as datasets
from core.engine.config_file import ConfigFile
from core.ground.errors import BadInput
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.models import model as models
from core.models.agreed import origin

_MODEL = f"{LLM}.pretrained_model_name_or_path"
_FILES = (f"{DATASET}.dataset.data_files.train", f"{DATASET}.dataset.data_files")


def model_named(workspace: Workspace, config: ConfigFile) -> str | None:
    """Return the workspace's name of the model that the file trains; None if it is computed by code.

    Raises BadInput for a path or hub name that is not a model of the workspace.
    """
    value = config.get(_MODEL)
    if not isinstance(value, str):
        return None
    path = Path(value)
    if path.parent == workspace.models:
        return path.name
    for place in sorted(workspace.models.glob("*")):
        # For an inaccessible path, os.path reports that it does not exist, where Path raises.
        if path.is_absolute() and os.path.exists(place) and origin(place) == path.resolve():
            return place.name
    raise BadInput(
        f"配置里的模型 {value} 不是工作区里的模型：先用 models link 链接它，或改成已有的模型",
        f"the config's model {value} is not in the workspace: link it with models link, or use one of its models",
    )


def dataset_named(workspace: Workspace, config: ConfigFile) -> str | None:
    """Return the workspace's name of the dataset that the file trains on; None if it is not one local file.

    Raises BadInput for a file that is not a dataset of the workspace.
    """
    value = next((found for place in _FILES if isinstance(found := first(config.get(place)), str)), None)
    if value is None:
        return None
    path = Path(value)
    # By resolved path: the datasets directory may be a link to another disk.
    if path.name in ("data.json", "data.jsonl") and path.parent.parent.resolve() == workspace.datasets.resolve():
        return path.parent.name
    raise BadInput(
        f"配置里的数据 {value} 不是工作区里的数据集：先用 datasets import 导入它，或改成已有的数据集",
        f"the config's data {value} is not in the workspace: import it with datasets import, or use one of its datasets",
    )


def elsewhere(workspace: Workspace, config: ConfigFile) -> dict[str, str]:
    """Return the settings whose path leads into another workspace, or this one before it was moved, with a name that is
    here too.
    """
    model = config.get(_MODEL)
    data = next((found for place in _FILES if isinstance(found := first(config.get(place)), str)), None)
    written = {"model": Path(model) if isinstance(model, str) else None, "dataset": Path(data).parent if data else None}
    places = {"model": workspace.models, "dataset": workspace.datasets}
    return {
        setting: path.name
        for setting, path in written.items()
        if path and path.is_absolute() and path.parent.name == places[setting].name
        if path.parent != places[setting] and os.path.exists(places[setting] / path.name)
    }


def place_model(workspace: Workspace, config: ConfigFile, name: str) -> Iterator[Edit]:
    """Yield the edits that put the model `name` into a config, with its prompt template instead of another model's."""
    model = models.usable(workspace, name)
    for edit in task_edits(config, model, Path(), []):
        if edit.value == str(model.path):
            yield edit
    yield from own_prompt(config, model)


def place_dataset(workspace: Workspace, config: ConfigFile, name: str) -> Iterator[Edit]:
    """Yield the edits that put the dataset `name` into a config. Raises BadInput if there is no place for one."""
    data = datasets.find(workspace, name).data
    if not one_dataset(config):
        raise BadInput(
            "这份配置用的不是单个数据集：请直接编辑 Python",
            "this config does not train on a single ordinary dataset: edit the Python file instead",
        )
    why = Text("你的数据集", "your dataset")
    for place in _FILES:
        if isinstance(config.get(place), str):
            yield Edit(path=config.names(place) or place, value=str(data), why=why)
            return
    for edit in task_edits(config, models.look(workspace.models), data, []):
        if edit.path.startswith(DATASET):
            yield edit


def place_own_prompt(workspace: Workspace, config: ConfigFile, _: str) -> Iterator[Edit]:
    """Yield the edits that make the config use its model's own prompt template."""
    name = model_named(workspace, config)
    if name is not None:
        yield from own_prompt(config, models.find(workspace, name))


# The settings that depend on the workspace, by name.
PLACES = {"model": place_model, "dataset": place_dataset, "prompt_template": place_own_prompt}


def first(value: Any) -> Any:
    """Return the only element of a list, anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
