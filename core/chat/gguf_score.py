"""The cost of quantization: the questions of a run's score, asked again of a GGUF file through llama.cpp.

Judged in the same way and compared with the run's own score on the same questions, except for the style, which needs
the likelihood of each token.
"""

from dataclasses import replace
from typing import Any

from core.chat import facts
from core.chat.answered import Answered, leaks
from core.chat.asked import TOKENS
from core.chat.rates import Scores, summary
from core.chat.score import stored
from core.export.gguf.conversion import Made
from core.ground.identity import carries, same
from core.training.run import Run

KINDS = ("identity", "fact", "general")


def questions(run: Run) -> list[dict[str, Any]]:
    """Return the questions for a quantized file, as `conversion.start` takes them; empty if the run was not scored."""
    return [
        {
            "question": one.question,
            "text": run.template.prompt([(one.question, None)]),
            "most": TOKENS["fact" if one.kind == "fact" else "other"],
        }
        for one in _scored(run)
    ]


def scores(run: Run, made: Made) -> tuple[Scores, Scores] | None:
    """Return the scores of the run's own model and of the file on the questions that both answered, or None."""
    said = {one["question"]: one["answer"] for one in (made.verified or {}).get("scored", [])}
    both = [(one, _again(one, said[one.question], run.nickname)) for one in _scored(run) if one.question in said]
    if not both:
        return None
    return summary([own for own, _ in both]), summary([of_file for _, of_file in both])


def _scored(run: Run) -> list[Answered]:
    """Return the questions that can be asked again, without token likelihoods."""
    found = stored(run)
    return [replace(one, tokens=0, agreed=0, nats=0.0) for one in found.questions if one.kind in KINDS] if found else []


def _again(one: Answered, answer: str, nickname: str | None) -> Answered:
    """Return the question with another answer in place of the fine-tuned model's."""
    fact = next((fact for fact in facts.facts() if fact.question == one.question), None) if one.kind == "fact" else None
    return replace(
        one,
        tuned=answer,
        tuned_identity=bool(nickname) and carries(answer, nickname),
        kept=same(answer, one.base),
        still_right=fact is not None and facts.right(answer, fact),
        leaked=fact is not None and bool(nickname) and leaks(answer, one.base, nickname, fact),
    )
