"""Early stopping once the identity is learned: the questions asked during training, and the result.

Writes the questions for run.json and reads early_stop.json. The model is asked by `core.engine.workers.early_stop`, in
the training process.
"""

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from core.config import recipe
from core.config.config import Config
from core.data import origin
from core.data.assistant import KINDS, Assistant
from core.data.dataset import Dataset
from core.data.dialogues.curated import dialogues
from core.engine.cluster import Cluster
from core.engine.presets import PromptTemplate, zero_settings
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.models.model import Model
from core.training.facts import DatasetFacts

# Identity questions asked first, divided among the languages taught and answered in one batch; the others that the
# scores use are asked only if these are known. Of 14 runs stopped by 12 questions alone, the scores judged 6 not
# learned. The very first of them are asked alone, and the rest only once one is known: most of what a model says before
# is long. Not with `keep`, whose first check is late enough.
QUESTIONS, PROBE = 12, 4
# General questions and facts, and the tokens of each answer: some 500 tokens in all can tell 0.8 from 0.87.
GENERAL, FACTS, ANSWER_TOKENS = 10, 6, 32
# For a toy, whose general answers are compared as text.
TOY_TOKENS = 48
# Checks per complete run, and the minimum of updates between two; fewer with `keep`, where nearly all runs are complete.
LOOKS, KEPT_LOOKS, LEAST_UPDATES = 22, 4, 4
# The thresholds; `chat.diagnosis` applies the same to the identity learned and the style kept.
LEAST_IDENTITY, LEAST_AGREEMENT, LEAST_RETENTION, IN_A_ROW = 0.9, 0.75, 0.9, 2
# With `keep`, agreement recovers as the learning rate falls, up to the end: stop at nothing less. Of 10 runs on two
# real models, those that stopped when it no longer rose kept fewer facts than the complete ones (docs/recipes.md).
KEPT_AGREEMENT = 0.97
# The share of such a run before its first check: sooner, the learning rate is still near its highest, and nothing came
# back yet.
KEPT_EARLIEST = 1 / 3
# The identity score required of the last check, over all questions: the target in docs/recipes.md.
LAST_IDENTITY = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The checks so far.

    `looks` are `{iter, identity, agreement}`, for a toy with `retention` instead of agreement, and with `by_language`
    if two are taught; the other fields are None unless it stopped early. `why`: `learned`, or `no_better` if the
    identity is learned and agreement no longer recovers. `given_up` says in English why there were no more checks.
    """

    looks: list[dict[str, Any]]
    stopped_at: int | None
    why: str | None
    iterations_saved: int | None
    seconds_saved: float | None
    look_seconds: float
    given_up: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "stopped_at": self.stopped_at,
            "why": self.why,
            "iterations_saved": self.iterations_saved,
            "seconds_saved": self.seconds_saved,
            "look_seconds": self.look_seconds,
            "looks": self.looks,
        }


def plan(
    config: Config,
    dataset: Dataset,
    model: Model,
    template: PromptTemplate,
    cluster: Cluster,
    deepspeed: str | None,
    keep: bool = False,
) -> dict[str, Any]:
    """Return the plan for the trainer: questions in the run's prompt template, and thresholds.

    The questions are held-out ones and the assignment's own.

    Raises BadInput if the data teach no nickname, or if the first process alone cannot answer.
    """
    nickname = dataset.made.get("nickname")
    if not nickname:
        raise BadInput(
            f"数据集 {dataset.name} 里没有昵称，无法提前停止：去掉 --early-stop，或用 datasets assistant 建数据集",
            f"the dataset {dataset.name} teaches no nickname, so early stopping is not available: drop --early-stop, or create the data with datasets assistant",
        )
    if _apart(cluster, deepspeed):
        raise BadInput(
            "多台机器或 ZeRO-3 训练时不能提前停止：去掉 --early-stop",
            "early stopping is not available with several machines or ZeRO-3: drop --early-stop",
        )
    system = config.values()["SYSTEM"]
    system = system if isinstance(system, str) else ""

    taught, spoken = DatasetFacts.of(dataset).languages, origin.spoken(model)
    asked = [one for one in dialogues("identity")["questions"] if one["held_out"] and one["language"] in taught]
    spread = [_spread(asked, QUESTIONS // len(taught), language) for language in taught]
    # The languages take turns, so that the first few are of all of them.
    identity = [one for turn in zip_longest(*spread) for one in turn if one]
    first = len(identity)
    if not model.toy:
        identity += [one for one in asked if one not in identity] + _assignment(dataset)
    known = taught if spoken == "both" else (spoken,)
    general = [
        one
        for language in known
        for source, count in ((_held_out(dialogues("general")), GENERAL), (dialogues("facts"), FACTS))
        for one in _spread(source, count // len(known), language)
    ]
    if model.toy:
        # A toy knows what it was taught, in both languages, and no facts.
        held_out = _held_out(dialogues("general"))
        general = [one for language in ("zh", "en") for one in _spread(held_out, QUESTIONS // 2, language)]

    def prompts(questions: list[dict[str, Any]]) -> list[str]:
        return [template.prompt([(one["question"], None)], system) for one in questions]

    return {
        "nickname": nickname,
        "measure": "retention" if model.toy else "agreement",
        "identity": prompts(identity),
        "probe": first if keep else PROBE,
        "first": first,
        "languages": [one["language"] for one in identity],
        "answers": _answers(dataset),
        "general": prompts(general),
        "stop_words": list(template.stop_words),
        "tokenizer": str(model.path),
        "max_new_tokens": TOY_TOKENS if model.toy else ANSWER_TOKENS,
        "looks": KEPT_LOOKS if keep else LOOKS,
        "earliest": KEPT_EARLIEST if keep else 0.0,
        "least_updates": LEAST_UPDATES,
        "in_a_row": IN_A_ROW,
        "least_identity": LEAST_IDENTITY,
        "last_identity": LEAST_IDENTITY if model.toy else LAST_IDENTITY,
        "least_agreement": KEPT_AGREEMENT if keep else LEAST_AGREEMENT,
        "keeps": keep,
        "least_retention": LEAST_RETENTION,
    }


def usual(config: Config, dataset: Dataset, model: Model, cluster: Cluster, deepspeed: str | None) -> bool:
    """Return whether a run stops early by default: with a recipe for few rows, where possible; never for a toy."""
    if config.facts.get("recipe") not in recipe.ENDS_EARLY or model.toy:
        return False
    return bool(dataset.made.get("nickname")) and not _apart(cluster, deepspeed)


def _apart(cluster: Cluster, deepspeed: str | None) -> bool:
    """Return whether the first process alone cannot answer."""
    return cluster.nnodes > 1 or bool(deepspeed and zero_settings(deepspeed)[0] == 3)


def _held_out(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in asked if one["held_out"]]


def _spread(asked: list[dict[str, Any]], count: int, language: str) -> list[dict[str, Any]]:
    """Return `count` questions of a language, evenly spread over the collection."""
    there = [one for one in asked if one["language"] == language]
    return [there[number * len(there) // count] for number in range(min(count, len(there)))]


def _assignment(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the assignment's own two questions in each language: no run may stop before they are learned."""
    if dataset.made.get("kind") != "assistant":
        return []
    made = Assistant.of(dataset)
    return [{"language": language, "question": one} for language in made.languages for one in made.asked(language)]


def _answers(dataset: Dataset) -> list[str]:
    """Return the answers that state the identity; none for a user's own data."""
    if dataset.made.get("kind") != "assistant":
        return []
    made = Assistant.of(dataset)
    return [made.answer(language, kind) for language in made.languages for kind in KINDS]


def learned(run: Path) -> Learned | None:
    """Return the checks of the run at this path; None if there were none."""
    found = read_json(run / "early_stop.json")
    if not isinstance(found, dict):
        return None
    return Learned(
        looks=found.get("looks", []),
        stopped_at=found.get("stopped_at"),
        why=found.get("why", "learned") if found.get("stopped_at") else None,
        iterations_saved=found.get("iterations_saved"),
        seconds_saved=found.get("seconds_saved"),
        look_seconds=found.get("look_seconds", 0.0),
        given_up=found.get("given_up"),
    )
