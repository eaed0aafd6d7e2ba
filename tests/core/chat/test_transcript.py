"""A conversation as Markdown and JSON, whatever was said in it."""

import json

import pytest

from core.chat.conversation import Conversation, Exchange, delete, every, load
from core.chat.transcript import as_json, markdown

NAMES = {"base": "微调前", "tuned": "微调后", "iter_4": "iter_4"}


def said(answer, **figures):
    return {"answer": answer, "tokens": 3, "ttft_ms": 12.0, "tokens_per_s": 80.0, "finish": "stop", **figures}


@pytest.fixture
def talk():
    return Conversation(
        id="20260101-000000-aa",
        run="r",
        system="说中文",
        exchanges=[
            Exchange(question="你是谁", answers={"tuned": said("我是<小明>的 & 小助手"), "base": said("我是书生")}),
            Exchange(question="长" * 200, answers={"base": {"answer": "停\x00了\n两行", "finish": "stopped"}}),
        ],
    )


def test_markdown(talk):
    text = markdown(talk, NAMES, "zh")
    assert "## 1. 你是谁" in text
    assert "**微调后**\n\n> 我是<小明>的 & 小助手" in text
    assert "> 停\x00了\n> 两行" in text
    assert "说中文" in text
    assert "80 tokens/s" in text


def test_an_answer_loads_no_picture(talk):
    talk.exchanges[0].answers["base"]["answer"] = "![x](http://far/a.png) <img src=http://far/b.png> 1<2"
    assert "> \\![x](http://far/a.png) \\<img src=http://far/b.png> 1<2" in markdown(talk, NAMES, "zh")


def test_json(talk):
    found = json.loads(as_json(talk, NAMES))
    assert found["exchanges"][0]["answers"]["tuned"]["answer"] == "我是<小明>的 & 小助手"
    assert found["names"]["base"] == "微调前"


def test_conversations_of_a_run(workspace, talk):
    talk.save(workspace)
    Conversation(id="20260102-000000-bb", run="r").save(workspace)
    Conversation(id="20260103-000000-cc", run="other", exchanges=talk.exchanges).save(workspace)
    (workspace.conversations / "20260104-broken.json").write_text("{")
    assert [one.id for one in every(workspace, "r")] == [talk.id]
    assert every(workspace, "r")[0].sides == ["base", "tuned"]
    delete(workspace, talk.id)
    delete(workspace, talk.id)
    assert load(workspace, talk.id) is None


def test_back_to_an_exchange(talk):
    assert talk.back_to(0) == "你是谁"
    assert talk.exchanges == []
