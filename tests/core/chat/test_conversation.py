"""A chat with both sides is stored on disk, and each side gets its own earlier answers."""

import pytest

from core.chat.conversation import Conversation, Exchange, load, new_conversation
from core.ground.errors import BadInput


def line(answer):
    return {"answer": answer, "tokens": 3, "ttft_ms": 1.0, "tokens_per_s": 9.0, "finish": "stop"}


def test_kept_and_loaded(workspace):
    talk = new_conversation("20260101-000000-x")
    talk.exchanges.append(Exchange(question="你好", answers={"base": line("嗨"), "tuned": line("我是小明的小助手 😀")}))
    talk.save(workspace)
    assert load(workspace, talk.id) == talk
    talk.exchanges.append(Exchange(question="再见"))
    talk.save(workspace)
    assert load(workspace, talk.id).exchanges[1] == Exchange(question="再见", answers={})
    assert [path.name for path in workspace.conversations.iterdir()] == [f"{talk.id}.json"]


def test_two_tabs_lose_nothing_of_each_other(workspace):
    talk = new_conversation("r")
    talk.add(workspace, Exchange(question="1"))
    one, other = load(workspace, talk.id), load(workspace, talk.id)
    one.add(workspace, Exchange(question="2"))
    other.add(workspace, Exchange(question="3"))
    assert [e.question for e in load(workspace, talk.id).exchanges] == ["1", "2", "3"]
    again = load(workspace, talk.id)
    again.back_to(1)
    again.add(workspace, Exchange(question="4"))
    assert [e.question for e in load(workspace, talk.id).exchanges] == ["1", "4"]
    assert [path.name for path in workspace.conversations.glob("*.json")] == [f"{talk.id}.json"]


def test_each_side_hears_its_own_answers():
    talk = Conversation(
        id="x",
        exchanges=[
            Exchange(question="a", answers={"base": line("b1"), "tuned": line("t1")}),
            Exchange(question="b", answers={"tuned": line("t2")}),
        ],
    )
    assert talk.turns("base", "c") == [("a", "b1"), ("c", None)]
    assert talk.turns("tuned", "c") == [("a", "t1"), ("b", "t2"), ("c", None)]
    assert Conversation(id="y").turns("base", "c") == [("c", None)]


def test_nothing_there(workspace):
    assert load(workspace, "20260101-000000") is None


@pytest.mark.parametrize("name", ["../x", "", "a/b"])
def test_bad_id(workspace, name):
    with pytest.raises(BadInput):
        load(workspace, name)
    with pytest.raises(BadInput):
        Conversation(id=name).save(workspace)
