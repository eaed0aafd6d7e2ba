"""`export …`: convert, merge, verify, or all three in one process; and the merged model as GGUF files."""

from typing import TYPE_CHECKING

from core.export import export
from core.export.gguf import KINDS
from core.export.verdict import causes, verdict
from core.ground.workspace import Workspace
from core.headless.command import RUN, Answer, Command, Options, Table, show_progress
from core.training import find as runs
from core.training.record import Run

if TYPE_CHECKING:
    from core.export.gguf.conversion import Made


def chosen(run: Run, named: str | None) -> str | None:
    """Return the checkpoint to export: the one given, else the best-scoring one, else None for the last."""
    if named or not (run.path / "scores").is_dir():
        return named
    from core.chat.score import best, of_checkpoints

    return best(of_checkpoints(run))


def export_step(step: export.Step) -> Command:
    """Return the command for one step of the export."""

    def command(workspace: Workspace, options: Options) -> Answer:
        run = runs.find(workspace, options.run)
        form = export.Form.of(getattr(options, "dtype", None), getattr(options, "max_shard_size", None))
        checkpoint = chosen(run, options.checkpoint) if step == "convert" else None
        job = export.start(workspace, run, [step], checkpoint, form)
        found = export.finish(run, job, on_progress=show_progress)[step]
        if step == "verify":
            return told(found)
        there = export.exported(run)
        made = there.adapter if step == "convert" and not export.full(run) else there.merged
        return {"path": made["path"], "seconds": found["seconds"], "bytes": made["bytes"]}

    return command


def export_all(workspace: Workspace, options: Options) -> Answer:
    """Run all export steps of the run, as one job."""
    run = runs.find(workspace, options.run)
    form = export.Form.of(options.dtype, options.max_shard_size)
    job = export.start(workspace, run, None, chosen(run, options.checkpoint), form)
    found = export.finish(run, job, on_progress=show_progress)
    made = export.exported(run).merged
    return {
        "checkpoint": job.spec["facts"]["checkpoint"],
        "path": made["path"],
        "bytes": made["bytes"],
        "seconds": {step: part["seconds"] for step, part in found.items()},
        **told(found["verify"]),
    }


def told(found: Answer) -> Answer:
    """Return the result of a verification, in figures and words."""
    keys = ("max_abs_logit_diff", "same_tokens", "ok")
    words = {"verdict": str(verdict(found)), "causes": [str(cause) for cause in causes(found)]}
    # Null for verifications of earlier versions, and after training on texts.
    return {**{key: found[key] for key in keys}, "prompt": found.get("prompt"), **words}


def export_gguf(workspace: Workspace, options: Options) -> Answer:
    """Convert the merged model to GGUF files; with --verify, check them with llama.cpp."""
    # The other commands do without what this takes to import.
    from core.chat import gguf_score
    from core.export.gguf import conversion
    from core.export.gguf.modelfile import first_question, name_of, ollama_lines

    run = runs.find(workspace, options.run)
    scored = gguf_score.questions(run) if options.verify else ()
    job = conversion.start(workspace, run, options.type, verify=options.verify, scored=scored)
    files = conversion.finish(run, job, on_progress=show_progress)
    name = name_of(run.nickname, run.id)
    return {
        "path": str(run.path / "gguf"),
        "seconds": sum(made.seconds for made in files),
        "bytes": sum(made.bytes for made in files),
        "files": [
            {
                "type": made.kind,
                "path": str(made.path),
                "bytes": made.bytes,
                "seconds": made.seconds,
                "verified": made.verified and _of_gguf(run, made),
                "ollama": ollama_lines(name, made.kind, first_question(run.questions)),
            }
            for made in files
        ],
    }


def _of_gguf(run: Run, made: "Made") -> Answer:
    from core.chat import gguf_score
    from core.export.gguf import verdict as of_gguf

    found, scores = made.verified, gguf_score.scores(run, made)
    both = scores and {side: one.to_json() for side, one in zip(("merged", "gguf"), scores, strict=True)}
    keys = ("same_prompts", "same_chat", "same_tokens", "near_ties", "share", "nickname", "ok", "seconds")
    return {**{key: found[key] for key in keys}, "verdict": str(of_gguf.verdict(found)), "scores": both}


CHECKPOINT = (("--checkpoint",), {"help": "e.g. iter_100; default: the best-scoring checkpoint, else the last"})
DTYPE = (("--dtype",), {"help": "float32, bfloat16 or float16; default: same as the base model"})
SHARDS = (("--max-shard-size",), {"help": "e.g. 2GB; default: same as the base model's files"})
TYPE = (
    ("--type",),
    {
        "nargs": "+",
        "choices": KINDS,
        "default": ["q8_0"],
        "help": "q8_0 (half the size), f16 (lossless), q4_k_m (a third; downloads llama.cpp to quantize: 34 MB)",
    },
)
ASKED = (
    ("--verify",),
    {"action": "store_true", "help": "verify the answers with llama.cpp (downloaded the first time: 34 MB)"},
)

COMMANDS: Table = {
    "export all": (export_all, [RUN, CHECKPOINT, DTYPE, SHARDS]),
    "export convert": (export_step("convert"), [RUN, CHECKPOINT, DTYPE, SHARDS]),
    "export merge": (export_step("merge"), [RUN, DTYPE, SHARDS]),
    "export verify": (export_step("verify"), [RUN]),
    "export gguf": (export_gguf, [RUN, TYPE, ASKED]),
}
