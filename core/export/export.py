"""From a checkpoint to a standalone model: convert, merge, verify. Starts the engine's export worker as a job.

`engine/workers/export_worker` does the steps; the results are in the run: `adapter/`, `merged/`, `export/`. `verdict`
puts a comparison into words.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from core.engine.commands import engine_command, engine_environment
from core.engine.config_file import MISSING, ConfigFile
from core.engine.failures.finish import finish_job
from core.export.card import card
from core.export.prompt import plan_of
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import read_json, size_of, write_json
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.jobs.job import Job, latest_job
from core.jobs.single import only_one
from core.models import model as models
from core.models.fingerprint import fingerprint
from core.training.record import Run

Step = Literal["convert", "merge", "verify"]
STEPS: tuple[Step, ...] = ("convert", "merge", "verify")
DTYPES = ("float32", "bfloat16", "float16")
# Asked in addition to the run's own questions, about other topics than the identity.
_GENERAL = ("你好", "法国的首都是哪里？")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(MB|GB)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The format of the merged model: `dtype` and `shard_bytes`; None keeps those of the base model."""

    dtype: str | None = None
    shard_bytes: int | None = None

    @classmethod
    def of(cls, dtype: str | None = None, shard_size: str | None = None) -> "Form":
        """Parse the user's input, such as `bfloat16` and `2GB`. Raises BadInput if it is invalid."""
        if dtype is not None and dtype not in DTYPES:
            raise BadInput(
                f"精度 {dtype} 不可用：可用 {'、'.join(DTYPES)}",
                f"the precision {dtype} is invalid: use one of {', '.join(DTYPES)}",
            )
        if shard_size is None:
            return cls(dtype=dtype)
        found = _SIZE.fullmatch(shard_size.strip())
        count = int(float(found[1]) * (1e9 if found[2].upper() == "GB" else 1e6)) if found else 0
        if count < 1_000_000:
            raise BadInput(
                f"分片大小 {shard_size!r} 不可用：写成 2GB 或 500MB，至少 1MB",
                f"the shard size {shard_size!r} is invalid: write 2GB or 500MB; at least 1MB",
            )
        return cls(dtype=dtype, shard_bytes=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The parts of a run's export: adapter and merged model if complete, the verdict if they were compared."""

    adapter: dict[str, Any] | None
    merged: dict[str, Any] | None
    verified: dict[str, Any] | None


def full(run: Run) -> bool:
    """Return whether the run is a full fine-tune: convert then gives the standalone model, and nothing is merged."""
    # The config as mmengine built it, if it exists: the text may use code or another file.
    built = sorted(run.work_dir.glob("*/vis_data/config.py"))
    file = built[-1] if built else run.config
    return _trains_all(str(file), file.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _trains_all(config: str, _changed: int) -> bool:
    return ConfigFile(Path(config).read_text(encoding="utf-8")).get("model.lora") in (MISSING, None)


def steps_of(run: Run) -> tuple[Step, ...]:
    """Return the export steps of a run."""
    return ("convert", "verify") if full(run) else STEPS


def asked(run: Run) -> tuple[str, ...]:
    """Return the questions for verifying the merged model, in the order of the answers."""
    return (*run.questions, *_GENERAL)


def start(
    workspace: Workspace,
    run: Run,
    steps: Sequence[Step] | None = None,
    checkpoint: str | None = None,
    form: Form | None = None,
) -> Job:
    """Start `steps` for a run as one job. Raises BadInput if a step lacks its input or an export is in progress."""
    whole_model = full(run)
    steps = steps_of(run) if steps is None else steps
    busy = Text(f"训练 {run.id} 正在导出", f"the run {run.id} is already being exported")
    with only_one(run.jobs, "export", busy) as begin:
        sweep(run)
        model = models.usable(workspace, run.facts.model.name)
        if whole_model and "merge" in steps:
            raise BadInput(
                f"训练 {run.id} 是全量微调，不需要合并：转换出来的就是完整的模型",
                f"the run {run.id} trained the full model, so there is nothing to merge: export convert gives the complete model",
            )
        chosen, made_of = None, run.merged if whole_model else run.adapter
        artefacts = []
        if "convert" in steps:
            chosen = run.checkpoint(checkpoint)
            artefacts.append(run.merged / "config.json" if whole_model else run.adapter / "adapter_model.safetensors")
        elif not made_of.exists():
            raise BadInput(
                f"训练 {run.id} 还没有转换：先 export convert",
                f"the run {run.id} has no adapter yet: run export convert first",
            )
        else:
            used = (read_json(made_of / "export.json") or {}).get("checkpoint")
            chosen = next((c for c in run.checkpoints() if str(c.path) == used), None)
            if whole_model and chosen is None:
                raise BadInput(
                    f"导出所用的检查点 {used} 已不在：请重新转换",
                    f"the checkpoint {used} of the adapter was deleted: convert again",
                )
        if "merge" in steps:
            artefacts.append(run.merged / "config.json")
        elif "verify" in steps and "convert" not in steps and not run.merged.exists():
            raise BadInput(
                f"训练 {run.id} 还没有合并：先 export merge",
                f"the run {run.id} is not merged yet: run export merge first",
            )
        template, questions = run.template, asked(run)
        plan = {
            "kind": "full" if whole_model else "lora",
            "checkpoint": str(chosen.path) if chosen else None,
            "base": str(model.path),
            "adapter": str(run.adapter),
            "merged": str(run.merged),
            "results": str(run.path / "export"),
            "config": str(run.config),
            **asdict(form or Form()),
            "base_fingerprint": fingerprint(model.path),
            "trained_on": run.facts.model.fingerprint,
            "prompts": [template.prompt([(question, None)]) for question in questions],
            "stop_words": list(template.stop_words),
            "prompt": plan_of(run, questions),
            "card": card(run, chosen.name if chosen else None, whole=whole_model),
            "facts": {"run": run.id, "base_name": model.name, "versions": run.facts.versions},
        }
        # The plan cannot be in the job's directory: the job's command line already names it.
        file = run.path / "export" / "plan.json"
        write_json(file, plan)
        return begin(
            engine_command(workspace, "core.engine.workers.export_worker", *steps, "--plan", file),
            env=engine_environment(workspace),
            artefacts=[*artefacts, *(run.path / "export" / f"{step}.json" for step in steps)],
            facts={"steps": list(steps), "checkpoint": chosen.name if chosen else None},
        )


def finish(run: Run, job: Job, on_progress: Callable[[Job], None] | None = None) -> dict[str, Any]:
    """Wait for an export job and return the result of each step. Raises WorkFailed with the reason."""
    try:
        finish_job(
            job, Text(f"训练 {run.id} 导出没有完成", f"the export of {run.id} did not finish"), on_progress=on_progress
        )
    except WorkFailed:
        sweep(run)
        raise
    return {step: read_json(run.path / "export" / f"{step}.json") for step in job.spec["facts"]["steps"]}


def sweep(run: Run) -> None:
    """Remove what a killed export left incomplete. Does nothing while one is running."""
    last = latest_job(run.jobs, "export")
    if last is None or last.status().live:
        return
    for out in (run.adapter, run.merged):
        old = out.with_name(f"{out.name}.old.partial")
        if old.exists() and not out.exists():
            # Killed between the two renames: the older one is complete.
            old.rename(out)
        for left in (old, out.with_name(f"{out.name}.partial")):
            shutil.rmtree(left, ignore_errors=True)


def exported(run: Run) -> Exported:
    """Return the parts of the export that exist and are complete."""
    adapter, merged, verified = (
        read_json(path)
        for path in (run.adapter / "export.json", run.merged / "export.json", run.path / "export" / "verify.json")
    )
    adapter, merged = (
        made if _weights_in(path) else None for made, path in ((adapter, run.adapter), (merged, run.merged))
    )
    # A newer adapter makes the merged model stale, and a newer merge makes the verdict stale.
    if merged and not merged.get("checkpoint") and not _of_this_adapter(merged, adapter):
        merged = None
    if merged is None or (verified and verified["made"] < merged["made"]):
        verified = None
    return Exported(adapter=_with_size(adapter, run.adapter), merged=_with_size(merged, run.merged), verified=verified)


def _weights_in(path: Path) -> bool:
    """Return whether the weights are there, which take room and may have been deleted or moved."""
    return any(path.glob("*.safetensors")) or any(path.glob("*.bin"))


def _of_this_adapter(merged: dict[str, Any], adapter: dict[str, Any] | None) -> bool:
    if adapter is None:
        return False
    if "sha256" in adapter and "adapter_sha256" in merged:
        return adapter["sha256"] == merged["adapter_sha256"]
    return merged["made"] >= adapter["made"]


def _with_size(made: dict[str, Any] | None, path: Path) -> dict[str, Any] | None:
    return {**made, "path": str(path), "bytes": size_of(path)} if made else None
