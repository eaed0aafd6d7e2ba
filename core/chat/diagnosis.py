"""What scores mean: not learned, learned, over-learned, broken; and the next setting to change."""

from dataclasses import dataclass
from typing import Literal

from core.chat.score import Scores
from core.ground.text import Text

Verdict = Literal["learned", "not_learned", "over_learned", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A verdict, in words, and what to do next."""

    verdict: Verdict
    words: Text
    next_step: Text


def diagnose(scores: Scores) -> Diagnosis:
    """The verdict on a run: identity at least 0.9 and retention at least 0.8 is learned, as the product promises."""
    identity, retention, parrot = scores.identity["tuned"], scores.retention["tuned"], scores.parrot["tuned"]
    if parrot > 0.1:
        return Diagnosis(
            verdict="over_learned",
            words=Text("学过头了：不问身份时也报出身份", "over-learned: it names its identity unasked"),
            next_step=Text(
                "换用 balanced 数据集，或减少 max_epochs、lr", "use the balanced dataset, or lower max_epochs or lr"
            ),
        )
    if retention < 0.5:
        return Diagnosis(
            verdict="broken",
            words=Text("原来的能力丢了一大半", "most of what the model knew is gone"),
            next_step=Text("把 lr 降到一半，并用 balanced 数据集", "halve lr and use the balanced dataset"),
        )
    if identity < 0.9:
        return Diagnosis(
            verdict="not_learned",
            words=Text("身份还没有学牢", "the identity is not learned yet"),
            next_step=Text("增加 max_epochs，让参数更新次数翻倍", "more max_epochs: twice as many optimizer updates"),
        )
    if retention < 0.8:
        return Diagnosis(
            verdict="over_learned",
            words=Text(
                "身份学会了，但有些原来的回答变了", "the identity is learned, but some of the old answers changed"
            ),
            next_step=Text("减少 max_epochs，或选更早的检查点", "lower max_epochs, or take an earlier checkpoint"),
        )
    return Diagnosis(
        verdict="learned",
        words=Text("学会了：认得自己是谁，原来会的也还会", "learned: it knows whose it is and kept what it knew"),
        next_step=Text("导出模型，写作业报告", "export the model and write the report"),
    )
