"""Two or more runs side by side: what each was and reached, the settings that differ, and a diff of their configs."""

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.config.settings.fields import BY_NAME
from core.engine.config_file import ConfigFile, Source
from core.ground.errors import BadInput
from core.training.curves import Curves, average
from core.training.run import Run
from core.training.shelf import name_of

# The weight of the moving average used for comparison: single losses fluctuate.
WEIGHT = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of several runs.

    `facts` of each run; the `settings` that differ, by name, in the order of the runs; for every run but the first the
    unified `diffs` of its config against the first one's.
    """

    facts: list[dict[str, Any]]
    settings: dict[str, list[Any]]
    diffs: dict[str, str]


def compare(chosen: list[Run]) -> Comparison:
    """Compare runs. Raises BadInput for fewer than two, or the same one twice."""
    if len({run.id for run in chosen}) < max(2, len(chosen)):
        raise BadInput("请选择至少两个不同的训练来比较", "select at least two different runs to compare")
    first, *others = chosen
    texts = {run.id: run.config.read_text(encoding="utf-8") for run in chosen}
    values = [_settings(texts[run.id]) for run in chosen]
    diffs = {
        run.id: "\n".join(
            difflib.unified_diff(
                texts[first.id].splitlines(),
                texts[run.id].splitlines(),
                f"{first.id}/config.py",
                f"{run.id}/config.py",
                lineterm="",
            )
        )
        for run in others
    }
    settings = {name: [each.get(name) for each in values] for name in BY_NAME}
    return Comparison(
        facts=[facts(run) for run in chosen],
        settings={name: found for name, found in settings.items() if any(value != found[0] for value in found)},
        diffs=diffs,
    )


def facts(run: Run) -> dict[str, Any]:
    """Return what a run was and what it reached; None for unknown values."""
    curves = Curves(run.work_dir)
    curves.read()
    columns = curves.columns()
    told = run.job.progress if run.job else {}
    loss, smooth = _last(columns["loss"]), _last(average(columns["loss"], WEIGHT))
    state = run.state_at({"iter": int(columns["iter"][-1]), "loss": loss} if len(columns["iter"]) else None)
    pace = _median(columns["time"])
    tokens = told.get("tokens_per_iter")
    return {
        "run": run.id,
        "name": name_of(run),
        "status": str(state.status),
        "model": run.facts.model.name,
        "dataset": run.facts.dataset.name,
        "rows": run.facts.dataset.rows,
        "config": run.facts.config.name,
        "recipe": run.facts.config.recipe or None,
        "iter": state.iter,
        "max_iters": state.max_iters,
        "updates": told.get("updates"),
        "epoch": round(state.iter / state.iters_per_epoch, 2) if state.iters_per_epoch else None,
        "loss": loss,
        "loss_smoothed": smooth,
        "loss_least": float(np.nanmin(columns["loss"])) if np.isfinite(columns["loss"]).any() else None,
        "seconds": round(run.seconds, 1),
        "seconds_per_iter": pace,
        "tokens_per_s": tokens / pace if tokens and pace else None,
        "gpu_mb": _greatest(columns["memory"]),
    }


def _settings(text: str) -> dict[str, Any]:
    try:
        config = ConfigFile(text)
    except BadInput:
        # Edited by hand into invalid Python: the diff still shows it.
        return {}
    values = {name: field.read(config) for name, field in BY_NAME.items()}
    # Code is shown as written.
    return {name: value.code if isinstance(value, Source) else value for name, value in values.items()}


def _last(column: np.ndarray) -> float | None:
    return float(column[-1]) if len(column) and np.isfinite(column[-1]) else None


def _median(column: np.ndarray) -> float | None:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else None


def _greatest(column: np.ndarray) -> float | None:
    known = column[np.isfinite(column)]
    return float(known.max()) if len(known) else None
