"""The models of a workspace: `models/<name>` is a link to a model directory, or the demo model built on the spot.

Tells whether a directory is whole by reading headers and sizes; loads no weights and imports no torch.
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
    """What the files of a model directory say."""

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
    # Why it cannot be trained though its files are complete; one of `problems` too.
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
        # Of a directory that may not be entered, os.path says that nothing is there, where Path raises.
        return os.path.exists(self.path / "demo_model.json")

    @property
    def toy(self) -> bool:
        """Whether it is as small as our demo model: it needs larger steps, and what it says by itself is worth nothing."""
        return self.parameters < TOY_PARAMETERS

    @property
    def prompt_template(self) -> PromptTemplate:
        """What its questions and answers are wrapped in, as its own chat template does."""
        return self.prompt.template

    @property
    def linked_to(self) -> Path | None:
        """What was linked; None for a model that lies in the workspace itself."""
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
    """All models of the workspace, by name, the broken ones with their problems."""
    known = architectures(workspace)
    there = (path for path in sorted(workspace.models.glob("*")) if not path.name.startswith("."))
    return [_settled(workspace, path, known) for path in there if path.suffix != ".partial"]


def find(workspace: Workspace, name: str) -> Model:
    """The model `name`. Raises BadInput where there is none."""
    path = workspace.model(name)
    if not os.path.lexists(path):
        raise BadInput(
            f"没有模型 {name}：先用 models demo 建示例模型，或用 models link 链接本地模型",
            f"there is no model {name}: build the demo model with models demo, or link one with models link",
        )
    return _settled(workspace, path, architectures(workspace))


def usable(workspace: Workspace, name: str) -> Model:
    """The model `name`: complete, of a kind that the engine trains, its code agreed to. Raises BadInput with what is in the way."""
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

    One that cannot be trained is linked and says so in `misfit`. Raises BadInput for what is no model's directory, and
    where files are missing. Agrees to none of its code: that is `trust.agree`.
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
    """Take the link away and leave what it points to alone. Returns that. Raises BadInput for what is no link."""
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
    """Delete a model that lies in the workspace itself: the demo model, a download. Raises BadInput for a link."""
    place = find(workspace, name).path
    if place.is_symlink():
        raise BadInput(
            f"{place} 是链接：用 models unlink {name} 取消链接，原文件不会被删除",
            f"{place} is a link: run models unlink {name}, which keeps the files",
        )
    # Out of the way in one step: what is half deleted must not pass for a model.
    away = place.with_name(f".{name}.deleted")
    shutil.rmtree(away, ignore_errors=True)
    place.rename(away)
    shutil.rmtree(away)
    trust.withdraw(workspace, name)


def build_demo(workspace: Workspace) -> Job | None:
    """Start building the demo model; the build that runs already where there is one, None where the model is there."""
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
        # The progress file is named to the command by its environment.
        argv = module_command("core.engine.workers.demo_model", "--dialogues", DIALOGUES, "--out", place)
        return Job.start(
            workspace.jobs,
            "demo_model",
            argv,
            env=engine_environment(workspace),
            artefacts=[place / "model.safetensors"],
        )


def look(path: Path, known: Architectures | None = None, *, cache: Path | None = None) -> Model:
    """What the model directory at `path` holds, and every problem that its files show.

    `known`: what the engine loads. `cache`: where to keep what took time. Raises nothing: whatever the files do to who
    reads them is a problem of this model alone.
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
    """The workspace's model at `path`: what is looked at is what would be loaded."""
    trust.settle(workspace, path)
    return look(path, known, cache=workspace.cache)


def _looked_at(path: Path, known: Architectures | None, cache: Path | None) -> Model:
    config, weights, problems = examine(path)
    why_not = misfit(path, config, known) if config else None
    prompt = prompts.find(path, str(config.get("model_type") or ""), cache)
    if prompt.kind == "base" and (path / "demo_model.json").exists():
        # Demo models of earlier versions brought no chat_template; they were built to speak this one.
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
        # How a model is spoken to matters where it can be.
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
