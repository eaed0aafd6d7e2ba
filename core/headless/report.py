"""`report …` and `publish …`: the writeup, and the package to publish."""

import os
import sys
import time
from pathlib import Path

from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.text import environment_language
from core.ground.workspace import Workspace
from core.headless.command import OUT, RUN, Answer, Options, Table, show_progress
from core.report import outline, publish, writeup
from core.training import run as runs
from core.training.run import Run


def report_build(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    _take_wishes(run, options)
    began = time.monotonic()

    def tell(done: float, note: str) -> None:
        show_progress.show(f"report: {note} {100 * done:.0f} %", last=done == 1)
        if path := os.environ.get("XTUNER_STUDIO_PROGRESS"):
            seconds = time.monotonic() - began
            eta = seconds * (1 - done) / done if done > 0.05 else None
            write_json(Path(path), {"done": done, "note": note, "eta_s": eta})

    out = Path(options.out) if options.out else None
    report = writeup.build(workspace, run, environment_language(), out, with_screenshots=options.screenshots, tell=tell)
    for remark in report.remarks:
        print(str(remark), file=sys.stderr)
    return {"path": str(report.path), "files": report.files}


def _take_wishes(run: Run, options: Options) -> None:
    """Keep what the options say of the report's content, as the page does."""
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
    made = publish.package(runs.find(workspace, options.run), options.target, out)
    return {"path": str(made.path), "files": made.files}


COMMANDS: Table = {
    "report build": (
        report_build,
        [
            RUN,
            OUT,
            (("--screenshots",), {"action": "store_true", "help": "take a picture of every page; needs Chromium"}),
            (("--author",), {"help": "the name on the report; default: the nickname of the run"}),
            (("--notes",), {"metavar": "FILE", "help": "your own words, as Markdown"}),
            (("--picture",), {"metavar": "FILE", "nargs": "+", "action": "extend", "help": "your own screenshots"}),
            (("--sections",), {"nargs": "+", "metavar": "NAME", "help": "these sections, in this order"}),
            (("--without",), {"nargs": "+", "metavar": "NAME", "help": "leave these sections out"}),
            (("--unmasked",), {"action": "store_true", "help": "paths, host names and secrets as they are"}),
            (("--masked",), {"action": "store_true", "help": "hide them again"}),
        ],
    ),
    "publish package": (
        publish_package,
        [RUN, (("--target",), {"choices": publish.TARGETS, "required": True}), OUT],
    ),
}
