"""`doctor`, `tunnel`, `assignment` and `demo`: the machine, access to it, assignment progress, the full workflow."""

from dataclasses import asdict
from typing import Any

from core import demo
from core.engine import checkup
from core.engine.interpreter import versions
from core.ground.figures import duration, share
from core.ground.gpu import gpus
from core.ground.progress import progress_file, write_progress
from core.ground.text import environment_language
from core.ground.tunnel import Tunnel
from core.ground.workspace import Workspace
from core.headless.command import Answer, Options, Table, show_progress
from core.report.assignment import assignment


def doctor(workspace: Workspace, _: Options) -> Answer:
    found = checkup.checks(workspace)
    return {
        "checks": [{**asdict(check), "hint": str(check.hint) if check.hint else None} for check in found],
        "versions": versions(workspace),
        "gpus": gpus(),
    }


def tunnel_command(_: Workspace, options: Options) -> Answer:
    found = Tunnel.of(options.host, options.port, options.user, options.app_port, shared=options.shared)
    shells = ("terminal", "powershell")
    return {**{shell: found.command(shell) for shell in shells}, "address": found.address}


def assignment_steps(workspace: Workspace, _: Options) -> Answer:
    found = assignment(workspace)
    return {
        "steps": [asdict(step) for step in found.steps],
        "next": found.next.name if found.next else None,
        "missing": [step.name for step in found.missing],
    }


def demo_run(workspace: Workspace, options: Options) -> Answer:
    def tell(told: dict[str, Any]) -> None:
        if progress_file():
            write_progress(**told)
            return
        now = next((stage for stage in told["stages"] if stage["status"] == "running"), None)
        if now:
            show_progress.show(f"{now['name']}: {share(now['done'])}, {duration(now['seconds'])}")

    return demo.run(workspace, options.name, environment_language(), tell, real=options.real)


COMMANDS: Table = {
    "doctor": (doctor, []),
    "tunnel": (
        tunnel_command,
        [
            (
                ("--host",),
                {"required": True, "help": "a name, an address, or the complete ssh command from your provider"},
            ),
            (("--port",), {"default": "22"}),
            (("--user",), {"default": "root"}),
            (("--app-port",), {"type": int, "default": 8501}),
            (
                ("--shared",),
                {"action": "store_true", "help": "-g, as in the course: others on your network can connect"},
            ),
        ],
    ),
    "assignment": (assignment_steps, []),
    "demo": (
        demo_run,
        [
            (("--name",), {"required": True, "help": "your nickname"}),
            (("--real",), {"action": "store_true", "help": "use a real small model, in English (takes minutes)"}),
        ],
    ),
}
