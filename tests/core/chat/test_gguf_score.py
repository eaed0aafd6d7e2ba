"""The cost of quantization is measured with the score's questions, judged in the same way."""

from dataclasses import replace

import pytest

from core.chat import gguf_score
from core.chat.score import stored
from core.export.gguf.conversion import Made


def made(run, answers):
    """Return a file that llama.cpp answered with."""
    said = [{"question": question, "answer": answer} for question, answer in answers.items()]
    return Made(kind="q8_0", path=run.path, bytes=1, seconds=1.0, verified={"scored": said})


def test_the_questions_of_the_score_in_the_prompt_of_the_training(exported_run):
    asked = gguf_score.questions(exported_run)
    own = stored(exported_run).questions
    assert [one["question"] for one in asked] == [one.question for one in own]
    for one in asked:
        assert one["text"] == exported_run.template.prompt([(one["question"], None)])
    assert {one["most"] for one in asked} <= {20, 48}


def test_a_run_that_was_not_scored_has_none(finished_run):
    assert gguf_score.questions(finished_run) == []
    assert gguf_score.scores(finished_run, made(finished_run, {"q": "a"})) is None


def test_the_same_answers_score_the_same(exported_run):
    own = stored(exported_run).questions
    before, after = gguf_score.scores(exported_run, made(exported_run, {one.question: one.tuned for one in own}))
    assert after == before
    assert before.identity["tuned"] == 1
    # llama.cpp was not asked for the likelihood of the base model's answers.
    assert "manner" not in after.rates


def test_what_was_lost_is_seen(exported_run):
    own = stored(exported_run).questions
    answers = {one.question: one.tuned for one in own}
    lost = next(one for one in own if one.kind == "identity" and not one.apart)
    before, after = gguf_score.scores(exported_run, made(exported_run, answers | {lost.question: "I am a model."}))
    count = before.counts["identity"]
    assert after.identity["tuned"] == pytest.approx(before.identity["tuned"] - 1 / count, abs=1e-3)
    general = next(one for one in own if one.kind == "general")
    said = answers | {general.question: f"我是{exported_run.nickname}的小助手"}
    _, parrot = gguf_score.scores(exported_run, made(exported_run, said))
    assert parrot.parrot["tuned"] > before.parrot["tuned"]


def test_a_fact_is_judged_by_what_is_accepted(exported_run, monkeypatch):
    fact = next(one for one in gguf_score.facts.facts() if one.topic and one.language == "en" and one.accept)
    one = replace(
        stored(exported_run).questions[0],
        kind="fact",
        language="en",
        question=fact.question,
        base=fact.accept[0],
        base_right=True,
    )
    monkeypatch.setattr(gguf_score, "_scored", lambda _run: [one])
    for answer, right in ((f"It is {fact.accept[0]}.", True), ("I do not know.", False)):
        _, after = gguf_score.scores(exported_run, made(exported_run, {fact.question: answer}))
        assert after.questions[0].still_right is right


def test_only_what_the_file_was_asked_is_compared(exported_run):
    own = stored(exported_run).questions
    before, after = gguf_score.scores(exported_run, made(exported_run, {own[0].question: own[0].tuned}))
    assert len(before.questions) == len(after.questions) == 1
