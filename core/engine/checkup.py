"""The full check of an engine: that everything loads, the CUDA devices it sees, `xtuner version` and `help`.

Takes half a minute, so pages run it as a job; the result is kept until the engine's packages change.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine import interpreter
from core.engine.ask import answer_of
from core.engine.commands import engine_environment, module_command
from core.engine.interpreter import WORKER, Engine
from core.ground import environment
from core.ground.environment import Check
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import read_json, write_json
from core.ground.text import Language, Text, speaking
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.jobs.single import only_one

JOB = "engine"
MOST_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """The result of loading everything. `loads`: module, ok, seconds, error; `cuda`: available, devices, error."""

    time: float
    loads: list[dict[str, Any]]
    cuda: dict[str, Any]
    xtuner_version: str
    xtuner_help: str

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [load for load in self.loads if not load["ok"]]

    def to_json(self) -> dict[str, Any]:
        return {
            "loads": self.loads,
            "cuda": self.cuda,
            "xtuner_version": self.xtuner_version,
            "xtuner_help": self.xtuner_help,
        }


def checks(workspace: Workspace) -> list[Check]:
    """Return the checks of the machine, of the engine's packages and of the engine itself."""
    try:
        engine = interpreter.in_use(workspace)
    except BadInput as problem:
        lost = Check(name="engine", ok=False, value="-", hint=problem.text)
        return [*environment.checks(workspace.root), lost]
    found = last(workspace, engine)
    seen = found.cuda["devices"] if found else None
    machine = environment.checks(workspace.root, engine=engine.versions, torch_cuda=engine.torch_cuda, seen=seen)
    return [*machine, _engine_check(engine, found)]


def _engine_check(engine: Engine, found: Checkup | None) -> Check:
    hint = interpreter.unfit(engine)
    ok = hint is None
    if ok and found is None:
        hint = Text(
            "还没有完整检查：运行 engine check，约半分钟", "not fully checked yet: run engine check (half a minute)"
        )
    if ok and found is not None and found.failed:
        first, ok = found.failed[0], False
        hint = Text(
            f"import {first['module']} 失败：{first['error']}", f"import {first['module']} fails: {first['error']}"
        )
    return Check(name="engine", ok=ok, value=f"xtuner {engine.versions.get('xtuner')} · {engine.python}", hint=hint)


def last(workspace: Workspace, engine: Engine) -> Checkup | None:
    """Return the last full check of `engine`; None if there was none since its packages changed."""
    found = read_json(_file(workspace, engine.python))
    if not isinstance(found, dict) or found.get("stamp") != engine.stamp:
        return None
    return Checkup(**{name: found[name] for name in Checkup.__dataclass_fields__})


def run(workspace: Workspace, engine: Engine) -> Checkup:
    """Run the full check of `engine` now. Raises WorkFailed if it does not complete."""
    result = _file(workspace, engine.python)
    result.parent.mkdir(parents=True, exist_ok=True)
    fresh = result.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    path = os.pathsep.join([os.path.dirname(engine.python), os.environ.get("PATH", os.defpath)])
    variables = {**engine_environment(workspace), "PATH": path}
    argv = [engine.python, str(WORKER), str(fresh), "--load"]
    answer = answer_of(argv, seconds=MOST_SECONDS, result=fresh, env=variables)
    fresh.unlink(missing_ok=True)
    found = answer.content
    if found is None:
        raise WorkFailed(
            f"{engine.python} 的检查没有完成：{answer.said}", f"{engine.python} was not checked: {answer.said}"
        )
    write_json(result, {**found, "stamp": engine.stamp})
    return Checkup(**{name: found[name] for name in Checkup.__dataclass_fields__})


def adopt(workspace: Workspace, engine: Engine) -> Checkup:
    """Run the full check and make `engine` the workspace's. Raises BadInput if a module does not load."""
    found = run(workspace, engine)
    if found.failed:
        first = found.failed[0]
        raise BadInput(
            f"{engine.python} 不能用来训练：import {first['module']} 失败：{first['error']}。请在这个环境里修好它，或换一个",
            f"{engine.python} cannot train: import {first['module']} fails: {first['error']}; fix it there, or choose another",
        )
    interpreter.use(workspace, engine)
    return found


def start(workspace: Workspace, engine: Engine, *, adopted: bool = False, language: Language | None = None) -> Job:
    """Start the full check as a job; `adopted` then makes it the workspace's engine. Raises BadInput if one runs."""
    busy = Text("引擎正在检查：等它结束", "an engine check is running: wait for it")
    with only_one(workspace.jobs, JOB, busy) as begin:
        verb = ["use", engine.python] if adopted else ["check"]
        argv = module_command("core", "engine", *verb, "--workspace", workspace.root, "--json")
        return begin(argv, env=speaking(language), facts={"python": engine.python, "adopted": adopted})


def _file(workspace: Workspace, python: str) -> Path:
    return workspace.cache / "engines" / f"{hashlib.sha256(python.encode()).hexdigest()[:16]}-loaded.json"
