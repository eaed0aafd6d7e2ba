"""The option to end a training when the identity is learned: what is asked meanwhile, and what it came to.

Writes the questions for run.json and reads early_stop.json. Asking is for `core.engine.workers.early_stop`, in the trainer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config.config import Config
from core.data.dataset import Dataset
from core.data.dialogues.curated import dialogues
from core.engine.commands import Cluster
from core.engine.presets import PromptTemplate, zero_settings
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.models.model import Model

# So many questions of a kind: enough to tell 0.9, and answered in one batch.
QUESTIONS = 12
# So many looks in a whole training.
LOOKS = 22
LEAST_IDENTITY, LEAST_RETENTION, IN_A_ROW = 0.9, 0.9, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the looks saw so far. `looks` are `{iter, identity, retention}`; the rest is None until it ended early.

    `given_up` says in English why there were no more looks.
    """

    looks: list[dict[str, Any]]
    stopped_at: int | None
    iterations_saved: int | None
    seconds_saved: float | None
    look_seconds: float
    given_up: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "stopped_at": self.stopped_at,
            "iterations_saved": self.iterations_saved,
            "seconds_saved": self.seconds_saved,
            "look_seconds": self.look_seconds,
            "looks": self.looks,
        }


def plan(
    config: Config, dataset: Dataset, model: Model, template: PromptTemplate, cluster: Cluster, deepspeed: str | None
) -> dict[str, Any]:
    """What the trainer needs to know: held-out questions in the prompt template of the run, and what is enough.

    Raises BadInput for data that teach no nickname, and where the first process alone cannot answer.
    """
    nickname = dataset.made.get("nickname")
    if not nickname:
        raise BadInput(
            f"数据集 {dataset.name} 里没有昵称，无法提前停止：去掉 --early-stop，或用 datasets assistant 建数据集",
            f"the data {dataset.name} teach no nickname, so there is no early stop: leave out --early-stop, "
            "or make the data with datasets assistant",
        )
    if cluster.nnodes > 1 or (deepspeed and zero_settings(deepspeed)[0] == 3):
        raise BadInput(
            "多台机器或 ZeRO-3 训练时不能提前停止：去掉 --early-stop",
            "no early stop with several machines or ZeRO-3: leave out --early-stop",
        )
    system = config.values()["SYSTEM"]
    system = system if isinstance(system, str) else ""

    def prompts(asked: list[dict[str, Any]]) -> list[str]:
        held_out = [one["question"] for one in asked if one["held_out"]]
        step = len(held_out) / QUESTIONS
        # Spread over all kinds, in both languages.
        chosen = [held_out[int(number * step)] for number in range(QUESTIONS)]
        return [template.prompt([(question, None)], system) for question in chosen]

    return {
        "nickname": nickname,
        "identity": prompts(dialogues("identity")["questions"]),
        "general": prompts(dialogues("general")),
        "stop_words": list(template.stop_words),
        "tokenizer": str(model.path),
        "max_new_tokens": 48,
        "looks": LOOKS,
        "in_a_row": IN_A_ROW,
        "least_identity": LEAST_IDENTITY,
        "least_retention": LEAST_RETENTION,
    }


def learned(run: Path) -> Learned | None:
    """What was seen in the run at this path; None where nobody looked."""
    found = read_json(run / "early_stop.json")
    if not isinstance(found, dict):
        return None
    return Learned(
        looks=found.get("looks", []),
        stopped_at=found.get("stopped_at"),
        iterations_saved=found.get("iterations_saved"),
        seconds_saved=found.get("seconds_saved"),
        look_seconds=found.get("look_seconds", 0.0),
        given_up=found.get("given_up"),
    )
