"""Interprets scores: not learned, learned, overfitted, damaged, broken; and the config with the change to try next.

A base model that knew facts is judged by the facts and the style that were kept; a toy that knew none, by its answers.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from core.chat.rates import LEARNED, Scores
from core.config import config as configs
from core.config.config import Config
from core.config.settings.fields import BY_NAME
from core.data import dataset as datasets
from core.data.dataset import Dataset
from core.engine import consent
from core.engine.config_file import ConfigFile
from core.export.export import exported
from core.ground.text import Text
from core.ground.workspace import Workspace, free_name
from core.models import model as models
from core.training.early_stop import LEAST_AGREEMENT
from core.training.run import Run

Verdict = Literal["learned", "not_learned", "over_learned", "damaged", "broken"]
# Thresholds promised by the product.
IDENTITY, RETENTION, PARROT = LEARNED, 0.8, 0.1
# From real models, in the runs of docs/identity.md: models whose answers still read like the base model's agreed with
# at least 0.76 of its tokens, the others (built-in general rows, the course's rows, ten times the learning rate) with
# at most 0.73. `rates` decides whether facts were lost. Early stopping uses the same agreement.
AGREEMENT, LEAK = LEAST_AGREEMENT, 0.05
# Share of cloze questions on trained pieces from which on a book counts as learned.
BOOK = 0.8
# Below these nobody would consider it the same model.
_LEAST_FACTS, _LEAST_AGREEMENT = 0.5, 0.5
# Warmup keeps its absolute length: a short one teaches nothing.
_FEWER_EPOCHS = {"max_epochs": 0.5, "warmup_ratio": 2}
_MORE_UPDATES = Text("增加 max_epochs，让参数更新次数翻倍", "raise max_epochs: twice as many optimizer updates")
_FEWER = Text("减少 max_epochs，或选更早的检查点", "lower max_epochs, or use an earlier checkpoint")
_EXPORT = Text("导出模型，生成作业报告", "export the model and build the report")
_WRITE = Text("生成作业报告", "build the report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A verdict in words and the next step; `changes` are factors for settings, `balanced` suggests other data."""

    verdict: Verdict
    words: Text
    next_step: Text
    changes: dict[str, float] = field(default_factory=dict)
    balanced: bool = False

    @property
    def advice(self) -> Text | None:
        """What would improve the model; None if it is fine, because the page then says what comes next."""
        return None if self.verdict == "learned" else self.next_step


def diagnose(scores: Scores, run: Run | None = None) -> Diagnosis:
    """Return the verdict on a run and what to change, omitting for a known run what is already the case.

    The identity is learned from 0.9 on. Overfitted: the identity is stated unasked, or the nickname leaks into facts.
    Damaged: known facts, or the style, were lost. A run without an identity is learned if more of the held-out part is
    answered as given than before. For a run on texts see `_of_texts`.
    """
    identity, parrot = scores.identity["tuned"], scores.parrot["tuned"]
    agreement = scores.manner["agreement"]
    if scores.knows and (_below(scores.facts["net"], _LEAST_FACTS) or _below(agreement, _LEAST_AGREEMENT)):
        return _broken(run, scores.knows)
    if parrot > PARROT or (scores.leak or 0.0) > LEAK:
        return _with_data(
            run,
            scores.knows,
            "over_learned",
            Text("学过头了：不问身份时也报出身份", "overfitted: it states its identity unasked")
            if parrot > PARROT
            else Text("学过头了：昵称混进了别的回答", "overfitted: the nickname appears in other answers"),
            _FEWER_EPOCHS,
        )
    if not scores.knows and scores.counts["retention"] and scores.retention["tuned"] < 0.5:
        return _broken(run, scores.knows)
    if scores.knows and (scores.lost_facts or _below(agreement, AGREEMENT)):
        return _with_data(
            run,
            scores.knows,
            "damaged",
            Text("伤到了原来的本领：以前答得对的知识丢了一些", "damaged: it lost some of the facts it knew")
            if scores.lost_facts
            else Text("伤到了原来的本领：说话方式变了很多", "damaged: its style of answering has changed a lot"),
            _FEWER_EPOCHS,
        )
    if scores.counts["cloze"]:
        return _of_texts(scores, run)
    if not scores.counts["identity"]:
        return _of_held_out(scores, run)
    if identity < IDENTITY:
        return Diagnosis(
            verdict="not_learned",
            words=Text("身份还没有学牢", "the identity is not learned yet"),
            next_step=_MORE_UPDATES,
            changes={"max_epochs": 2},
        )
    if not scores.knows and scores.retention["tuned"] < RETENTION:
        return Diagnosis(
            verdict="over_learned",
            words=Text("身份学会了，但有些原来的回答变了", "the identity is learned, but some other answers changed"),
            next_step=_FEWER,
            changes=_FEWER_EPOCHS,
        )
    return Diagnosis(
        verdict="learned",
        words=Text("学会了：认得自己是谁，原来会的也还会", "learned: it knows its identity and kept what it knew"),
        next_step=_after(run),
    )


def _after(run: Run | None) -> Text:
    """Return the next step after a success, unless it has already been done."""
    return _EXPORT if run is None or exported(run).merged is None else _WRITE


def _broken(run: Run | None, knows: bool) -> Diagnosis:
    return _with_data(
        run,
        knows,
        "broken",
        Text("原来的能力丢了一大半", "the model lost most of what it knew"),
        {"lr": 0.5},
    )


def _with_data(run: Run | None, knows: bool, verdict: Verdict, words: Text, changes: dict[str, float]) -> Diagnosis:
    """Suggest better data first, unless the run already has the best, else less training.

    If the base model `knows` nothing, its own answers are worthless as data.
    """
    steps = {
        "max_epochs": _FEWER,
        "lr": Text("把 lr 降到一半", "halve lr"),
    }
    then = next(steps[name] for name in steps if name in changes)
    data = run.facts.dataset if run else None
    if data and data.is_text:
        # Without an identity there is no other mix of data.
        return Diagnosis(verdict=verdict, words=words, next_step=then, changes=changes)
    if data is None or data.mix != "balanced":
        return Diagnosis(
            verdict=verdict,
            words=words,
            next_step=Text(f"换用 balanced 数据集；或{then.zh}", f"use the balanced dataset; or {then.en}"),
            changes=changes,
            balanced=True,
        )
    if knows and not data.made.get("replay_model"):
        # Only suggested, not done with a click: the base model has to answer first.
        then = Text(
            f"用 datasets assistant 为这个模型重新生成数据集，通用对话默认就用模型自己的回答；或{then.zh}",
            f"create the dataset again for this model with datasets assistant, so that its general conversations are the model's own answers; or {then.en}",
        )
    return Diagnosis(verdict=verdict, words=words, next_step=then, changes=changes)


def _below(value: float | None, least: float) -> bool:
    return value is not None and value < least


def _of_held_out(scores: Scores, run: Run | None) -> Diagnosis:
    before, after = (f"{100 * scores.held_out[side]:.0f}" for side in ("base", "tuned"))
    if scores.held_out["tuned"] <= scores.held_out["base"]:
        return Diagnosis(
            verdict="not_learned",
            words=Text(
                f"留出的问题答得并不更像数据（{before}% → {after}%）",
                f"held-out questions: answers are no closer to the data ({before} % → {after} %)",
            ),
            next_step=_MORE_UPDATES,
            changes={"max_epochs": 2},
        )
    return Diagnosis(
        verdict="learned",
        words=Text(
            f"留出的问题也答得更像数据了（{before}% → {after}%）",
            f"held-out questions: answers are closer to the data ({before} % → {after} %)",
        ),
        next_step=_after(run),
    )


def _of_texts(scores: Scores, run: Run | None) -> Diagnosis:
    """Return the verdict on a run on texts: trained pieces are known, and held-out ones read no worse."""
    known, read = scores.cloze["tuned"], scores.perplexity
    before, after = (f"{100 * scores.cloze[side]:.0f}" for side in ("base", "tuned"))
    cloze = Text(f"填空 {before}% → {after}%", f"cloze {before} % → {after} %")
    if read and read.higher:
        worse = Text(
            f"留出段落的困惑度升高了（{read.base:.1f} → {read.tuned:.1f}）",
            f"the perplexity of the held-out pieces rose ({read.base:.1f} → {read.tuned:.1f})",
        )
        return Diagnosis(
            verdict="over_learned",
            words=Text(f"死记硬背：{cloze.zh}，但{worse.zh}", f"learned by heart: {cloze.en}, but {worse.en}"),
            next_step=_FEWER,
            changes=_FEWER_EPOCHS,
        )
    if known < BOOK:
        return Diagnosis(
            verdict="not_learned",
            words=Text(f"书还没有读进去：{cloze.zh}", f"the book is not in yet: {cloze.en}"),
            next_step=_MORE_UPDATES,
            changes={"max_epochs": 2},
        )
    better = Text("", "")
    if read and read.lower:
        better = Text(
            f"，留出段落的困惑度 {read.base:.1f} → {read.tuned:.1f}",
            f", perplexity of the held-out pieces {read.base:.1f} → {read.tuned:.1f}",
        )
    return Diagnosis(
        verdict="learned",
        words=Text(f"书读进去了：{cloze.zh}{better.zh}", f"the book is in: {cloze.en}{better.en}"),
        next_step=_after(run),
    )


def changed_settings(run: Run, found: Diagnosis) -> dict[str, tuple[Any, Any]]:
    """Return the settings that the next config changes: the run's value and the new one."""
    if takes_other_data(run, found):
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


def next_config(workspace: Workspace, run: Run, found: Diagnosis, data: Dataset | None = None) -> Config:
    """Create a config with the diagnosis's changes, or one for the other `data` that it suggests.

    Raises BadInput if the model or data are gone.
    """
    config = run.facts.config
    model = models.find(workspace, run.facts.model.name).name
    datasets.find(workspace, run.facts.dataset.name)
    name = free_name(workspace.configs, f"{config.name[:56]}-next")
    if data is not None:
        return configs.make(workspace, model=model, dataset=data.name, recipe="fast", name=name)
    # The run's own text, including manual edits, with only this change.
    text = run.config.read_text(encoding="utf-8")
    file = ConfigFile(text)
    for setting, (_, new) in changed_settings(run, found).items():
        file.set(BY_NAME[setting].place(file), new)
    base = (run.path / "base.py").read_text(encoding="utf-8")
    facts = {**config.to_json(), "created": time.time()}
    return configs.store(workspace, name, file.text, base, facts, agreed=consent.agreed(workspace, text))


def takes_other_data(run: Run, found: Diagnosis) -> bool:
    """Return whether the advice is to use another dataset."""
    return found.balanced and bool(run.nickname) and run.facts.dataset.mix != "balanced"
