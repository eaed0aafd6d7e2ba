"""What an export publishes of a run's prompt, and the exchanges by which that is proved. Text; the work is the engine's."""

from collections.abc import Sequence
from typing import Any

from core.config.settings.method import task
from core.engine.config_file import ConfigFile
from core.models.chat_template import Exchange
from core.models.form import PROOFS
from core.training.run import Run


def plan_of(run: Run, questions: Sequence[str]) -> dict[str, Any] | None:
    """The template of the training with `questions` and odder exchanges as it made them; None where texts were trained."""
    if task(ConfigFile(run.config.read_text(encoding="utf-8"))) == "pretrain":
        return None
    asked = [Exchange(turns=[(question, None)]) for question in questions]
    return {
        "template": run.template.to_json(),
        "exchanges": [
            {"messages": one.to_json()["messages"], "text": run.template.prompt(one.turns, one.system)}
            for one in (*asked, *PROOFS)
        ],
    }
