"""Figures of a finished run that several places show: pages, report and commands must agree on each."""

import json

import pytest

from core import __main__ as command_line
from core.chat import score
from core.ground.figures import size
from core.ground.files import read_json, size_of, write_json
from core.report import preparation, results
from core.report.material import Draft
from core.report.outline import Outline
from tests.pages.screen import open_page, primary, texts

SECONDS, TIME = 754.0, "12 分 34 秒"
RUNS, SCORES = {"runs_open": True}, {"chat_tab": "评分"}


@pytest.fixture
def run(exported_run):
    """Return the exported run, as if it had trained for a while and learned less than all: no figures are equal by chance."""
    exit_ = exported_run.job.directory / "exit.json"
    write_json(exit_, {**read_json(exit_), "seconds": SECONDS})
    scores = exported_run.path / "scores" / f"{exported_run.checkpoint().name}.json"
    written = read_json(scores)
    for question in [one for one in written["questions"] if one["kind"] == "identity"][:4]:
        question |= {"tuned": "不知道", "tuned_identity": False}
    write_json(scores, written)
    return exported_run


@pytest.fixture
def report(workspace, run):
    """Return the second cells of the report's tables, by the first ones; in the scores the third, which is the model's."""
    points = run.metrics().read()
    draft = Draft(workspace=workspace, run=run, language="zh", outline=Outline(), points=points)

    def table(write, column=2):
        rows = [line.split("|") for line in "\n".join(write(draft)).splitlines()]
        return {row[1].strip(): row[column].strip() for row in rows if len(row) > column + 1}

    return {
        "dataset": table(preparation.dataset),
        "training": table(results.training),
        "time": table(results.time),
        "scores": table(results.scores, 3),
    }


@pytest.fixture
def told(workspace, capsys):
    """Return a function that runs a command and returns its JSON."""

    def ask(*words):
        capsys.readouterr()
        assert command_line.main([*words, "--workspace", str(workspace.root), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


def shown(page):
    return {metric.label: metric.value for metric in page.metric}


def listed(page):
    """Return the only row of the list of runs."""
    (row,) = page.dataframe[0].value.to_dict("records")
    return row


def test_time_iterations_and_loss(run, report, told):
    page = open_page("train", RUNS)
    row, status, (entry,) = listed(page), told("train", "status", "latest"), told("train", "list")["runs"]
    assert (
        page.get("progress")[0].proto.text
        == row["用时"]
        == report["training"]["用时"]
        == report["time"]["训练"]
        == TIME
    )
    iterations = f"{status['iter']} / {status['max_iters']}"
    assert shown(page)["迭代"] == row["迭代"] == report["training"]["迭代"] == iterations == "12 / 12"
    loss = f"{status['loss']:.4f}"
    assert shown(page)["损失"] == row["最后的损失"] == loss
    assert report["training"]["损失（开始 → 最后）"].endswith(f" → {loss}")
    assert status == {key: value for key, value in entry.items() if key != "name"}
    # An iteration of the fake trainer is half an update.
    assert f"参数更新 {run.job.progress['updates']} ·" in texts(page)


def test_identity_and_verdict(report):
    share = report["scores"]["身份"]
    assert share == "92%"
    train, chat = open_page("train"), open_page("chat", SCORES)
    for page in (train, chat):
        assert f"身份认知 {share}" in texts(page)
        assert "**学会了：认得自己是谁，原来会的也还会**" in texts(page)
    assert shown(chat)["身份认知"] == share


def test_rows(report, told):
    page = open_page("dataset", {"dataset_tab": "统计"})
    (entry,) = told("datasets", "list")["datasets"]
    rows = f"{entry['rows']:,}"
    assert f"{rows} 行" in texts(page)
    assert shown(page)["行数"] == report["dataset"]["行数"] == rows
    assert shown(page)["互不相同的行"] == report["dataset"]["不同的行"] == f"{entry['unique_rows']:,}"
    assert shown(page)["大小"] == report["dataset"]["文件大小"]


def test_sizes_and_checkpoint(workspace, run):
    page = open_page("export")
    adapter, merged = size_of(run.adapter), size_of(run.merged)
    assert f"**模型可以用了** · {size(merged)} · " in texts(page)
    for made in (adapter, merged):
        assert f"{size(made)} · 1 秒" in texts(page)
    assert f"来自检查点 {run.checkpoint().name}。" in texts(page)
    draft = Draft(workspace=workspace, run=run, language="zh", outline=Outline(), points=run.metrics().read())
    assert f"共占 {size(adapter + merged)}。" in "\n".join(results.time(draft))


def test_a_better_checkpoint_is_recommended_and_what_is_exported_is_shown(run):
    exported, better = run.checkpoint().name, "iter_8"
    written = read_json(run.path / "scores" / f"{exported}.json")
    written["stamp"] = score._stamp(run, better)
    for question in written["questions"]:
        question["tuned_identity"] = question["kind"] == "identity"
    write_json(run.path / "scores" / f"{better}.json", written)
    chat, export = open_page("chat", SCORES), open_page("export", {"export_again": True})
    of, to_export = chat.selectbox(key=f"score-of-{run.id}"), export.selectbox(key=f"checkpoint-{run.id}")
    for box in (of, to_export):
        assert [option.split(" · ")[0] for option in box.options if option.endswith("评分最好")] == [better]
    assert (of.value, to_export.value) == (exported, better)
    assert shown(chat)["身份认知"] == "92%"
    for page in (chat, open_page("train")):
        assert "身份认知 92%" in texts(page)
    assert f"来自检查点 {exported}。" in texts(export)


def test_name_and_next_step(run):
    train = open_page("train", RUNS)
    (name,) = train.selectbox(key="run").options
    assert listed(train)["名称"] == name
    pages = [open_page(page) for page in ("export", "chat", "report")]
    assert [page.selectbox(key="run").options for page in pages] == [[name]] * 3
    assert primary(train) == primary(pages[0]) == primary(pages[1]) == ["下一步：生成作业报告"]
    checklist = [link.proto.label.replace("\\", "") for link in open_page("setup").get("page_link")]
    assert f"完成一次训练 · {name}" in checklist
    assert run.id not in "".join(checklist)
