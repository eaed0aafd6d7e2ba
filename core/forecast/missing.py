"""What a config refers to but is missing or not applicable: layers, files on this machine, a conversion of rows.

Checks names, headers and paths; whether settings fit together is for `findings`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.data.dataset import Dataset
from core.forecast.case import problem
from core.ground.problem import Problem
from core.models.model import Model
from core.models.shape import layers

_WINDOWS = re.compile(r"[A-Za-z]:[\\/\n\t\r\a\b\f\v]")
_MOST_NAMED = 8


def missing(facts: dict[str, Any], model: Model) -> list[Problem]:
    """Return problems for every layer and path that the config of these `config_facts` names but does not exist."""
    return [*_layers(facts, model), *_paths(facts)]


def conversion(facts: dict[str, Any], dataset: Dataset) -> Problem | None:
    """Return the problem of a `dataset_map_fn`, as the rows of `dataset` are already XTuner's; None without one."""
    function = facts.get("map_fn")
    if not function:
        return None
    fix = {"dataset_map_fn": None}
    return problem(
        "dataset_map_fn",
        (
            f"数据集 {dataset.name} 的行已经是 XTuner 的格式，不需要再用 {function} 转换，转换会失败",
            f"the rows of the dataset {dataset.name} are already in XTuner's format; converting them with {function} fails",
        ),
        ("设置 dataset_map_fn=None", "set dataset_map_fn=None"),
        fix,
        severity="error",
    )


def _layers(facts: dict[str, Any], model: Model) -> Iterator[Problem]:
    """Yield LoRA target layers that the model does not have.

    Matched like PEFT: list entries by the end of a name, a string by the complete name
    (`peft.tuners.tuners_utils.check_target_module_exists`).
    """
    targets, names = (facts["model"].get("lora") or {}).get("target_modules"), layers(model.path)
    if not targets or not names or targets == "all-linear":
        return
    if isinstance(targets, str):
        lost = [] if any(_matches(targets, name) for name in names) else [targets]
        none = bool(lost)
    else:
        lost = [
            target for target in targets if not any(name == target or name.endswith(f".{target}") for name in names)
        ]
        none = len(lost) == len(targets)
    if not lost:
        return
    there = sorted({name.rpartition(".")[2] for name in names})
    said, known = ", ".join(lost[:_MOST_NAMED]), ", ".join(there[:_MOST_NAMED])
    kept = there if none else [target for target in targets if target not in lost]
    yield problem(
        "target_modules",
        (
            f"模型 {model.name} 没有叫 {said} 的层，它的线性层是 {known}",
            f"the model {model.name} has no layers named {said}; its linear layers are {known}",
        ),
        (
            f"设置 target_modules={kept}，或不填（全部线性层）",
            f"set target_modules={kept}, or leave it empty for all linear layers",
        ),
        {"target_modules": kept},
        # If nothing matches, PEFT fails; an unknown name among others is silently ignored.
        severity="error" if none else "warning",
    )


def _matches(expression: str, name: str) -> bool:
    try:
        return re.fullmatch(expression, name) is not None
    except re.error:
        return False


def _paths(facts: dict[str, Any]) -> Iterator[Problem]:
    for where, path in facts.get("paths", ()):
        if _WINDOWS.match(path):
            yield problem(
                where,
                (
                    f"{where} 是 Windows 路径 {path!r}：这个文件在另一台电脑上",
                    f"{where} is a Windows path, {path!r}: that file is on another computer",
                ),
                (
                    "先把文件上传到这台机器，再写它在这里的路径；或在“数据集”页导入它",
                    "upload the file to this machine and enter its path here, or import it on the Dataset page",
                ),
                severity="error",
            )
        elif not Path(path).expanduser().exists():
            yield problem(
                where,
                (f"{where} 指向 {path}，这里没有这个文件或目录", f"{where} names {path}, which is not on this machine"),
                ("改成这里有的路径，或删掉这一项", "enter an existing path, or remove the entry"),
                severity="error",
            )
