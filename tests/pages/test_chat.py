"""The chat page: load, ask both sides, find the conversation again, score, and a worker that dies."""

import shutil
import sys

import pytest

from core.chat import compare
from core.jobs.job import Status, jobs_in, wait_until
from tests.pages.screen import cells, open_page, texts


@pytest.fixture
def loaded(workspace, exported_run, monkeypatch):
    """A chat worker that speaks the protocol and answers with its prompt."""
    monkeypatch.setattr(
        compare,
        "engine_command",
        lambda _workspace, _module, *words: [sys.executable, "-m", "tests.fakes.chat_worker", *map(str, words)],
    )
    return compare.worker_for(workspace, exported_run).wait_ready()


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练" in texts(open_page("chat"))


def test_a_run_without_a_checkpoint_says_what_to_do(finished_run):
    shutil.rmtree(finished_run.work_dir)
    assert "还没有可以对话的检查点" in texts(open_page("chat"))


@pytest.mark.usefixtures("finished_run")
def test_a_run_can_be_asked_before_it_is_exported():
    assert open_page("chat").button(key="load_chat")


def test_the_models_are_loaded_at_a_click(workspace, exported_run, monkeypatch):
    monkeypatch.setattr(compare, "engine_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    page = open_page("chat")
    page.button(key="load_chat").click().run()
    worker = compare.worker_there(workspace, exported_run)
    assert not worker.ready
    assert page.get("progress")
    assert not page.chat_input


@pytest.mark.usefixtures("loaded")
def test_both_sides_answer_and_remember_what_was_said():
    page = open_page("chat")
    assert page.toggle(key="chat_remember").value is False, "the demo model knows single turns only"
    page.toggle(key="chat_remember").set_value(True).run()
    page.chat_input[0].set_value("你是谁").run()
    said = [text.value for text in page.text]
    assert said[0] == "你是谁"
    assert said[1].startswith("base: ")
    assert said[2].startswith("tuned: ")
    page.chat_input[0].set_value("再说一遍").run()
    assert page.text[-1].value.startswith("tuned: ")
    assert page.text[-1].value.index("你是谁") < page.text[-1].value.index("再说一遍")
    conversation = page.query_params["conversation"]
    again = open_page("chat", conversation=conversation[0] if isinstance(conversation, list) else conversation)
    assert [text.value for text in again.text] == [text.value for text in page.text]
    again.button(key="clear_chat").click().run()
    assert not again.text


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("conversation", ["gone", "../../run", ""])
def test_an_address_without_a_conversation_begins_one(conversation):
    assert not open_page("chat", conversation=conversation).text


def test_a_worker_that_dies_says_so_and_can_be_loaded_again(workspace, loaded):
    page = open_page("chat")
    page.chat_input[0].set_value("die").run()
    assert any("重新加载" in error.value for error in page.error)
    assert any("die" in text.value for text in page.text)
    assert wait_until(lambda: not loaded.job.status().live, 10)
    page.button(key="load_chat").click().run()
    assert len(jobs_in(workspace.jobs, "chat")) == 2


@pytest.mark.usefixtures("loaded")
def test_an_error_of_the_worker_is_shown():
    page = open_page("chat")
    page.chat_input[0].set_value("fail").run()
    assert any("as asked" in error.value for error in page.error)


def test_the_models_are_unloaded(loaded):
    page = open_page("chat")
    page.button(key="unload_chat").click().run()
    assert loaded.job.status() is Status.KILLED
    assert page.button(key="load_chat")


def test_scores_are_shown(exported_run):
    page = open_page("chat")
    assert [metric.value for metric in page.metric] == ["100%", "100%", "0%"]
    assert any("学会了" in success.value for success in page.success)
    assert f":green-background[{exported_run.nickname}]" in cells(page)


def test_both_sides_are_scored(exported_run, loaded):
    (exported_run.path / "scores.json").unlink()
    shutil.rmtree(exported_run.path / "scores")
    page = open_page("chat")
    assert any("还没有评分" in info.value for info in page.info)
    page.button(key="score").click().run()
    assert (exported_run.path / "scores.json").is_file()
    assert len(page.metric) == 3
    assert loaded.ready
