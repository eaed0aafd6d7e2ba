"""`doctor` and `demo`: the machine, and the whole workflow in one command."""

from dataclasses import asdict
from typing import Any

from core import demo
from core.ground import environment
from core.ground.gpu import gpus
from core.ground.text import environment_language
from core.ground.workspace import Workspace
from core.headless.command import Answer, Options, Table, show_progress


def doctor(workspace: Workspace, _: Options) -> Answer:
    found = environment.checks(workspace.root)
    return {
        "checks": [{**asdict(check), "hint": str(check.hint) if check.hint else None} for check in found],
        "versions": environment.versions(),
        "gpus": gpus(),
    }


def demo_run(workspace: Workspace, options: Options) -> Answer:
    def tell(told: dict[str, Any]) -> None:
        now = next((stage for stage in told["stages"] if stage["status"] == "running"), None)
        if now:
            show_progress.show(f"{now['name']}: {100 * now['done']:.0f} %, {now['seconds']:.0f} s")

    return demo.run(workspace, options.name, environment_language(), demo.progress_writer() or tell)


COMMANDS: Table = {
    "doctor": (doctor, []),
    "demo": (demo_run, [(("--name",), {"required": True, "help": "the nickname"})]),
}
