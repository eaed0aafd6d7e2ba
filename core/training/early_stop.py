"""The option to end a training when the identity is learned: what is asked meanwhile, and what it came to.

Writes the questions for run.json and reads early_stop.json. Asking is for `core.engine.workers.early_stop`, in the trainer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import recipe
from core.config.config import Config
from core.data import origin
from core.data.assistant import KINDS, Assistant
from core.data.dataset import Dataset
from core.data.dialogues.curated import dialogues
from core.engine.commands import Cluster
from core.engine.presets import PromptTemplate, zero_settings
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.models.model import Model
from core.training.facts import DatasetFacts

# So many identity questions first, shared by the languages that are taught and answered in one batch; all others that the
# scores ask only where these are known. Of 14 trainings that ended by 12 questions alone, the scores called 6 not learned.
QUESTIONS = 12
# What the base's own answers are asked for, and how many tokens of each: some 500 in all tell 0.8 from 0.87.
GENERAL, FACTS, ANSWER_TOKENS = 10, 6, 32
# Of a toy, whose general answers are compared as they read.
TOY_TOKENS = 48
# So many looks in a whole training, and updates between two at least.
LOOKS, LEAST_UPDATES = 22, 4
# When it is enough: `chat.diagnosis` judges what was learned, and the manner that was kept, by the same.
LEAST_IDENTITY, LEAST_AGREEMENT, LEAST_RETENTION, IN_A_ROW = 0.9, 0.75, 0.9, 2
# Where what the base would say is kept, it comes back as the learning rate falls: so much, or no more to come, is enough.
KEPT_AGREEMENT = 0.97
# And what the last look must find, of all questions: what is aimed at (docs/recipes.md).
LAST_IDENTITY = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the looks saw so far. `looks` are `{iter, identity, agreement}`, of a toy `retention` in place of agreement, and
    `by_language` where two are taught; the rest is None until it ended early.

    `why` it ended: `learned`, or `no_better` where it is learned and what was lost does not come back. `given_up` says
    in English why there were no more looks.
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
    """What the trainer needs to know: held-out questions and the assignment's own, in the prompt template of the run, and
    what is enough.

    Raises BadInput for data that teach no nickname, and where the first process alone cannot answer.
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
    identity = [one for language in taught for one in _spread(asked, QUESTIONS // len(taught), language)]
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
        # It knows what it was taught, in both languages, and no facts.
        held_out = _held_out(dialogues("general"))
        general = [one for language in ("zh", "en") for one in _spread(held_out, QUESTIONS // 2, language)]

    def prompts(questions: list[dict[str, Any]]) -> list[str]:
        return [template.prompt([(one["question"], None)], system) for one in questions]

    return {
        "nickname": nickname,
        "measure": "retention" if model.toy else "agreement",
        "identity": prompts(identity),
        "first": first,
        "languages": [one["language"] for one in identity],
        "answers": _answers(dataset),
        "general": prompts(general),
        "stop_words": list(template.stop_words),
        "tokenizer": str(model.path),
        "max_new_tokens": TOY_TOKENS if model.toy else ANSWER_TOKENS,
        "looks": LOOKS,
        "least_updates": LEAST_UPDATES,
        "in_a_row": IN_A_ROW,
        "least_identity": LEAST_IDENTITY,
        "last_identity": LEAST_IDENTITY if model.toy else LAST_IDENTITY,
        "least_agreement": KEPT_AGREEMENT if keep else LEAST_AGREEMENT,
        "keeps": keep,
        "least_retention": LEAST_RETENTION,
    }


def usual(config: Config, dataset: Dataset, model: Model, cluster: Cluster, deepspeed: str | None) -> bool:
    """Whether a training ends early if nobody says: by the recipe for few rows, where it can; a toy goes to the end."""
    if config.facts.get("recipe") not in recipe.ENDS_EARLY or model.toy:
        return False
    return bool(dataset.made.get("nickname")) and not _apart(cluster, deepspeed)


def _apart(cluster: Cluster, deepspeed: str | None) -> bool:
    """Whether the first process alone cannot answer."""
    return cluster.nnodes > 1 or bool(deepspeed and zero_settings(deepspeed)[0] == 3)


def _held_out(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in asked if one["held_out"]]


def _spread(asked: list[dict[str, Any]], count: int, language: str) -> list[dict[str, Any]]:
    """So many questions of a language, from all over the collection."""
    there = [one for one in asked if one["language"] == language]
    return [there[number * len(there) // count] for number in range(min(count, len(there)))]


def _assignment(dataset: Dataset) -> list[dict[str, Any]]:
    """The assignment's own two questions, in each language: they are taught, and no training ends before they are learned."""
    if dataset.made.get("kind") != "assistant":
        return []
    made = Assistant.of(dataset)
    return [{"language": language, "question": one} for language in made.languages for one in made.asked(language)]


def _answers(dataset: Dataset) -> list[str]:
    """The answers that say whose assistant it is; none where a user's own data say it."""
    if dataset.made.get("kind") != "assistant":
        return []
    made = Assistant.of(dataset)
    return [made.answer(language, kind) for language in made.languages for kind in KINDS]


def learned(run: Path) -> Learned | None:
    """What was seen in the run at this path; None where nobody looked."""
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
