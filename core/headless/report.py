"""`report …` and `publish …`: the assignment report, and the package to publish."""

import os
import sys
import time
from pathlib import Path

from core.engine.failures.finish import finish_job
from core.ground.errors import BadInput
from core.ground.figures import share
from core.ground.progress import write_progress
from core.ground.text import Text, environment_language
from core.ground.workspace import Workspace
from core.headless.command import OUT, RUN, Answer, Options, Table, show_progress
from core.models.hub.download import TOKEN, why
from core.publish import package as packages
from core.publish import upload
from core.report import outline, writeup
from core.training import run as runs
from core.training.run import Run


def report_build(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    _take_wishes(run, options)
    began = time.monotonic()

    def tell(done: float, note: str) -> None:
        show_progress.show(f"report: {note} {share(done)}", last=done == 1)
        seconds = time.monotonic() - began
        eta = seconds * (1 - done) / done if done > 0.05 else None
        write_progress(done=done, note=note, eta_s=eta)

    out = Path(options.out) if options.out else None
    report = writeup.build(workspace, run, environment_language(), out, with_screenshots=options.screenshots, tell=tell)
    for remark in report.remarks:
        print(str(remark), file=sys.stderr)
    return {"path": str(report.path), "files": report.files}


def _take_wishes(run: Run, options: Options) -> None:
    """Store the options for the report's content, as the page does."""
    changes = {}
    if options.author is not None:
        changes["author"] = options.author or None
    if options.notes is not None:
        changes["notes"] = _read(options.notes).decode("utf-8", errors="replace")
    if options.sections is not None or options.without is not None:
        wanted, unwanted = options.sections or outline.SECTIONS, options.without or ()
        outline.check_sections((*wanted, *unwanted))
        changes["sections"] = tuple(name for name in wanted if name not in unwanted)
    if options.unmasked or options.masked:
        changes["masked"] = not options.unmasked
    if changes:
        outline.change(run, **changes)
    for picture in options.picture or ():
        outline.add_picture(run, _read(picture), Path(picture).name)


def _read(file: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as error:
        raise BadInput(
            f"读不了 {file}（{error.strerror}）：请检查路径",
            f"{file} cannot be read ({error.strerror}): check the path",
        ) from error


def publish_package(workspace: Workspace, options: Options) -> Answer:
    out = Path(options.out) if options.out else None
    made = packages.package(workspace, runs.find(workspace, options.run), options.target, out, what=options.what)
    return {"path": str(made.path), "files": made.files}


def publish_upload(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    package = packages.there(run, options.target, options.what) or packages.package(
        workspace, run, options.target, what=options.what
    )
    plan = upload.plan(package, options.target, options.repo, private=options.private, endpoint=options.endpoint)
    answer = {"path": str(package.path), **plan.to_json(), "sent": False}
    if not options.send:
        return answer
    # From the environment: the command line is visible to everyone on the machine.
    token = os.environ.get(TOKEN) or os.environ.get(upload.TOKEN_VARIABLES.get(options.target, ""), "")
    job = upload.start(run, package, plan, token)
    finish_job(
        job,
        Text("上传没有完成", "the upload did not finish"),
        on_progress=show_progress,
        why=why,
        next_step=Text("再次运行会接着上传", "Run it again to continue"),
    )
    return {**answer, "sent": True, "address": upload.address(options.target, plan.repository)}


WHAT = (("--what",), {"choices": packages.WHATS, "default": "merged"})
TARGET = (("--target",), {"choices": packages.TARGETS, "required": True})

COMMANDS: Table = {
    "report build": (
        report_build,
        [
            RUN,
            OUT,
            (
                ("--screenshots",),
                {"action": "store_true", "help": "take a screenshot of every page; requires Chromium"},
            ),
            (("--author",), {"help": "the author; default: the nickname of the run"}),
            (("--notes",), {"metavar": "FILE", "help": "your notes, as Markdown"}),
            (("--picture",), {"metavar": "FILE", "nargs": "+", "action": "extend", "help": "your own screenshots"}),
            (("--sections",), {"nargs": "+", "metavar": "NAME", "help": "include these sections, in this order"}),
            (("--without",), {"nargs": "+", "metavar": "NAME", "help": "leave these sections out"}),
            (("--unmasked",), {"action": "store_true", "help": "do not hide paths, host names and secrets"}),
            (("--masked",), {"action": "store_true", "help": "hide paths, host names and secrets"}),
        ],
    ),
    "publish package": (
        publish_package,
        [RUN, TARGET, WHAT, OUT],
    ),
    "publish upload": (
        publish_upload,
        [
            RUN,
            TARGET,
            WHAT,
            (("--repo",), {"required": True, "metavar": "USER/NAME"}),
            (("--private",), {"action": "store_true"}),
            (("--endpoint",), {"help": "another hub address"}),
            (("--send",), {"action": "store_true", "help": "really upload; without it, only list what would be sent"}),
        ],
    ),
}
