"""The prompt that an export publishes, and the exchanges that prove it. Only texts; the engine does the work."""

from collections.abc import Sequence
from typing import Any

from core.config.settings.method import task
from core.engine.config_file import ConfigFile
from core.engine.presets import PromptTemplate
from core.models.chat_template import Exchange
from core.models.form import PROOFS
from core.training.record import Run


def talks(run: Run) -> bool:
    """Return whether dialogues were trained, which have a prompt, as opposed to plain texts."""
    return task(ConfigFile(run.config.read_text(encoding="utf-8"))) != "pretrain"


def plan_of(run: Run, questions: Sequence[str]) -> dict[str, Any] | None:
    """Return the training's template and `exchanges` that prove its conversion; None for a run on texts."""
    if not talks(run):
        return None
    return {"template": run.template.to_json(), "exchanges": exchanges(run.template, questions)}


def exchanges(template: PromptTemplate, questions: Sequence[str]) -> list[dict[str, Any]]:
    """Return `questions` and unusual exchanges: the messages, and the text that training makes of them."""
    asked = [Exchange(turns=[(question, None)]) for question in questions]
    return [
        {"messages": one.to_json()["messages"], "text": template.prompt(one.turns, one.system)}
        for one in (*asked, *PROOFS)
    ]
