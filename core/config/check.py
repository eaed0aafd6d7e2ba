"""Problems that would keep a config from training, found without running it: its settings, files and modules.

Returns all of them at once and raises nothing. What a run will take, and what only its engine can tell, is for
`forecast`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from core.config.config import Config
from core.config.imports import not_found
from core.config.named import dataset_named, elsewhere, model_named
from core.config.settings.fields import BY_NAME
from core.data import dataset as datasets
from core.engine import consent
from core.engine.config_file import ConfigFile
from core.ground.errors import BadInput
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.models import model as models

# The `where` of a problem that only the user's approval solves.
AGREEMENT = "agreement"
_HERE = Text(
    "工作目录换过位置，或者配置来自别的工作目录：这里有同名的，改用它",
    "the workspace was moved, or the config comes from another one: use the one of this name that is here",
)


def check(workspace: Workspace, config: Config) -> list[Problem]:
    """Return the problems that would keep a config from training, found without running it."""
    problems = []

    def problem(where: str, error: BadInput, fix: dict[str, str] | None = None) -> None:
        hint = _HERE if fix else Text("改好后再开始训练", "fix it before training")
        problems.append(Problem(severity="error", where=where, message=error.text, hint=hint, fix=fix))

    try:
        file = ConfigFile(config.text())
    except BadInput as error:
        problem("config.py", error)
        return problems
    for name, field in BY_NAME.items():
        value = field.read(file)
        if isinstance(value, int | float | str | list) and field.there(file):
            try:
                field.check(value)
            except BadInput as error:
                problem(name, error)
    missing = missing_modules(workspace, file)
    problems += [*_missing_commas(file), *missing, *_unasked(workspace, config)]
    try:
        # Imports of neighboring files have been reported above.
        consent.alone(config.file, "" if missing else file.text)
    except BadInput as error:
        problem("config.py", error)
    for where, look in (
        ("model", lambda: (models.usable(workspace, config.model), model_named(workspace, file))),
        ("dataset", lambda: (datasets.find(workspace, config.dataset), dataset_named(workspace, file))),
    ):
        try:
            look()
        except BadInput as error:
            here = elsewhere(workspace, file)
            problem(where, error, {where: here[where]} if where in here else None)
    return problems


def gone(workspace: Workspace, config: Config) -> Literal["model", "dataset"] | None:
    """Return which of the two that a config was made for is no longer in the workspace, the model first."""
    if not os.path.lexists(workspace.model(config.model)):
        return "model"
    return None if os.path.lexists(workspace.dataset(config.dataset)) else "dataset"


def missing_modules(workspace: Workspace, file: ConfigFile, beside: Path | None = None) -> list[Problem]:
    """Return the modules that `file` imports and training would not find; `beside` is the directory it came from."""
    return [
        Problem(
            severity="error",
            where="config.py",
            message=Text(
                f"配置导入了模块 {name}，训练引擎里没有它：它多半是原来和配置放在一起的文件（{name.lstrip('.')}.py），没有跟过来",
                f"the config imports the module {name}, which the engine does not have: probably a file next to the original config ({name.lstrip('.')}.py) that was not imported with it",
            ),
            hint=Text(
                "把其中用到的函数直接写进配置里，并删掉这行 import；或把它作为包装进训练引擎的环境",
                "copy the functions you need into the config and remove the import, or install the module in the engine's environment",
            ),
        )
        for name in not_found(workspace, file, beside)
    ]


def _unasked(workspace: Workspace, config: Config) -> Iterator[Problem]:
    """Yield a problem if the user has not approved executing it yet."""
    if consent.agreed(workspace, config.text()):
        return
    try:
        consent.refuse(workspace, config.file)
    except BadInput as error:
        hint = Text(
            "在“训练配置”页看一看不只是设置的那几行，再同意",
            "on the Config page, review the lines that are not settings, then agree",
        )
        yield Problem(severity="error", where=AGREEMENT, message=error.text, hint=hint)


def _missing_commas(file: ConfigFile) -> Iterator[Problem]:
    """Yield lists in which two strings are adjacent: Python joins them into one."""
    for name, field in BY_NAME.items():
        place = field.place(file) if field.kind == "list" else None
        texts = file.joined(place) if place else []
        joined = next((pieces for pieces in texts if len(pieces) > 1), None)
        if joined is None:
            continue
        fixed = [piece for pieces in texts for piece in pieces]
        yield Problem(
            severity="warning",
            where=name,
            message=Text(
                f"{name} 里“{joined[0]}”和“{joined[1]}”之间少了逗号：Python 会把它们连成一句",
                f"in {name} a comma is missing between {joined[0]!r} and {joined[1]!r}: Python joins them into one string",
            ),
            hint=Text(
                f"在两句之间加逗号，共 {len(fixed)} 句", f"add a comma between them, which gives {len(fixed)} strings"
            ),
            fix={name: fixed},
        )
