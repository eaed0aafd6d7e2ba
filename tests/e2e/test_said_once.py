"""Figures of the real demo that several pages and its report show: each is the same everywhere."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.ground.figures import duration, share, size
from core.ground.files import size_of
from core.jobs.job import wait_until
from core.report import preparation, results
from core.report.material import Draft
from core.report.outline import Outline
from core.training import run as runs
from pages.components.dataset.conversation_rows import TABS
from tests.e2e.conftest import Demo
from tests.pages.screen import cells, open_page, tab, texts

pytestmark = pytest.mark.usefixtures("at_the_demo")


@pytest.fixture
def at_the_demo(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages are those of the demo's workspace."""
    monkeypatch.setenv("XTUNER_STUDIO_HOME", str(demo.workspace.root))


@pytest.fixture
def report(demo: Demo) -> str:
    """Return the report's sections in Chinese; the demo itself writes it in its user's language."""
    run = runs.find(demo.workspace, demo.run.name)
    points = run.metrics().read()
    draft = Draft(workspace=demo.workspace, run=run, language="zh", outline=Outline(), points=points)
    sections = (preparation.dataset, preparation.commands, results.training, results.comparison, results.scores)
    return "\n".join(line for write in (*sections, results.time) for line in write(draft))


def row(text: str, first: str) -> list[str]:
    """Return the cells of the first table row that begins with `first`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def forecast_of() -> tuple[str, dict[str, str]]:
    """Return the only config's forecast: the line of its verdict, and its details."""
    page = tab(open_page("config"), "config_tab", "预检详情")
    page.button(key="run_preflight").click().run()
    assert wait_until(lambda: shown(page.run()), 300), texts(page)
    (short,) = [caption.value for caption in page.caption if "次参数更新 · " in caption.value]
    return short, shown(page)


def shown(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_the_forecast_is_what_was_trained(demo: Demo, report: str) -> None:
    run, (short, forecast), train = runs.find(demo.workspace, demo.run.name), forecast_of(), open_page("train")
    updates = forecast["参数更新次数"]
    assert short.startswith(f"{updates} 次参数更新 · ")
    assert updates == str(run.job.progress["updates"])
    assert f"参数更新 {updates} ·" in texts(train)
    iterations = f"{forecast['总迭代数']} / {forecast['总迭代数']}"
    assert shown(train)["迭代"] == row(report, "迭代")[1] == iterations
    assert float(shown(train)["轮"]) == float(forecast["实际轮数"])
    dataset = open_page("dataset", {TABS: "统计"})
    rows, unique = shown(dataset)["行数"], shown(dataset)["互不相同的行"]
    assert forecast["数据行数（互不相同）"] == f"{rows} ({unique})"
    assert (row(report, "行数")[1], row(report, "不同的行")[1]) == (rows, unique)
    assert f"{rows} 行" in texts(dataset)


def test_how_long_the_training_took(demo: Demo, report: str) -> None:
    run = runs.find(demo.workspace, demo.run.name)
    time = duration(run.seconds).zh
    assert open_page("train").get("progress")[0].proto.text == time
    assert row(report, "训练")[1] == row(report, "用时")[1] == time
    assert f"训练 · {time}" in texts(open_page("setup", section="demo"))


def test_scores(demo: Demo, report: str) -> None:
    identity, kept = (share(demo.answer["scores"][rate]["tuned"]) for rate in ("identity", "retention"))
    chat = open_page("chat", {"chat_tab": "评分"})
    assert (shown(chat)["身份认知"], shown(chat)["能力保持"]) == (identity, kept)
    assert (row(report, "身份")[2], row(report, "原有能力保持")[2]) == (identity, kept)
    for page in (chat, open_page("train")):
        assert f"身份认知 {identity}" in texts(page)
    setup = open_page("setup", section="demo")
    assert (shown(setup)["身份认知"], shown(setup)["能力保持"]) == (identity, kept)


def test_answers_before_and_after(demo: Demo, report: str) -> None:
    # Nicknames are marked on the page, and punctuation is escaped on both.
    setup = re.sub(r":green-background\[(.*?)\]|\\(.)", r"\1\2", cells(open_page("setup", section="demo")))
    asked = zip(demo.answer["before"], demo.answer["after"], strict=True)
    for before, after in asked:
        assert f"{before['prompt']}\n{before['answer']}\n{after['answer']}" in setup
        assert f"| {before['prompt']} | {before['answer']} | {after['answer']} |" in re.sub(r"\\(.)", r"\1", report)
    written = re.sub(r"\\(.)", r"\1", Path(demo.answer["report"], "report.md").read_text(encoding="utf-8"))
    assert all(f"| {before['prompt']} | {before['answer']} | " in written for before in demo.answer["before"])


def test_sizes_and_checkpoint(demo: Demo, report: str) -> None:
    run, page = runs.find(demo.workspace, demo.run.name), open_page("export")
    adapter, merged = size_of(run.adapter), size_of(run.merged)
    assert f"**模型可以用了** · {size(merged)} · " in texts(page)
    assert f"{size(adapter)} · " in texts(page)
    assert f"适配器与合并后的模型共占 {size(adapter + merged)}。" in report
    assert f"来自检查点 {run.checkpoint().name}。" in texts(page)
    assert run.checkpoint().name in report
