"""`doctor`, `models …` and `demo`: the machine, the models, and the whole workflow in one command."""

from dataclasses import asdict
from typing import Any

from core import demo
from core.engine import model as models
from core.ground import environment
from core.ground.errors import WorkFailed
from core.ground.gpu import gpus
from core.ground.text import environment_language
from core.ground.workspace import Workspace
from core.headless.command import Answer, Options, Table, show_progress
from core.jobs.job import Status
from core.jobs.reasons import reason


def doctor(workspace: Workspace, _: Options) -> Answer:
    found = environment.checks(workspace.root)
    return {
        "checks": [{**asdict(check), "hint": str(check.hint) if check.hint else None} for check in found],
        "versions": environment.versions(),
        "gpus": gpus(),
    }


def models_demo(workspace: Workspace, _: Options) -> Answer:
    job = models.build_demo(workspace)
    if job is not None and job.wait(on_progress=show_progress) is not Status.FINISHED:
        why = reason(job)
        raise WorkFailed(
            f"示例模型没有建成：{why.zh if why else ''}。日志：{job.log}",
            f"the demo model was not built: {why.en if why else ''}. Log: {job.log}",
        )
    return models.find(workspace, models.DEMO).to_json()


def models_link(workspace: Workspace, options: Options) -> Answer:
    return models.link(workspace, options.path, options.name).to_json()


def models_check(workspace: Workspace, options: Options) -> Answer:
    return models.find(workspace, options.name).to_json()


def models_list(workspace: Workspace, _: Options) -> Answer:
    return {"models": [model.to_json() for model in models.every(workspace)]}


def demo_run(workspace: Workspace, options: Options) -> Answer:
    def tell(told: dict[str, Any]) -> None:
        now = next((stage for stage in told["stages"] if stage["status"] == "running"), None)
        if now:
            show_progress.show(f"{now['name']}: {100 * now['done']:.0f} %, {now['seconds']:.0f} s")

    return demo.run(workspace, options.name, environment_language(), demo.progress_writer() or tell)


COMMANDS: Table = {
    "doctor": (doctor, []),
    "models demo": (models_demo, []),
    "models link": (models_link, [(("path",), {}), (("--name",), {})]),
    "models check": (models_check, [(("name",), {})]),
    "models list": (models_list, []),
    "demo": (demo_run, [(("--name",), {"required": True, "help": "the nickname"})]),
}
