"""`export …`: convert, merge, verify."""

from core.export import export
from core.export.verdict import causes, verdict
from core.ground.workspace import Workspace
from core.headless.command import RUN, Answer, Command, Options, Table, show_progress
from core.training import run as runs


def export_step(step: export.Step) -> Command:
    """The command for one step of the export."""

    def command(workspace: Workspace, options: Options) -> Answer:
        run = runs.find(workspace, options.run)
        form = export.Form.of(getattr(options, "dtype", None), getattr(options, "max_shard_size", None))
        job = export.start(workspace, run, [step], getattr(options, "checkpoint", None), form)
        found = export.finish(run, job, on_progress=show_progress)[step]
        if step == "verify":
            keys = ("max_abs_logit_diff", "same_tokens", "ok")
            words = {"verdict": str(verdict(found)), "causes": [str(cause) for cause in causes(found)]}
            return {**{key: found[key] for key in keys}, **words}
        there = export.exported(run)
        made = there.adapter if step == "convert" and not export.full(run) else there.merged
        return {"path": made["path"], "seconds": found["seconds"], "bytes": made["bytes"]}

    return command


DTYPE = (("--dtype",), {"help": "float32, bfloat16 or float16; the base model's own if not given"})
SHARDS = (("--max-shard-size",), {"help": "such as 2GB; as the base model's files if not given"})

COMMANDS: Table = {
    "export convert": (export_step("convert"), [RUN, (("--checkpoint",), {}), DTYPE, SHARDS]),
    "export merge": (export_step("merge"), [RUN, DTYPE, SHARDS]),
    "export verify": (export_step("verify"), [RUN]),
}
