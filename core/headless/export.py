"""`export …`: convert, merge, verify."""

from core.export import export
from core.ground.workspace import Workspace
from core.headless.command import RUN, Answer, Command, Options, Table, show_progress
from core.training import run as runs


def export_step(step: export.Step) -> Command:
    """The command for one step of the export."""

    def command(workspace: Workspace, options: Options) -> Answer:
        run = runs.find(workspace, options.run)
        job = export.start(workspace, run, [step], getattr(options, "checkpoint", None))
        found = export.finish(run, job, on_progress=show_progress)[step]
        if step == "verify":
            return {key: found[key] for key in ("max_abs_logit_diff", "same_tokens", "ok")}
        there = export.exported(run)
        made = there.adapter if step == "convert" else there.merged
        return {"path": made["path"], "seconds": found["seconds"], "bytes": made["bytes"]}

    return command


COMMANDS: Table = {
    "export convert": (export_step("convert"), [RUN, (("--checkpoint",), {})]),
    "export merge": (export_step("merge"), [RUN]),
    "export verify": (export_step("verify"), [RUN]),
}
