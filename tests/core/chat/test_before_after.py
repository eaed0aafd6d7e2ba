"""The course's two questions are asked of both sides once and found again."""

import sys

import pytest

from core.chat import before_after, worker_client
from core.chat import conversation as conversations
from core.chat.conversation import Exchange
from core.data.assistant import COURSE_QUESTIONS
from core.jobs.job import jobs_in


@pytest.fixture
def fake_chat(monkeypatch):
    monkeypatch.setattr(
        worker_client,
        "engine_command",
        lambda _workspace, _module, *words: [sys.executable, "-m", "tests.fakes.chat_worker", *map(str, words)],
    )


@pytest.mark.usefixtures("fake_chat")
def test_asked_once_by_a_worker_that_is_ended_and_found_again(workspace, exported_run):
    assert before_after.kept(workspace, exported_run) is None
    talk = before_after.asked(workspace, exported_run)
    assert [exchange.question for exchange in talk.exchanges] == list(COURSE_QUESTIONS)
    for exchange in talk.exchanges:
        for side in ("base", "tuned"):
            assert exchange.answers[side]["answer"].startswith(f"{side}: ")
            assert exchange.question in exchange.answers[side]["answer"]
    (job,) = jobs_in(workspace.jobs, "chat")
    assert not job.status().live
    assert before_after.asked(workspace, exported_run) == conversations.load(workspace, talk.id)
    assert len(jobs_in(workspace.jobs, "chat")) == 1


@pytest.mark.usefixtures("fake_chat")
def test_models_that_are_loaded_are_asked_and_stay(workspace, exported_run):
    worker = worker_client.worker_for(workspace, exported_run).wait_ready()
    before_after.asked(workspace, exported_run)
    assert worker.ready
    assert len(jobs_in(workspace.jobs, "chat")) == 1


def test_a_conversation_that_lacks_a_side_or_a_question_is_another(workspace, exported_run):
    one, other = COURSE_QUESTIONS
    line = {"answer": "x"}
    talk = conversations.new_conversation(exported_run.id)
    talk.add(workspace, Exchange(question=one, answers={"base": line, "tuned": line}))
    assert before_after.kept(workspace, exported_run) is None
    talk.add(workspace, Exchange(question=other, answers={"base": line}))
    assert before_after.kept(workspace, exported_run) is None
    talk.add(workspace, Exchange(question=other, answers={"base": line, "tuned": line}))
    assert before_after.kept(workspace, exported_run).id == talk.id


def test_what_other_data_taught_is_asked_instead(exported_run):
    assert before_after.questions(exported_run) == COURSE_QUESTIONS
    exported_run.facts.questions[:] = ["退货要几天？", "运费多少？", "在吗？"]
    assert before_after.questions(exported_run) == ("退货要几天？", "运费多少？")
    exported_run.facts.questions.clear()
    assert before_after.questions(exported_run) == COURSE_QUESTIONS
