"""`report …` and `publish …`: the writeup, and the package to publish."""

from pathlib import Path

from core.ground.text import environment_language
from core.ground.workspace import Workspace
from core.headless.command import OUT, RUN, Answer, Options, Table
from core.report import publish, writeup
from core.training import run as runs


def report_build(workspace: Workspace, options: Options) -> Answer:
    out = Path(options.out) if options.out else None
    report = writeup.build(workspace, runs.find(workspace, options.run), environment_language(), out)
    return {"path": str(report.path), "files": report.files}


def publish_package(workspace: Workspace, options: Options) -> Answer:
    out = Path(options.out) if options.out else None
    made = publish.package(runs.find(workspace, options.run), options.target, out)
    return {"path": str(made.path), "files": made.files}


COMMANDS: Table = {
    "report build": (report_build, [RUN, OUT]),
    "publish package": (
        publish_package,
        [RUN, (("--target",), {"choices": publish.TARGETS, "required": True}), OUT],
    ),
}
