"""A base model's own answers as general rows of an assistant's dataset: asked once, else the built-in ones."""

import json
import os
import signal
from types import SimpleNamespace

import pytest

from core import replay, teaching
from core.chat import facts
from core.chat.room import NoRoom
from core.data import apart, corpus
from core.data import dataset as datasets
from core.data.assistant import Assistant
from core.data.dialogues.curated import replay_questions
from core.ground.errors import BadInput, WorkFailed
from core.models import model as models
from core.models import trust
from tests.fakes.model import write_model

QUESTIONS = {question["question"]: question["language"] for question in replay_questions()}
FACTS = {fact.question: fact for fact in facts.facts()}
CUT = {"finish": "length"}


class Base:
    """Replaces the worker of a base model that knows facts in the languages it `speaks`."""

    def __init__(self, speaks=("zh", "en"), says=None, before=None):
        self.speaks, self.says, self.before, self.asked = speaks, says or {}, before, []
        self.job, self.stopped = SimpleNamespace(name="chat-9", progress={"device": "cpu"}), False

    def wait_ready(self):
        if self.before:
            self.before()
        return self

    def ask(self, asks, sampling, on_answer=None):
        questions = [ask.turns[-1][0] for ask in asks]
        self.asked += [(question, sampling.max_new_tokens) for question in questions]
        if on_answer:
            on_answer(len(asks))
        return [{"finish": "stop", **self._line(question)} for question in questions]

    def _line(self, question):
        if question in FACTS:
            return {"answer": FACTS[question].accept[0] if FACTS[question].language in self.speaks else "?"}
        usual = "我不清楚这个。" if QUESTIONS[question] == "zh" else "I do not know that."
        said = self.says.get(question, usual)
        return said if isinstance(said, dict) else {"answer": said}

    def stop(self):
        self.stopped = True


@pytest.fixture
def model(workspace, monkeypatch):
    """A model of an unknown family that is not a toy."""
    trust.agree(workspace, write_model(workspace.models / "big"))
    monkeypatch.setattr("core.models.model.TOY_PARAMETERS", 1)
    monkeypatch.setattr("core.replay.family_of", lambda _: None)
    return models.find(workspace, "big")


@pytest.fixture
def base(monkeypatch):
    """Have the model asked through a worker created by the test."""

    def use(worker):
        monkeypatch.setattr("core.replay.worker_client.worker_for", lambda *_, **__: worker)
        return worker

    return use


@pytest.mark.usefixtures("model")
def test_it_is_asked_in_the_languages_that_it_speaks_and_what_is_of_no_use_is_left_out(workspace, base):
    worker = base(
        Base(
            ["en"],
            {
                "Hello": "Hello! I'm SmolLM.",
                "What is ice made of?": "water",
                "Why is the sky blue?": {"answer": "It is due to scattering of light by the air. The sh", **CUT},
                "What is rain?": "",
                "When does water freeze?": "At 0 degrees. At 0 degrees. At 0 degrees.",
            },
        )
    )
    told = []
    made = replay.generate(workspace, "big", tell=lambda *facts: told.append(facts))
    assert made.languages == ("en",)
    english = {question for question, language in QUESTIONS.items() if language == "en"}
    assert {question for question, _ in worker.asked} - set(FACTS) == english
    assert {most for question, most in worker.asked if question in QUESTIONS} == {replay.MOST_TOKENS["cpu"]}
    assert made.left_out == {"name": 1, "loop": 1}
    assert len(made.replies) == len(english) - 2
    (cut,) = [reply for reply in made.replies if not reply.whole]
    assert cut.answer == "It is due to scattering of light by the air."
    assert made.cut_off == 1
    assert worker.stopped
    assert told[-1][0] == 1.0
    assert replay.stored(workspace, "big") == made
    assert not made.why_none


def test_a_model_that_knows_nothing_is_not_asked_and_it_is_remembered(workspace, model, base):
    worker = base(Base([]))
    dataset, why = teaching.make(workspace, Assistant(nickname="小明"), model)
    assert not {question for question, _ in worker.asked} - set(FACTS)
    assert "big" in why.en and "built-in" in why.en
    assert "replay_model" not in dataset.made
    assert dataset.rows == len(Assistant(nickname="小明").rows())
    worker.asked.clear()
    assert teaching.make(workspace, Assistant(nickname="小红"), model)[1] == why
    assert not worker.asked
    with pytest.raises(WorkFailed):
        teaching.make(workspace, Assistant(nickname="小红"), model, only=True)


def test_the_answers_are_asked_for_once_and_shared(workspace, model, base):
    worker = base(Base())
    dataset, why = teaching.make(workspace, Assistant(nickname="小明"), model, "mine")
    assert why is None
    assert dataset.made["replay_model"] == "big"
    outputs = [row["conversation"][0]["output"] for row in dataset.load()]
    assert outputs.count("I do not know that.") + outputs.count("我不清楚这个。") == len(QUESTIONS)
    worker.asked.clear()
    other, _ = teaching.make(workspace, Assistant(nickname="小红"), model)
    assert other.rows == dataset.rows
    assert not worker.asked
    # Other weights of that name have other answers.
    weights = workspace.model("big") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    assert replay.stored(workspace, "big") is None


def test_the_usual_dataset_is_made_at_once_where_the_answers_are_kept(workspace, model, base):
    assert teaching.must_ask(workspace, model)
    worker = base(Base())
    replay.generate(workspace, "big")
    assert not teaching.must_ask(workspace, model)
    worker.asked.clear()
    made = teaching.at_once(workspace, "小明", model)
    assert made.made["replay_model"] == "big"
    assert made.made["recipe"] == "balanced"
    assert not worker.asked


def test_a_toy_need_not_be_asked(workspace):
    toy = models.find(workspace, write_model(workspace.models / "toy").name)
    assert not teaching.must_ask(workspace, toy)
    assert "replay_model" not in teaching.at_once(workspace, "小明", toy).made


@pytest.mark.parametrize("error", [NoRoom("没有内存", "no memory"), WorkFailed("坏了", "it broke")])
def test_where_it_cannot_be_asked_our_own_rows_take_their_place(workspace, model, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("core.replay.worker_client.worker_for", refuse)
    dataset, why = teaching.make(workspace, Assistant(nickname="小明"), model)
    assert dataset.rows == len(Assistant(nickname="小明").rows())
    assert str(error) in (why.zh, why.en) or error.text.en in why.en
    assert replay.stored(workspace, "big") is None
    with pytest.raises(type(error)):
        teaching.make(workspace, Assistant(nickname="小明"), model, only=True)


def test_one_that_is_stopped_leaves_nothing_and_ends_its_worker(workspace, model, base):
    worker = base(Base(before=lambda: os.kill(os.getpid(), signal.SIGTERM)))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(replay.Stopped):
        teaching.make(workspace, Assistant(nickname="小明"), model)
    assert worker.stopped
    assert signal.getsignal(signal.SIGTERM) is before
    assert not datasets.every(workspace)


def test_what_will_not_do_is_refused_before_anybody_is_asked(workspace, model, base, dataset):
    worker = base(Base())
    with pytest.raises(BadInput, match="assistant"):
        teaching.make(workspace, Assistant(nickname="小明"), model, dataset.name)
    with pytest.raises(BadInput):
        teaching.make(workspace, Assistant(nickname="a/b"), model)
    course, _ = teaching.make(workspace, Assistant(nickname="小明", recipe="course", n=1), model)
    assert course.rows == 4
    assert not worker.asked


def test_a_toy_keeps_our_own_rows(small_model):
    assert not replay.by_default(small_model)
    assert not replay.by_default(None)


def test_what_a_page_chose_is_what_the_job_makes():
    chosen = Assistant(
        nickname="小明",
        language="zh",
        maker="我们",
        questions=("问一", "问二"),
        answers=(("zh.task", "{name}!"),),
        general=0.5,
    )
    written = json.loads(json.dumps(teaching.choices(chosen)))
    assert Assistant.chosen({**written, "nickname": "小明"}) == chosen


def test_a_corpus_has_the_models_own_answers_among_its_rows(workspace, tmp_path, model, base):
    base(
        Base(
            says={
                "How do I keep my room tidy?": {"answer": "Put things away at once, and keep little. Then you", **CUT}
            }
        )
    )
    file = tmp_path / "book.txt"
    file.write_text(
        "The village of Lomidale lies on the river, and nobody goes there in winter. " * 3, encoding="utf-8"
    )
    made, told, _, why = teaching.make_corpus(workspace, [file], corpus.Wanted(), model)
    assert why is None
    assert (made.made["replay_model"], made.is_text) == (model.name, True)
    pieces = [row for row in made.load() if apart.is_piece(row)]
    others = [row["conversation"][0] for row in made.load() if not apart.is_piece(row)]
    assert len(pieces) == told.pieces
    template = model.prompt_template
    asked = {turn["input"]: turn["output"] for turn in others}
    # A truncated answer has no end token, a complete one ends like the model's turns.
    assert (
        asked[template.prompt([("How do I keep my room tidy?", None)])] == "Put things away at once, and keep little."
    )
    assert sum(output.endswith(template.suffix) for output in asked.values()) == len(asked) - 1
    assert teaching.make_corpus(workspace, [file], corpus.Wanted(), None)[0].rows == told.pieces


def test_a_corpus_of_a_model_that_cannot_be_asked_says_so(workspace, tmp_path, model, monkeypatch):
    def refuse(*_, **__):
        raise NoRoom("没有内存", "there is no memory")

    monkeypatch.setattr("core.replay.worker_client.worker_for", refuse)
    file = tmp_path / "book.txt"
    file.write_text(
        "The village of Lomidale lies on the river, and nobody goes there in winter. " * 3, encoding="utf-8"
    )
    made, told, _, why = teaching.make_corpus(workspace, [file], corpus.Wanted(), model)
    assert (made.rows, "no memory" in why.en) == (told.pieces, True)
