"""From a checkpoint to a model that stands alone: convert, merge, verify. Starts the engine's export worker as a job.

What the steps do is in `engine/export_worker`; the results lie in the run: `adapter/`, `merged/`, `verify.json`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.engine import model as models
from core.engine.commands import engine_command, engine_environment
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import locked, read_json, size_of, write_json
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.jobs.reasons import reason
from core.training.run import Run

Step = Literal["convert", "merge", "verify"]
STEPS: tuple[Step, ...] = ("convert", "merge", "verify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What there is of a run's export: the adapter and merged model if whole, the verdict if they were compared."""

    adapter: dict[str, Any] | None
    merged: dict[str, Any] | None
    verified: dict[str, Any] | None


def start(workspace: Workspace, run: Run, steps: Sequence[Step] = STEPS, checkpoint: str | None = None) -> Job:
    """Start `steps` for a run as one job. Raises BadInput where a step has nothing to work on, or one runs already."""
    with locked(run.path / ".export.lock"):
        busy = latest_job(run.jobs, "export")
        if busy is not None and busy.status().live:
            raise BadInput(f"训练 {run.id} 正在导出", f"the run {run.id} is being exported already")
        model = models.usable(workspace, run.facts["model"]["name"])
        options: list[str | Path] = ["--base", model.path, "--adapter", run.adapter, "--merged", run.merged]
        artefacts = []
        if "convert" in steps:
            chosen = run.checkpoint(checkpoint)
            options += ["--checkpoint", chosen.path]
            artefacts.append(run.adapter / "adapter_model.safetensors")
        elif not run.adapter.exists():
            raise BadInput(
                f"训练 {run.id} 还没有转换：先 export convert",
                f"the run {run.id} has no adapter yet: export convert first",
            )
        if "merge" in steps:
            artefacts.append(run.merged / "config.json")
        elif "verify" in steps and not run.merged.exists():
            raise BadInput(
                f"训练 {run.id} 还没有合并：先 export merge", f"the run {run.id} is not merged yet: export merge first"
            )
        prompts = [
            run.template.prompt([(question, None)]) for question in [*run.questions, "你好", "法国的首都是哪里？"]
        ]
        write_json(run.path / "prompts.json", {"prompts": prompts, "stop_words": list(run.template.stop_words)})
        options += ["--prompts", run.path / "prompts.json", "--results", run.path / "export"]
        return Job.start(
            run.jobs,
            "export",
            engine_command(workspace, "core.engine.export_worker", *steps, *options),
            env=engine_environment(workspace),
            artefacts=[*artefacts, *(run.path / "export" / f"{step}.json" for step in steps)],
            facts={"steps": list(steps)},
        )


def finish(run: Run, job: Job, on_progress: Callable[[Job], None] | None = None) -> dict[str, Any]:
    """Wait for an export job and return what each of its steps found, by step. Raises WorkFailed with the reason."""
    status = job.wait(on_progress=on_progress)
    if status is not Status.FINISHED:
        why = reason(job)
        raise WorkFailed(
            f"训练 {run.id} 导出没有完成：{why.zh if why else status}。日志：{job.log}",
            f"the export of {run.id} did not finish: {why.en if why else status}. Log: {job.log}",
        )
    return {step: read_json(run.path / "export" / f"{step}.json") for step in job.spec["facts"]["steps"]}


def exported(run: Run) -> Exported:
    """What of the export is there and whole."""
    adapter, merged, verified = (
        read_json(path)
        for path in (run.adapter / "export.json", run.merged / "export.json", run.path / "export" / "verify.json")
    )
    # An adapter that was converted anew makes the merged model stale, and a new merge the verdict.
    if adapter is None or (merged and merged["made"] < adapter["made"]):
        merged = None
    if merged is None or (verified and verified["made"] < merged["made"]):
        verified = None
    return Exported(
        adapter={**adapter, "path": str(run.adapter), "bytes": size_of(run.adapter)} if adapter else None,
        merged={**merged, "path": str(run.merged), "bytes": size_of(run.merged)} if merged else None,
        verified=verified,
    )
