"""What an export publishes of a run's prompt, and the exchanges by which that is proved. Text; the work is the engine's."""

from collections.abc import Sequence
from typing import Any

from core.config.settings.method import task
from core.engine.config_file import ConfigFile
from core.engine.presets import PromptTemplate
from core.models.chat_template import Exchange
from core.models.form import PROOFS
from core.training.run import Run


def talks(run: Run) -> bool:
    """Whether dialogues were trained, which have a prompt, and not plain texts."""
    return task(ConfigFile(run.config.read_text(encoding="utf-8"))) != "pretrain"


def plan_of(run: Run, questions: Sequence[str]) -> dict[str, Any] | None:
    """The template of the training, and `exchanges` that prove what is made of it; None where texts were trained."""
    if not talks(run):
        return None
    return {"template": run.template.to_json(), "exchanges": exchanges(run.template, questions)}


def exchanges(template: PromptTemplate, questions: Sequence[str]) -> list[dict[str, Any]]:
    """`questions` and odder exchanges: the messages that others ask with, and the text that the training makes of them."""
    asked = [Exchange(turns=[(question, None)]) for question in questions]
    return [
        {"messages": one.to_json()["messages"], "text": template.prompt(one.turns, one.system)}
        for one in (*asked, *PROOFS)
    ]
