"""What scores mean: not learned, learned, over-learned, broken; what to change next, and the config with that change."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from core.chat.score import Scores
from core.config import config as configs
from core.config.config import Config
from core.config.settings.fields import BY_NAME
from core.data import dataset as datasets
from core.engine.config_file import ConfigFile
from core.ground.text import Text
from core.ground.workspace import Workspace, free_name
from core.models import model as models
from core.training.run import Run

Verdict = Literal["learned", "not_learned", "over_learned", "broken"]
# As the product promises.
IDENTITY, RETENTION, PARROT = 0.9, 0.8, 0.1
# The warm-up stays as long as it was: a short one teaches nothing.
_FEWER_EPOCHS = {"max_epochs": 0.5, "warmup_ratio": 2}
_MORE_UPDATES = Text("增加 max_epochs，让参数更新次数翻倍", "more max_epochs: twice as many optimizer updates")
_EXPORT = Text("导出模型，写作业报告", "export the model and write the report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A verdict, in words, and what to do next; `changes` multiplies settings, `balanced` takes other data."""

    verdict: Verdict
    words: Text
    next_step: Text
    changes: dict[str, float] = field(default_factory=dict)
    balanced: bool = False


def diagnose(scores: Scores) -> Diagnosis:
    """The verdict on a run: identity at least 0.9, retention at least 0.8 and parrot at most 0.1 is learned.

    Of a run without an identity: retention at least 0.5, and more of the held-out part answered as given than before.
    """
    identity, retention, parrot = scores.identity["tuned"], scores.retention["tuned"], scores.parrot["tuned"]
    if parrot > PARROT:
        return Diagnosis(
            verdict="over_learned",
            words=Text("学过头了：不问身份时也报出身份", "over-learned: it names its identity unasked"),
            next_step=Text(
                "换用 balanced 数据集，或减少 max_epochs、lr", "use the balanced dataset, or lower max_epochs or lr"
            ),
            changes=_FEWER_EPOCHS,
            balanced=True,
        )
    if retention < 0.5:
        return Diagnosis(
            verdict="broken",
            words=Text("原来的能力丢了一大半", "most of what the model knew is gone"),
            next_step=Text("把 lr 降到一半，并用 balanced 数据集", "halve lr and use the balanced dataset"),
            changes={"lr": 0.5},
            balanced=True,
        )
    if not scores.counts["identity"]:
        return _of_held_out(scores)
    if identity < IDENTITY:
        return Diagnosis(
            verdict="not_learned",
            words=Text("身份还没有学牢", "the identity is not learned yet"),
            next_step=_MORE_UPDATES,
            changes={"max_epochs": 2},
        )
    if retention < RETENTION:
        return Diagnosis(
            verdict="over_learned",
            words=Text(
                "身份学会了，但有些原来的回答变了", "the identity is learned, but some of the old answers changed"
            ),
            next_step=Text("减少 max_epochs，或选更早的检查点", "lower max_epochs, or take an earlier checkpoint"),
            changes=_FEWER_EPOCHS,
        )
    return Diagnosis(
        verdict="learned",
        words=Text("学会了：认得自己是谁，原来会的也还会", "learned: it knows whose it is and kept what it knew"),
        next_step=_EXPORT,
    )


def _of_held_out(scores: Scores) -> Diagnosis:
    before, after = (f"{100 * scores.held_out[side]:.0f}" for side in ("base", "tuned"))
    if scores.held_out["tuned"] <= scores.held_out["base"]:
        return Diagnosis(
            verdict="not_learned",
            words=Text(
                f"留出的问题答得并不更像数据（{before}% → {after}%）",
                f"the held-out questions are not answered more like the data ({before} % → {after} %)",
            ),
            next_step=_MORE_UPDATES,
            changes={"max_epochs": 2},
        )
    return Diagnosis(
        verdict="learned",
        words=Text(
            f"留出的问题也答得更像数据了（{before}% → {after}%）",
            f"held-out questions, too, are answered more like the data ({before} % → {after} %)",
        ),
        next_step=_EXPORT,
    )


def changed_settings(run: Run, found: Diagnosis) -> dict[str, tuple[Any, Any]]:
    """What the next config changes, by setting: its value in the run, and the new one."""
    if _takes_other_data(run, found):
        return {"dataset": (run.facts.dataset.name, "balanced")}
    config, changes = ConfigFile(run.config.read_text(encoding="utf-8")), {}
    for name, factor in found.changes.items():
        value = BY_NAME[name].read(config)
        if isinstance(value, int | float) and not isinstance(value, bool):
            new = max(1, round(value * factor)) if isinstance(value, int) else float(f"{value * factor:.3g}")
            new = min(new, BY_NAME[name].most)
            if new != value:
                changes[name] = (value, new)
    if "max_epochs" in found.changes and "max_epochs" not in changes:
        changes.pop("warmup_ratio", None)
    return changes


def next_config(workspace: Workspace, run: Run, found: Diagnosis) -> Config:
    """The run's config with what the diagnosis changes, as a new one. Raises BadInput where model or data are gone."""
    config = run.facts.config
    model = models.find(workspace, run.facts.model.name).name
    datasets.find(workspace, run.facts.dataset.name)
    name = free_name(workspace.configs, f"{config.name[:56]}-next")
    if _takes_other_data(run, found):
        data = datasets.make_assistant(workspace, run.nickname or "", "balanced")
        return configs.make(workspace, model=model, dataset=data.name, recipe="fast", name=name)
    # As the run had it, by hand or not, but for the change.
    file = ConfigFile(run.config.read_text(encoding="utf-8"))
    for setting, (_, new) in changed_settings(run, found).items():
        file.set(BY_NAME[setting].place(file), new)
    base = (run.path / "base.py").read_text(encoding="utf-8")
    return configs.store(workspace, name, file.text, base, {**config.to_json(), "created": time.time()})


def _takes_other_data(run: Run, found: Diagnosis) -> bool:
    return found.balanced and bool(run.nickname) and run.facts.dataset.mix != "balanced"
