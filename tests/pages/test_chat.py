"""The chat page: load, ask both sides, find the conversation again, score, and a worker that dies."""

import shutil
import sys
from types import SimpleNamespace

import pytest

from core import teaching
from core.chat import conversation as conversations
from core.chat import room, scoring, worker_client
from core.chat.conversation import Exchange
from core.chat.score import score_sides
from core.config import config as configs
from core.data import dataset as datasets
from core.ground.files import read_json, write_json
from core.jobs.job import Status, jobs_in, latest_job, wait_until
from core.training import run as runs
from tests.conftest import PATIENCE
from tests.fakes.book import scored, trained_on_a_book
from tests.fakes.chat import FakeWorker
from tests.pages.screen import cells, open_page, tab, texts


@pytest.fixture
def fake_chat(monkeypatch):
    """A chat worker that speaks the protocol and answers with its prompt."""
    monkeypatch.setattr(
        worker_client,
        "engine_command",
        lambda _workspace, _module, *words: [sys.executable, "-m", "tests.fakes.chat_worker", *map(str, words)],
    )


@pytest.fixture
def loaded(workspace, exported_run, fake_chat):  # noqa: ARG001 - before it
    """That chat worker, ready."""
    return worker_client.worker_for(workspace, exported_run).wait_ready()


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    assert "还没有训练" in texts(open_page("chat"))


def test_a_run_without_a_checkpoint_says_what_to_do(finished_run):
    shutil.rmtree(finished_run.work_dir)
    assert "还没有可以对话的检查点" in texts(open_page("chat"))


@pytest.mark.usefixtures("finished_run")
def test_a_run_can_be_asked_before_it_is_exported():
    assert open_page("chat").button(key="load_chat")


@pytest.fixture
def slow_to_load(monkeypatch):
    """A chat worker that never becomes ready."""
    monkeypatch.setattr(
        worker_client, "engine_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"]
    )


@pytest.mark.usefixtures("slow_to_load")
def test_the_models_are_loaded_at_a_click(workspace, exported_run):
    page = open_page("chat")
    page.button(key="load_chat").click().run()
    worker = worker_client.worker_there(workspace, exported_run)
    assert not worker.ready
    assert page.get("progress")


@pytest.mark.usefixtures("slow_to_load")
def test_who_comes_from_an_export_finds_them_loading(workspace, exported_run):
    page = open_page("export")
    assert not jobs_in(workspace.jobs, "chat")
    page.button(key="next_chat").click().run()
    assert page.title[0].value == "对话"
    assert worker_client.worker_there(workspace, exported_run)
    assert "load" not in page.query_params
    assert len(jobs_in(workspace.jobs, "chat")) == 1


@pytest.mark.usefixtures("exported_run")
def test_the_first_question_loads_the_models_and_is_answered_then(workspace, fake_chat):  # noqa: ARG001
    page = open_page("chat")
    assert not jobs_in(workspace.jobs, "chat"), "a look at the page takes no memory"
    page.chat_input[0].set_value("你是谁").run()
    (job,) = jobs_in(workspace.jobs, "chat")
    assert wait_until(lambda: job.progress.get("note") == "ready", PATIENCE)
    page.run()
    assert page.text[0].value == "你是谁"
    assert page.text[1].value.startswith("base: ")
    assert len(jobs_in(workspace.jobs, "chat")) == 1


def test_the_last_conversation_is_there_again(workspace, exported_run):
    for question in ("早", "晚"):
        talk = conversations.new_conversation(exported_run.id)
        talk.add(workspace, Exchange(question=question, answers={"base": {"answer": "好"}}))
    page = open_page("chat")
    newest = conversations.every(workspace, exported_run.id)[0]
    assert [text.value for text in page.text] == [newest.exchanges[0].question, "好"]
    page.button(key="clear_chat").click().run()
    assert not page.text, "a new one begins when it is asked for"


@pytest.mark.usefixtures("loaded")
def test_both_sides_answer_and_remember_what_was_said():
    page = open_page("chat")
    assert page.toggle(key="chat_remember").value is False, "the demo model knows single turns only"
    page.toggle(key="chat_remember").set_value(True)
    page.toggle(key="chat_mark").set_value(False).run()
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
    again.toggle(key="chat_mark").set_value(False).run()
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
    assert wait_until(lambda: not loaded.job.status().live, PATIENCE)
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
    assert page.button(key="next").label == "下一步：生成作业报告"
    assert "身份认知 100%" in texts(page), "where it stands is said beside the conversation too"
    tab(page, "chat_tab", "评分")
    assert [metric.value for metric in page.metric] == ["100%", "100%", "0%"]
    assert any("学会了" in success.value for success in page.success)
    assert f":green-background[{exported_run.nickname}]" in cells(page)


def test_the_scores_of_a_book_are_shown(workspace, finished_run, tmp_path):
    scored(workspace, trained_on_a_book(workspace, finished_run, tmp_path))
    page = tab(open_page("chat"), "chat_tab", "评分")
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["书里的填空"] == "99%"
    assert shown["留出段落的困惑度"] == "4.5"
    assert any("书读进去了：填空 0% → 99%" in success.value for success in page.success)
    assert any("置信区间" in caption.value and "段" in caption.value for caption in page.caption)
    assert "PPL" in "".join(cells(page))


def test_both_sides_are_scored(exported_run, loaded):
    (exported_run.path / "scores.json").unlink()
    shutil.rmtree(exported_run.path / "scores")
    page = tab(open_page("chat"), "chat_tab", "评分")
    assert any("还没有评分" in info.value for info in page.info)
    tab(page, "chat_tab", "对话").button(key="score-now").click().run()
    assert page.session_state["chat_tab"] == "评分", "where its progress is"
    job = latest_job(exported_run.jobs, "score")
    # It may end before a slow page is drawn.
    assert page.get("progress") or not job.status().live, "a job of its own, which outlives the page"
    assert job.wait(PATIENCE) is Status.FINISHED, job.log_tail()
    page.run()
    assert (exported_run.path / "scores.json").is_file()
    assert len(page.metric) == 3
    assert loaded.ready, "the models that were loaded stay"
    assert any("上次给一个检查点评分" in caption.value for caption in page.caption)
    page.button(key="score-quick").click().run()
    job = latest_job(exported_run.jobs, "score")
    assert "--quick" in job.spec["argv"]
    assert job.wait(PATIENCE) is Status.FINISHED, job.log_tail()


def test_checkpoints_are_scored_beside_each_other_and_the_next_config_is_made(workspace, finished_run):
    sides = scoring.sides_to_score(finished_run, every=True)
    score_sides(finished_run, FakeWorker(finished_run.nickname, learned=False), sides[:2])
    score_sides(finished_run, FakeWorker(finished_run.nickname, forgets=30), sides[2:])
    page = tab(open_page("chat"), "chat_tab", "评分")
    assert page.get("plotly_chart")
    chosen = page.selectbox(key=f"score-of-{finished_run.id}")
    assert chosen.value == "iter_12"
    assert any("有些原来的回答变了" in warning.value for warning in page.warning)
    chosen.set_value("iter_4").run()
    assert any("还没有学牢" in warning.value for warning in page.warning)
    before = finished_run.facts.config.name
    page.button(key="make-next").click().run()
    made = configs.find(workspace, f"{before}-next")
    assert made.values()["max_epochs"] == 2 * configs.find(workspace, before).values()["max_epochs"]


def test_advised_data_are_made_at_a_click_where_the_model_need_not_be_asked_first(workspace, finished_run, monkeypatch):
    written = read_json(finished_run.path / "run.json")
    write_json(finished_run.path / "run.json", {**written, "dataset": {**written["dataset"], "recipe": "course"}})
    score_sides(
        finished_run, FakeWorker(finished_run.nickname, parrots=30), scoring.sides_to_score(finished_run, every=True)
    )
    with monkeypatch.context() as patched:
        patched.setattr(teaching, "must_ask", lambda *_: True)
        page = tab(open_page("chat"), "chat_tab", "评分")
    assert not [button for button in page.button if button.key == "make-next"]
    assert any("生成数据集" in link.proto.label for link in page.get("page_link"))
    page = tab(open_page("chat"), "chat_tab", "评分")
    page.button(key="make-next").click().run()
    made = configs.find(workspace, f"{finished_run.facts.config.name}-next")
    assert datasets.find(workspace, made.dataset).made["recipe"] == "balanced"
    assert made.dataset != finished_run.facts.dataset.name


@pytest.mark.usefixtures("loaded")
def test_a_third_column_and_what_differs():
    page = open_page("chat")
    columns = page.multiselect[0]
    assert list(columns.value) == ["base", "tuned"]
    columns.set_value(["base", "tuned", "iter_4"]).run()
    page.chat_input[0].set_value("你是谁").run()
    marked = [element.value for element in page.markdown if "green-background" in element.value]
    assert len(marked) == 2, "tuned and the third, against the base"
    assert any("iter" in text for text in marked)


@pytest.mark.usefixtures("loaded")
def test_a_question_is_asked_again_and_edited(workspace):
    page = open_page("chat")
    page.chat_input[0].set_value("你是谁").run()
    page.chat_input[0].set_value("再见").run()
    talk = conversations.every(
        workspace, page.query_params["run"][0] if "run" in page.query_params else runs.find(workspace, "latest").id
    )[0]
    assert [e.question for e in talk.exchanges] == ["你是谁", "再见"]
    page.button(key=f"retry-{talk.id}-1").click().run()
    assert [e.question for e in conversations.load(workspace, talk.id).exchanges] == ["你是谁", "再见"]
    page.button(key=f"edit-question-{talk.id}-0").click().run()
    page.text_area(key=f"edit-{talk.id}-0").set_value("你好").run()
    page.button(key=f"send-{talk.id}-0").click().run()
    assert [e.question for e in conversations.load(workspace, talk.id).exchanges] == ["你好"]


@pytest.mark.usefixtures("loaded")
def test_a_system_prompt_is_there_for_the_first_question(workspace):
    page = open_page("chat")
    box = next(area for area in page.text_area if area.key.startswith("system-"))
    box.set_value("你是诗人").run()
    assert next(area for area in page.text_area if area.key == box.key).value == "你是诗人"
    page.chat_input[0].set_value("你是谁").run()
    talk = conversations.every(workspace, runs.find(workspace, "latest").id)[0]
    assert talk.system == "你是诗人"
    assert "你是诗人" in talk.exchanges[0].answers["base"]["answer"]


@pytest.mark.usefixtures("loaded")
def test_asking_again_takes_nothing_away_before_there_is_an_answer(workspace):
    page = open_page("chat")
    for question in ("你是谁", "再见"):
        page.chat_input[0].set_value(question).run()
    talk = conversations.every(workspace, runs.find(workspace, "latest").id)[0]
    columns = next(one for one in page.multiselect if one.key.startswith("columns-"))
    columns.set_value([]).run()
    page.button(key=f"retry-{talk.id}-0").click().run()
    assert [e.question for e in conversations.load(workspace, talk.id).exchanges] == ["你是谁", "再见"]
    assert any("至少一列" in warning.value for warning in page.warning)


def test_a_question_that_comes_after_the_models_are_gone_loads_them_again(workspace, loaded):
    page = open_page("chat")
    for question in ("你是谁", "再见"):
        page.chat_input[0].set_value(question).run()
    talk = conversations.every(workspace, runs.find(workspace, "latest").id)[0]
    loaded.job.stop(discard=True)
    page.button(key=f"retry-{talk.id}-0").click().run()
    job = jobs_in(workspace.jobs, "chat")[-1]
    assert job.directory != loaded.job.directory
    assert wait_until(lambda: job.progress.get("note") == "ready", PATIENCE)
    page.run()
    assert [e.question for e in conversations.load(workspace, talk.id).exchanges] == ["你是谁"], "in its old place"


@pytest.mark.usefixtures("loaded")
def test_a_conversation_is_deleted(workspace):
    page = open_page("chat")
    page.chat_input[0].set_value("你是谁").run()
    assert len(list(workspace.conversations.glob("*.json"))) == 1
    page.button(key="delete-chat").click().run()
    assert not list(workspace.conversations.glob("*.json"))
    assert not page.text


def test_no_room_says_why(exported_run, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=5e8))
    page = open_page("chat")
    page.button(key="load_chat").click().run()
    assert any("内存只剩" in error.value for error in page.error)
