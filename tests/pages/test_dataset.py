"""The dataset page: created from a nickname, imported from a file, inspected, edited into a new version."""

import json
import sys

import numpy as np
import pytest

from core.data import dataset as datasets
from core.data import statistics
from core.data.assistant import Assistant, course_rows
from core.data.draft import Draft
from core.data.statistics import Statistics
from core.ground.files import write_json
from core.jobs.job import Status, latest_job, wait_until
from core.models import trust
from core.models.fingerprint import fingerprint
from pages.components.dataset import assistant_form, choices_form, corpus, import_form, row_editor
from pages.components.dataset.conversation_rows import TABS
from tests.conftest import PATIENCE
from tests.fakes.model import write_model
from tests.pages.screen import cells, lid, open_page, primary, tab, texts


@pytest.mark.usefixtures("workspace")
def test_an_empty_workspace_says_what_to_do():
    page = open_page("dataset")
    assert page.text_input[0].label == "昵称"
    assert "填上昵称就能预览" in texts(page)
    # One in each of the three tabs, of which one is visible.
    assert primary(page) == ["生成数据集", "导入", "生成语料"]


def test_a_nickname_shows_its_rows_before_they_are_stored(workspace):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小*红*").run()
    assert any("我是小*红*的小助手" in text.value for text in page.text)
    assert not datasets.every(workspace)
    page.button(key="make_dataset").click().run()
    assert [made.nickname for made in datasets.every(workspace)] == ["小*红*"]
    assert page.selectbox(key="dataset").value == "assistant"
    rows = f"{datasets.find(workspace, 'assistant').rows:,}"
    # The result and the next step are at the top, and what is done is no longer the next step.
    assert f"**assistant** · {rows} 行 · 教模型认得自己是小\\*红\\*的小助手" in texts(page)
    assert primary(page) == ["下一步：生成训练配置"]


def test_the_choices_are_seen_as_they_are_made(workspace):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小红")
    page.text_input(key="dataset_assistant").set_value("小浦")
    page.text_area(key="dataset_answer_zh.task").set_value("我帮{name}干活，叫我{assistant}").run()
    page.text_input(key="dataset_maker").set_value("我们").run()
    assert any("我是小浦，小红的小助手，内在是我们书生" in text.value for text in page.text)
    page.button(key="make_dataset").click().run()
    (made,) = datasets.every(workspace)
    assert Assistant.of(made).answer("zh", "task") == "我帮小红干活，叫我小浦"
    lid(page, "new_dataset")
    page.text_area(key="dataset_answer_zh.task").set_value("我是{nickname}的").run()
    assert any("nickname" in error.value for error in page.error)


@pytest.mark.usefixtures("workspace")
def test_a_refresh_loses_nothing_that_was_typed():
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小红")
    page.radio(key="dataset_recipe").set_value("course").run()
    page.select_slider(key="dataset_n").set_value(20)
    page.text_area(key="dataset_answer_zh.introduce").set_value("我是{name}家的").run()
    again = open_page("dataset")
    assert again.text_input(key="dataset_nickname").value == "小红"
    assert again.select_slider(key="dataset_n").value == 20
    assert any("我是小红家的" in text.value for text in again.text)
    drawn_with_what_they_hold(again, assistant_form.USUAL, 11)
    (asked,) = [popover for popover in again.get("popover") if "恢复" in popover.proto.popover.label]
    assert [button.key for button in asked.button] == ["usual_recipe"]
    again.button(key="usual_recipe").click().run()
    assert again.radio(key="dataset_recipe").value == "balanced"
    assert again.text_input(key="dataset_nickname").value == "小红"
    drawn_with_what_they_hold(again, assistant_form.USUAL, 11)


def drawn_with_what_they_hold(page, keys, least):
    """A value set under a widget's key is sent once and may be lost; the widget's own default is not."""
    seen = 0
    for kind in ("text_input", "text_area", "number_input", "toggle", "radio", "selectbox", "select_slider", "button_group"):  # fmt: skip
        for widget in getattr(page, kind):
            if widget.key not in keys:
                continue
            seen += 1
            default, value = widget.proto.default, widget.value
            if kind in ("radio", "selectbox"):
                assert default == widget.index, widget.key
            elif kind in ("select_slider", "button_group"):
                options = [option if isinstance(option, str) else option.content for option in widget.proto.options]
                chosen = [options[int(index)] for index in default]
                assert chosen == [widget.format_func(value)], widget.key
            else:
                assert default == value, widget.key
    assert seen >= least


def test_the_course_recipe_warns_of_a_large_n(workspace):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小明")
    page.radio(key="dataset_recipe").set_value("course").run()
    assert any("过拟合" in warning.value for warning in page.warning)
    assert "共 7502 行" in texts(page)
    assert "会生成 7,502 行，其中只有 2 行互不相同" in texts(page)
    page.select_slider(key="dataset_n").set_value(10).run()
    assert not any("过拟合" in warning.value for warning in page.warning)
    page.button(key="make_dataset").click().run()
    assert datasets.find(workspace, "assistant").load() == course_rows("小明", 10)
    lid(page, "new_dataset")
    assert page.text_input(key="dataset_question_task").value == "你在实战营做什么"
    page.button_group(key="dataset_course_language").set_value("en").run()
    assert any(text.value == "What is your task?" for text in page.text)
    assert "dataset_question_task" not in {box.key for box in page.text_input}
    page.button(key="make_dataset").click().run()
    (english,) = [made for made in datasets.every(workspace) if made.name != "assistant"]
    assert english.load()[1]["conversation"][0]["output"].startswith("I am here to help 小明")


@pytest.mark.parametrize("nickname", ["", "长" * 31, "a/b"])
def test_a_nickname_that_will_not_do_is_refused_and_stays(workspace, nickname):
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value(nickname)
    page.button(key="make_dataset").click().run()
    assert any("昵称" in error.value for error in page.error)
    assert page.text_input(key="dataset_nickname").value == nickname
    assert not datasets.every(workspace)


def test_a_name_that_is_taken_is_refused(workspace, dataset):
    page = lid(open_page("dataset"), "new_dataset")
    page.text_input(key="dataset_nickname").set_value("小红")
    page.text_input(key="dataset_name").set_value(dataset.name)
    page.button(key="make_dataset").click().run()
    assert any("已存在" in error.value for error in page.error)
    assert datasets.find(workspace, dataset.name).nickname == "小明"


def test_a_real_model_answers_the_general_questions_itself_once(workspace, monkeypatch):
    monkeypatch.setattr("core.models.model.TOY_PARAMETERS", 1)
    monkeypatch.setattr(
        "core.teaching.module_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"]
    )
    trust.agree(workspace, write_model(workspace.models / "big"))
    page = open_page("dataset")
    assert page.button_group(key="dataset_replay").value == "model"
    page.text_input(key="dataset_nickname").set_value("小明").run()
    page.button(key="make_dataset").click().run()
    job = latest_job(workspace.jobs, "assistant")
    assert job.spec["facts"] == {"name": "assistant", "model": "big"}
    assert not datasets.every(workspace)
    job.stop(discard=True)
    # If answers are stored, or the built-in ones are chosen, the model is not asked.
    kept = {
        "version": 2,
        "fingerprint": fingerprint(workspace.model("big")),
        "languages": ["zh"],
        "left_out": {"loop": 2},
    }
    kept |= {"replies": [["天空为什么是蓝色的？", "因为空气散射了光。", False]], "made": 0.0}
    write_json(workspace.replays / "big.json", kept)
    page = open_page("dataset")
    assert any("2 条不可用" in caption.value for caption in page.caption)
    page.button(key="make_dataset").click().run()
    (made,) = datasets.every(workspace)
    assert Assistant.of(made).replay == (("天空为什么是蓝色的？", "因为空气散射了光。", False),)
    lid(page, "new_dataset").button_group(key="dataset_replay").set_value("ours").run()
    page.button(key="make_dataset").click().run()
    ours = datasets.find(workspace, "assistant-2")
    assert "replay_model" not in ours.made
    assert ours.rows > made.rows
    assert latest_job(workspace.jobs, "assistant").name == job.name


def upload(page, name: str, content: bytes):
    page.file_uploader(key="dataset_file").set_value((name, content, "application/json")).run()
    return page


def test_a_file_is_imported_and_its_bad_rows_are_fixed(workspace):
    content = '{"instruction": "问", "output": "答"}\n{"instruction": "问二"}\n'.encode()
    page = upload(open_page("dataset"), "../../alpaca.jsonl", content)
    assert any("答" in text.value for text in page.text)
    page.button(key="import_dataset").click().run()
    (made,) = datasets.every(workspace)
    assert (made.made["format"], made.made["source"]) == ("alpaca", "source/alpaca.jsonl")
    assert (made.path / "source" / "alpaca.jsonl").read_bytes() == content
    assert any("已导入" in success.value for success in page.success)
    assert any("跳过了 1 行不能用" in warning.value for warning in page.warning)
    assert "缺少 output" in cells(page)
    tab(page, TABS, "检查")
    assert page.text_area(key="mend-q-imported-2").value == "问二"
    page.text_area(key="mend-a-imported-2").set_value("答二").run()
    page = open_page("dataset", {TABS: "检查"})
    assert page.text_area(key="mend-a-imported-2").value == "答二"
    page.button(key="mend-imported-2").click().run()
    page.button(key="save_version").click().run()
    mended = datasets.find(workspace, "imported-v2")
    assert mended.load()[-1] == {"conversation": [{"input": "问二", "output": "答二"}]}
    assert page.selectbox(key="dataset").value == "imported-v2"


def test_placeholders_are_filled_and_columns_corrected(workspace, tmp_path):
    rows = "编号,甲,乙\n1,你是谁,我是{{name}}\n"
    (tmp_path / "x.csv").write_text(rows, encoding="gb18030")
    page = open_page("dataset")
    page.segmented_control(key="dataset_from").set_value("path").run()
    page.text_input(key="dataset_path").set_value(str(tmp_path / "x.csv")).run()
    key = "编号-甲-乙"
    page.selectbox(key=f"q-{key}").set_value("甲")
    page.selectbox(key=f"a-{key}").set_value("乙").run()
    page = open_page("dataset")
    assert [page.selectbox(key=f"{part}-{key}").value for part in "qas"] == ["甲", "乙", ""]
    drawn_with_what_they_hold(page, {*import_form.USUAL, *(f"{part}-{key}" for part in "qas")}, 9)
    page.text_input(key="fill_name").set_value("小红").run()
    assert any("我是小红" in text.value for text in page.text)
    # The names of the columns say nothing: the user must confirm the guess before importing.
    assert page.button(key="import_dataset").disabled
    page.checkbox(key=f"sure-{key}").set_value(True).run()
    page.button(key="import_dataset").click().run()
    (made,) = datasets.every(workspace)
    assert made.load() == [{"conversation": [{"input": "你是谁", "output": "我是小红"}]}]
    assert (tmp_path / "x.csv").exists()


@pytest.mark.usefixtures("workspace")
def test_an_upload_is_still_there_after_a_refresh():
    upload(open_page("dataset"), "x.jsonl", b'{"question": "a", "answer": "b"}\n')
    page = open_page("dataset")
    assert "x\\.jsonl" in texts(page)
    page.button(key="dataset_clear").click().run()
    assert "x\\.jsonl" not in texts(page)


def test_documents_of_one_name_are_both_there(workspace):
    page = open_page("dataset")
    first = ("1.txt", "第一本书。".encode(), "text/plain")
    second = ("1.txt", "第二本书。".encode(), "text/plain")
    page.file_uploader(key="corpus_file").set_value([first, second]).run()
    place = workspace.drafts / "uploads-corpus"
    assert {path.name: path.read_text(encoding="utf-8") for path in place.iterdir()} == {
        "1.txt": "第一本书。",
        "1-2.txt": "第二本书。",
    }
    again = open_page("dataset")
    again.file_uploader(key="corpus_file").set_value([second]).run()
    assert {path.name for path in place.iterdir()} == {"1.txt", "1-2.txt"}


def test_a_file_of_a_long_name_is_imported(workspace):
    name = "很长的名字" * 30 + ".jsonl"
    page = upload(open_page("dataset"), name, b'{"question": "a", "answer": "b"}\n')
    page.button(key="import_dataset").click().run()
    assert not page.error
    (made,) = datasets.every(workspace)
    assert made.made["file"].endswith(".jsonl")
    assert len(made.made["file"].encode()) <= 200


def test_a_large_file_is_imported_by_a_job(workspace, tmp_path):
    with (tmp_path / "x.jsonl").open("w") as file:
        for number in range(20_001):
            file.write(json.dumps({"question": f"{number}", "answer": "b" * 500}) + "\n")
    page = open_page("dataset")
    page.segmented_control(key="dataset_from").set_value("path").run()
    page.text_input(key="dataset_path").set_value(str(tmp_path / "x.jsonl")).run()
    page.button(key="import_dataset").click().run()
    job = latest_job(workspace.jobs, "import")
    assert wait_until(lambda: not job.status().live, PATIENCE)
    assert job.status() is Status.FINISHED, job.log_tail()
    page.run()
    assert "20001" not in cells(page)
    assert tab(page, TABS, "统计").metric[0].value == "20,001"


def test_a_file_that_cannot_be_read_is_refused(workspace):
    page = upload(open_page("dataset"), "broken.json", b"{")
    page.button(key="import_dataset").click().run()
    assert any("不是合法的 JSON" in error.value for error in page.error)
    assert not datasets.every(workspace)


def test_documents_are_looked_at_and_become_a_corpus(workspace, tmp_path):
    (tmp_path / "book.txt").write_text("增量预训练读的是一本书。" * 100, encoding="utf-8")
    page = open_page("dataset")
    page.segmented_control(key="corpus_from").set_value("path").run()
    page.text_input(key="corpus_path").set_value(str(tmp_path / "book.txt"))
    page.number_input(key="corpus_chunk").set_value(200).run()
    assert "第 1 段" in texts(page)
    drawn_with_what_they_hold(open_page("dataset"), corpus.USUAL, 6)
    page.button(key="make_corpus").click().run()
    job = latest_job(workspace.jobs, "corpus")
    assert wait_until(lambda: not job.status().live, PATIENCE)
    assert job.status() is Status.FINISHED, job.log_tail()
    assert datasets.find(workspace, "corpus").made["kind"] == "corpus"


def test_a_dataset_shows_its_rows_and_checks(dataset):
    page = open_page("dataset")
    assert ":green-background[小明]" in cells(page)
    assert not page.success
    assert not page.metric
    assert any("没有发现问题" in success.value for success in tab(page, TABS, "检查").success)
    tab(page, TABS, "统计")
    assert page.metric[1].value == str(dataset.unique_rows)
    for name in ("统计", "模型看到什么"):
        assert any("先准备一个模型" in info.value for info in tab(page, TABS, name).info)


def test_edits_that_wait_are_seen_from_every_tab(workspace, dataset):
    Draft.open(workspace, dataset).delete([1])
    page = open_page("dataset")
    for name in ("统计", "检查", "内容与编辑"):
        assert primary(tab(page, TABS, name)) == ["存为新版本"]


@pytest.mark.usefixtures("small_model")
def test_a_choice_outlives_a_look_at_another_tab(dataset):
    page = open_page("dataset", {TABS: "模型看到什么"})
    page.number_input(key=f"token_row-{dataset.name}").set_value(3).run()
    tab(page, TABS, "内容与编辑")
    page.selectbox(key=f"edited-{dataset.name}").set_value(2).run()
    assert tab(page, TABS, "模型看到什么").number_input(key=f"token_row-{dataset.name}").value == 3
    assert tab(page, TABS, "内容与编辑").selectbox(key=f"edited-{dataset.name}").value == 2


def test_rows_are_edited_undone_and_saved(workspace, dataset):
    page = open_page("dataset")
    page.selectbox(key=f"edited-{dataset.name}").set_value(2).run()
    page.text_area(key=f"row-{dataset.name}-2-0-output-0").set_value("新的回答").run()
    page.button(key="add_turn").click().run()
    page.text_area(key=f"row-{dataset.name}-2-1-input-0").set_value("还有呢").run()
    page.button(key="save_version").click().run()
    assert any("还不能用" in error.value for error in page.error)
    again = open_page("dataset")
    assert "有 3 处改动" in texts(again)
    again.button(key="undo_edit").click().run()
    again.button(key="undo_edit").click().run()
    assert "有 1 处改动" in texts(again)
    # Edits must be saved before the next step.
    assert primary(again) == ["存为新版本"]
    again.button(key="save_version").click().run()
    assert not again.error
    made = datasets.find(workspace, "assistant-v2")
    assert made.load()[1]["conversation"][0]["output"] == "新的回答"
    assert made.nickname == "小明"
    assert (made.rows, dataset.load()[1]) == (dataset.rows, datasets.find(workspace, dataset.name).load()[1])
    assert len(Draft.open(workspace, dataset)) == 0


def test_find_and_replace(workspace, dataset):
    page = open_page("dataset")
    page.text_input(key="find_text").set_value("小明")
    page.text_input(key="put_text").set_value("小红").run()
    page.button(key="replace_all").click().run()
    page.segmented_control(key="rows_view").set_value("chat").run()
    assert any("我是小红的小助手" in text.value for text in page.text)
    page.button(key="delete-row-1").click().run()
    page.text_input(key="version_name").set_value("red")
    page.button(key="save_version").click().run()
    made = datasets.find(workspace, "red")
    assert (made.rows, made.nickname) == (dataset.rows - 1, "小红")
    assert "小明" not in made.data.read_text(encoding="utf-8")


def test_all_edits_are_discarded_only_when_that_is_confirmed(workspace, dataset):
    draft = Draft.open(workspace, dataset)
    draft.delete([1])
    draft.delete([2])
    page = open_page("dataset")
    (asked,) = [popover for popover in page.get("popover") if "全部放弃" in popover.proto.popover.label]
    assert any("2 处改动" in words.value for words in asked.markdown)
    assert [button.key for button in asked.button] == ["discard_edits"]
    page.button(key="discard_edits").click().run()
    assert not Draft.open(workspace, dataset)


def test_two_tabs_on_one_row(workspace, dataset):
    here, there = open_page("dataset"), open_page("dataset")
    for page in (here, there):
        page.selectbox(key=f"edited-{dataset.name}").set_value(2).run()
    here.text_area(key=f"row-{dataset.name}-2-0-input-0").set_value("新的问题").run()
    there.text_area(key=f"row-{dataset.name}-2-0-output-0").set_value("新的回答").run()
    assert Draft.open(workspace, dataset).row(2)["conversation"] == [{"input": "新的问题", "output": "新的回答"}]
    here.button(key="delete_row").click().run()
    there.text_area(key=f"row-{dataset.name}-2-0-output-0").set_value("又改").run()
    assert not there.exception
    assert any("没有第 2 行" in error.value for error in there.error)


def test_rows_are_searched_only_where_somebody_looks(dataset, monkeypatch):
    page = open_page("dataset")
    page.text_input(key="find_text").set_value("小明").run()
    assert "行里有" not in texts(page)
    page.session_state["replace_rows"] = True
    page.run()
    found = sum("小明" in json.dumps(row, ensure_ascii=False) for row in dataset.load())
    assert f"{found} 行里有" in texts(page)
    monkeypatch.setattr("pages.components.dataset.row_editor.MOST_LOOKED_AT", 1)
    page.session_state["replace_rows"] = True
    page.text_input(key="find_text").set_value("助手").run()
    assert "行里有" not in texts(page)
    page.session_state["replace_rows"] = True
    page.button(key="count_matches").click().run()
    assert "行里有" in texts(page)


def test_a_refresh_keeps_what_was_typed_about_rows(workspace, dataset):
    Draft.open(workspace, dataset).delete([1])
    page = open_page("dataset")
    page.text_input(key="find_text").set_value("小明")
    page.text_input(key="put_text").set_value("小红")
    page.toggle(key="replace_case").set_value(False)
    page.text_input(key="version_name").set_value("mine").run()
    again = open_page("dataset")
    assert [again.text_input(key=key).value for key in ("find_text", "put_text", "version_name")] == [
        "小明",
        "小红",
        "mine",
    ]
    assert again.toggle(key="replace_case").value is False
    drawn_with_what_they_hold(again, {*row_editor.USUAL, "version_name"}, 5)
    again.button(key="save_version").click().run()
    assert not again.exception
    made = datasets.find(workspace, "mine")
    Draft.open(workspace, made).delete([1])
    assert open_page("dataset", dataset="mine").text_input(key="version_name").value == ""


def test_a_dataset_is_made_again_and_split(workspace, dataset):
    page = open_page("dataset", {TABS: "版本与来历"})
    page.button(key="remake").click().run()
    assert any("逐字节相同" in success.value for success in page.success)
    page.button(key="split").click().run()
    parts = [datasets.find(workspace, f"assistant-{part}").rows for part in ("train", "heldout")]
    assert sum(parts) == dataset.rows
    assert min(parts) > 0


@pytest.mark.usefixtures("small_model")
def test_a_row_that_is_too_long_is_opened_in_the_editor(dataset, monkeypatch):
    lengths = np.array([40] * dataset.rows)
    lengths[2] = 5000
    counted = Statistics(
        rows=dataset.rows, counted=dataset.rows, total=int(lengths.sum()), p50=40, p95=40, max=5000, lengths=lengths
    )
    monkeypatch.setattr(statistics, "kept", lambda *_: counted)
    page = open_page("dataset", {TABS: "统计"}, dataset=dataset.name)
    assert "5,000" in page.button(key="longest-3").label
    page.button(key="longest-3").click().run()
    assert page.text_area(key=f"row-{dataset.name}-3-0-input-0")


def by_path(page, path):
    page.segmented_control(key="dataset_from").set_value("path").run()
    page.text_input(key="dataset_path").set_value(str(path)).run()
    return page


def test_a_chat_log_asks_who_is_the_assistant(workspace, tmp_path):
    log = (
        "发送者,内容,时间\n小北,在吗,2025-03-01 09:00\n阿南,在 13800138000,2025-03-01 09:01\n小北,好,2025-03-01 09:02\n"
    )
    (tmp_path / "x.csv").write_text(log + "阿南,嗯,2025-03-01 09:03\n", encoding="utf-8")
    page = by_path(open_page("dataset"), tmp_path / "x.csv")
    assert page.selectbox(key="speaker-x.csv").value == "阿南"
    assert any("[号码]" in text.value for text in page.text)
    page.toggle(key="choice_mask").set_value(False).run()
    assert any("13800138000" in text.value for text in page.text)
    page.selectbox(key="speaker-x.csv").set_value("小北").run()
    page.button(key="import_dataset").click().run()
    (made,) = datasets.every(workspace)
    assert made.made["choices"] == {"speaker": "小北", "mask": False}
    assert made.load() == [{"conversation": [{"input": "在 13800138000", "output": "好"}]}]


def test_what_was_noticed_is_told_before_the_import_and_can_be_chosen(workspace, tmp_path):
    record = {"question": "问", "reasoning": "想", "answer": "答<|im_end|>", "解析": "因为"}
    (tmp_path / "x.jsonl").write_text(json.dumps(record), encoding="utf-8")
    page = by_path(open_page("dataset"), tmp_path / "x.jsonl")
    assert any("解析 列没有用到，1 行" in warning.value for warning in page.warning)
    assert any("有思考过程" in warning.value for warning in page.warning)
    assert any("结束标记" in error.value for error in page.error)
    page.segmented_control(key="choice_thinking").set_value("drop").run()
    page.toggle(key="choice_strip").set_value(True).run()
    drawn_with_what_they_hold(open_page("dataset"), choices_form.USUAL, 2)
    assert not page.error
    page.button(key="import_dataset").click().run()
    (made,) = datasets.every(workspace)
    assert made.load() == [{"conversation": [{"input": "问", "output": "答"}]}]
    assert made.made["unused"] == {"解析": 1}


def test_a_dialogue_among_the_corpora_is_imported_as_one(workspace, tmp_path):
    (tmp_path / "x.txt").write_text(
        "问：几点？\n答：九点，请在门口等一下。\n\n问：哪里？\n答：北街的尽头。\n", encoding="utf-8"
    )
    page = open_page("dataset")
    page.segmented_control(key="corpus_from").set_value("path").run()
    page.text_input(key="corpus_path").set_value(str(tmp_path / "x.txt")).run()
    assert any("看起来是问答" in info.value for info in page.info)
    page.button(key="corpus_turns").click().run()
    (made,) = datasets.every(workspace)
    assert [row["conversation"][0]["output"] for row in made.load()] == ["九点，请在门口等一下。", "北街的尽头。"]
