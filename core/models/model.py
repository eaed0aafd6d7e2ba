"""The models of a workspace: `models/<name>` is a link to a model directory, or the demo model built on the spot.

Checks that a directory is complete by reading headers and sizes; loads no weights and imports no torch.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.engine.architectures import Architectures, architectures
from core.engine.commands import engine_environment, module_command
from core.engine.presets import PromptTemplate
from core.ground.agreed_code import DEMO
from core.ground.errors import BadInput
from core.ground.problem import Problem
from core.ground.text import Text
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import Job
from core.jobs.single import live, starting
from core.models import agreed, trust
from core.models import prompt as prompts
from core.models import shared as shared_models
from core.models.kind import misfit
from core.models.place import refuse_no_model
from core.models.prompt import Prompt
from core.models.weights import examine

DIALOGUES = PROJECT / "core" / "data" / "dialogues"


TOY_PARAMETERS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The facts in the files of a model directory."""

    name: str
    path: Path
    architecture: str | None = None
    parameters: int = 0
    bytes: int = 0
    dtype: str | None = None
    layers: int = 0
    hidden_size: int = 0
    vocab_size: int = 0
    problems: list[Problem] = field(default_factory=list)
    # Why it cannot be trained although its files are complete; also one of `problems`.
    misfit: Problem | None = None
    prompt: Prompt = field(default_factory=Prompt)

    @property
    def whole(self) -> bool:
        """Whether its files are complete."""
        return not any(problem.severity == "error" for problem in self.problems if problem is not self.misfit)

    @property
    def trainable(self) -> bool:
        return self.whole and self.misfit is None

    @property
    def demo(self) -> bool:
        # os.path reports an unreadable directory as missing, while Path raises.
        return os.path.exists(self.path / "demo_model.json")

    @property
    def toy(self) -> bool:
        """Whether it is as small as the demo model: it needs larger steps, and its own answers are of no use."""
        return self.parameters < TOY_PARAMETERS

    @property
    def prompt_template(self) -> PromptTemplate:
        """The template around its questions and answers, as in its own chat_template."""
        return self.prompt.template

    @property
    def linked_to(self) -> Path | None:
        """The link's target; None for a model stored in the workspace."""
        return agreed.origin(self.path) if self.path.is_symlink() else None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": str(self.path),
            "parameters": self.parameters,
            "architecture": self.architecture,
            "trainable": self.trainable,
            "prompt_template": self.prompt.to_json(),
            "problems": [problem.to_json() for problem in self.problems],
        }


def every(workspace: Workspace) -> list[Model]:
    """Return all models of the workspace, by name; broken ones with their problems."""
    known = architectures(workspace)
    there = (path for path in sorted(workspace.models.glob("*")) if not path.name.startswith("."))
    return [_settled(workspace, path, known) for path in there if path.suffix != ".partial"]


def find(workspace: Workspace, name: str) -> Model:
    """Return the model `name`. Raises BadInput if there is none."""
    path = workspace.model(name)
    if not os.path.lexists(path):
        raise BadInput(
            f"没有模型 {name}：先用 models demo 建示例模型，或用 models link 链接本地模型",
            f"there is no model {name}: build the demo model with models demo, or link one with models link",
        )
    return _settled(workspace, path, architectures(workspace))


def usable(workspace: Workspace, name: str) -> Model:
    """Return the model `name` if it is complete, trainable by the engine and its code is trusted.

    Raises BadInput with the reason otherwise.
    """
    model = find(workspace, name)
    _refuse_broken(model, f"模型 {name} 不完整", f"the model {name} is incomplete")
    if model.misfit is not None:
        what = model.misfit
        raise BadInput(
            f"模型 {name} 不能训练：{what.message.zh}。{what.hint.zh}",
            f"the model {name} cannot be trained: {what.message.en}; {what.hint.en}",
        )
    code = trust.code(workspace, model.path)
    if not code.trusted:
        files = ", ".join(code.asked)
        why = (
            ("在同意之后变了", "has changed since you agreed to it")
            if code.changed
            else ("还没有同意运行", "needs your permission")
        )
        raise BadInput(
            f"模型 {name} 自带的代码（{files}）{why[0]}：在“准备”页查看后同意，或用 models trust {name}",
            f"the code of the model {name} ({files}) {why[1]}: review it on the Setup page and agree, or run models trust {name}",
        )
    return model


def link(workspace: Workspace, directory: str | Path, name: str | None = None) -> Model:
    """Link a model directory into the workspace, as the course does; also by the hub's name of a shared copy.

    A model that cannot be trained is linked, with the reason in `misfit`. Raises BadInput if it is not a model
    directory or files are missing. Does not trust its code: `trust.agree` does.
    """
    target = Path(directory).expanduser().absolute()
    if not target.is_dir():
        target = shared_models.named(str(directory)) or target
    refuse_no_model(target)
    if not target.is_dir():
        raise BadInput(f"没有目录 {target}：请检查路径", f"directory not found: {target}; check the path")
    place = workspace.model(name or target.name)
    _refuse_broken(look(target), f"{target} 不是完整的模型", f"{target} is not a complete model")
    workspace.models.mkdir(exist_ok=True)
    try:
        place.symlink_to(target.resolve(), target_is_directory=True)
    except FileExistsError:
        raise BadInput(
            f"模型 {place.name} 已存在：请换一个名称", f"the model {place.name} already exists: choose another name"
        ) from None
    return find(workspace, place.name)


def unlink(workspace: Workspace, name: str) -> Path:
    """Remove the link, not its target, which is returned. Raises BadInput if it is not a link."""
    place = find(workspace, name).path
    if not place.is_symlink():
        raise BadInput(
            f"{place} 不是链接，是模型本身：要删除它请用 models delete {name}",
            f"{place} is the model itself, not a link: to delete it, run models delete {name}",
        )
    target = agreed.origin(place)
    place.unlink()
    trust.withdraw(workspace, name)
    return target


def delete(workspace: Workspace, name: str) -> None:
    """Delete a model stored in the workspace: the demo model or a download. Raises BadInput for a link."""
    place = find(workspace, name).path
    if place.is_symlink():
        raise BadInput(
            f"{place} 是链接：用 models unlink {name} 取消链接，原文件不会被删除",
            f"{place} is a link: run models unlink {name}, which keeps the files",
        )
    # Renamed first, in one step: a half-deleted directory must not pass for a model.
    away = place.with_name(f".{name}.deleted")
    shutil.rmtree(away, ignore_errors=True)
    place.rename(away)
    shutil.rmtree(away)
    trust.withdraw(workspace, name)


def build_demo(workspace: Workspace) -> Job | None:
    """Start building the demo model; returns a build already in progress, or None if the model exists."""
    with starting(workspace.jobs, "demo_model"):
        place = workspace.model(DEMO)
        if place.exists() and look(place).whole:
            return None
        if running := live(workspace.jobs, "demo_model"):
            return running
        if place.exists():
            raise BadInput(
                f"{place} 不是完整的示例模型：请移走它再试",
                f"{place} is not a complete demo model: move it elsewhere and try again",
            )
        workspace.models.mkdir(exist_ok=True)
        # The command gets the path of the progress file from its environment.
        argv = module_command("core.engine.workers.demo_model", "--dialogues", DIALOGUES, "--out", place)
        return Job.start(
            workspace.jobs,
            "demo_model",
            argv,
            env=engine_environment(workspace),
            artefacts=[place / "model.safetensors"],
        )


def look(path: Path, known: Architectures | None = None, *, cache: Path | None = None) -> Model:
    """Inspect the model directory at `path` and return its facts, with all problems of its files.

    `known`: what the engine can load. `cache`: where to store slow results. Never raises: whatever the files do to a
    reader is a problem of this model only.
    """
    try:
        return _looked_at(path, known, cache)
    except Exception as error:  # noqa: BLE001 - what foreign files make readers raise cannot be listed
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        unread = Problem(
            severity="error",
            where=path.name,
            message=Text(f"它的文件读不出来（{why}）", f"its files cannot be read ({why})"),
            hint=Text("检查这个目录和它的权限，或取消链接", "check this directory and its permissions, or unlink it"),
        )
        return Model(name=path.name, path=path, problems=[unread])


def _settled(workspace: Workspace, path: Path, known: Architectures) -> Model:
    """Inspect the workspace's model at `path`, after making sure that this is what would be loaded."""
    trust.settle(workspace, path)
    return look(path, known, cache=workspace.cache)


def _looked_at(path: Path, known: Architectures | None, cache: Path | None) -> Model:
    config, weights, problems = examine(path)
    why_not = misfit(path, config, known) if config else None
    prompt = prompts.find(path, str(config.get("model_type") or ""), cache)
    if prompt.kind == "base" and (path / "demo_model.json").exists():
        # Demo models of earlier versions have no chat_template; this is the one they were trained with.
        prompt = prompts.of_demo(prompt)
    return Model(
        name=path.name,
        path=path,
        architecture=next(iter(config.get("architectures") or []), None),
        parameters=weights.parameters,
        bytes=weights.bytes,
        dtype=config.get("torch_dtype") or weights.dtype,
        layers=config.get("num_hidden_layers", 0),
        hidden_size=config.get("hidden_size", 0),
        vocab_size=config.get("vocab_size", 0),
        # Problems of the prompt template only matter for a trainable model.
        problems=[*problems, *([why_not] if why_not else [] if problems else prompt.problems)],
        misfit=why_not,
        prompt=prompt,
    )


def _refuse_broken(model: Model, zh: str, en: str) -> None:
    if not model.whole:
        worst = next(problem for problem in model.problems if problem.severity == "error")
        raise BadInput(
            f"{zh}：{worst.where}：{worst.message.zh}。{worst.hint.zh}",
            f"{en}: {worst.where}: {worst.message.en}; {worst.hint.en}",
        )
