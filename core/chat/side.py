"""The sides of a chat: base model, a run's adapter, its checkpoints, other runs of the same base, a merged model.

A side only names files; `worker_client` asks it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.engine.presets import PromptTemplate
from core.export import export
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.models import model as models
from core.training import run as runs
from core.training.checkpoint import Checkpoint
from core.training.run import Run

BASE, TUNED, MERGED = "base", "tuned", "merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: the base model with `adapter` (a directory or checkpoint), a complete `model`, or the base model."""

    key: str
    run: str | None = None
    checkpoint: str | None = None
    adapter: Path | None = None
    model: Path | None = None
    # The prompt template: the base model's own chat template, or the one a run was trained with.
    template: PromptTemplate = field(default_factory=PromptTemplate)


def sides(workspace: Workspace, run: Run) -> dict[str, Side]:
    """Return all sides that can be compared in a chat about `run`, by key; base and tuned first."""
    own = models.look(run.model_path, cache=workspace.cache).prompt_template
    found = [Side(key=BASE, template=own), *_of_run(run)]
    for other in runs.every(workspace):
        same_base = other.model_path == run.model_path
        if other.id != run.id and same_base and (tuned := tuned_side(other)):
            found.append(replace(tuned, key=other.id))
    return {side.key: side for side in found}


def tuned_side(run: Run) -> Side | None:
    """Return the run's own side: its export, else its last checkpoint; None if it has neither."""
    there = export.exported(run)
    if export.full(run):
        if there.merged is None:
            return None
        name = Path(there.merged.get("checkpoint") or "").stem or None
        return Side(key=TUNED, run=run.id, checkpoint=name, model=run.merged, template=run.template)
    if there.adapter is not None:
        name = Path(there.adapter.get("checkpoint") or "").stem or None
        return Side(key=TUNED, run=run.id, checkpoint=name, adapter=run.adapter, template=run.template)
    last = next((found for found in reversed(run.checkpoints()) if found.whole), None)
    return checkpoint_side(run, last, TUNED) if last else None


def checkpoint_side(run: Run, checkpoint: Checkpoint, key: str | None = None) -> Side:
    """Return one checkpoint as a side. Raises BadInput for a full fine-tune, whose checkpoints have to be exported."""
    if export.full(run):
        raise BadInput(
            f"训练 {run.id} 是全量微调：先导出检查点 {checkpoint.name}，再对话或评分",
            f"the run {run.id} trained the full model: export its checkpoint {checkpoint.name} first",
        )
    name = checkpoint.name
    return Side(key=key or name, run=run.id, checkpoint=name, adapter=checkpoint.path, template=run.template)


def _of_run(run: Run) -> Iterator[Side]:
    tuned = tuned_side(run)
    if tuned is None:
        return
    yield tuned
    if tuned.model is None:
        for checkpoint in run.checkpoints():
            if checkpoint.whole and checkpoint.name != tuned.checkpoint:
                yield checkpoint_side(run, checkpoint)
        if export.exported(run).merged is not None:
            yield replace(tuned, key=MERGED, adapter=None, model=run.merged)
