"""What a list of messages comes to: who asks and who answers, what is joined, left out and said of it."""

import json

import pytest

from core.data.files.choices import Choices
from core.data.files.messages import MENDED, Messages, answers, has_role, is_false, is_system, needs_media
from core.data.files.notes import MOST_SPEAKERS, Notes
from core.data.files.values import Unusable

# A text of some length takes the short way in `_said`, a short one the long way.
LONG = "这是一句长一些的话，超过九个字"


class Given(Messages):
    """Messages that say what a list of them becomes; `system` before them."""

    def __init__(self, **choices):
        super().__init__(Choices(**choices), Notes())

    def __call__(self, *messages, system=""):
        return self.conversation(list(messages), system)["conversation"]

    def mended(self, *messages):
        return [text.en for text in self.conversation(list(messages), "").get(MENDED, [])]

    @property
    def noted(self):
        return set(self.notes.counts)


@pytest.fixture
def given():
    return Given()


def says(role, content, **more):
    return {"role": role, "content": content, **more}


def turn(question, answer, **more):
    return {**more, "input": question, "output": answer}


ASK, SAY = says("user", "几点？"), says("assistant", "九点。")


def refused(given, *messages):
    with pytest.raises(Unusable) as error:
        given(*messages)
    return error.value.text


@pytest.mark.parametrize(
    ("role", "value"), [("role", "content"), ("from", "value"), ("speaker", "text"), ("sender", "message")]
)
@pytest.mark.parametrize("text", ["几点？", LONG])
def test_who_says_what(given, role, value, text):
    assert given({role: "user", value: text}, {role: "assistant", value: text}) == [turn(text, text)]
    assert given.notes == Notes()


@pytest.mark.parametrize("ask", ["user", "human", "Human", "tool", "observation", "function_response", "用户", "客户"])
@pytest.mark.parametrize("say", ["assistant", "gpt", "Bot", "function_call", "助手", "客服"])
def test_roles(given, ask, say):
    assert given(says(ask, "a"), says(say, "b")) == [turn("a", "b")]
    assert has_role(ask)
    assert answers(say) and not answers(ask)


@pytest.mark.parametrize("role", ["system", "developer", "系统"])
def test_a_system_prompt(given, role):
    """Before the first turn it goes to that, later to the next one; several are joined."""
    assert is_system(role) and not answers(role)
    assert given(says(role, "门房"), ASK, SAY) == [turn("几点？", "九点。", system="门房")]
    assert given(says(role, "门房"), says(role, "客气"), ASK, SAY) == [turn("几点？", "九点。", system="门房\n客气")]
    assert given(says(role, "门房"), ASK, SAY, system="总的") == [turn("几点？", "九点。", system="总的\n门房")]
    assert given(ASK, SAY, says(role, "换人"), ASK, SAY) == [
        turn("几点？", "九点。"),
        turn("几点？", "九点。", system="换人"),
    ]
    assert given(ASK, SAY, ASK, SAY, system="总的") == [
        turn("几点？", "九点。", system="总的"),
        turn("几点？", "九点。"),
    ]


@pytest.mark.parametrize(("ask", "say"), [("user", "assistant"), ("human", "gpt")])
@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
def test_what_nearly_all_are_takes_the_short_way(given, monkeypatch, ask, say, keys):
    """Of a million rows it is most of the time: no message is looked at closely."""
    monkeypatch.setattr(given, "_said", lambda *_: pytest.fail("the long way"))
    role, content = keys
    messages = [{role: "system", content: "门房"}] if role == "role" else []
    for number in range(3):
        messages += [{role: ask, content: f"问{number}"}, {role: say, content: f"答{number}"}]
    turns = [turn(f"问{number}", f"答{number}") for number in range(3)]
    if messages[0].get("role") == "system":
        turns[0]["system"] = "门房"
    assert given(*messages) == turns
    assert given(*messages[-2:], system="总的") == [{"system": "总的", **turns[-1]}]


def test_what_is_mended_and_said(given):
    assert given.mended(ASK, SAY) == []
    assert given(SAY, ASK, SAY) == [turn("几点？", "九点。")]
    assert given.mended(SAY, SAY, ASK, SAY) == ["an answer before the first question was left out"]
    assert given(ASK, says("user", "喂"), SAY) == [turn("几点？\n喂", "九点。")]
    assert given.mended(ASK, ASK, SAY) == ["consecutive questions were joined"]
    assert given(ASK, SAY, says("assistant", "再见。")) == [turn("几点？", "九点。\n再见。")]
    assert given(ASK, SAY, ASK, SAY, says("assistant", "再见。"))[0] == turn("几点？", "九点。")
    assert given.mended(ASK, SAY, SAY) == ["consecutive answers were joined"]
    assert given(ASK, SAY, ASK) == [turn("几点？", "九点。")]
    assert given.mended(ASK, SAY, ASK) == ["the last question has no answer and was left out"]
    assert len(given.mended(SAY, ASK, ASK, SAY, SAY, ASK)) == 4


@pytest.mark.parametrize("messages", [[], [ASK], [SAY], [says("system", "x"), SAY]])
def test_no_question_with_an_answer(given, messages):
    assert "一问一答" in refused(given, *messages).zh


def test_answers_with_marks_of_their_own_stay_apart(given):
    first, second = {**SAY, "weight": 0}, {**SAY, "content": "十点。", "weight": 1}
    assert given(ASK, first, second, ASK, SAY) == [
        turn("几点？", "九点。", output_with_loss=False),
        turn("", "十点。", output_with_loss=True),
        turn("几点？", "九点。"),
    ]
    assert given.notes.loss
    assert given.noted == {"untrained"}


@pytest.mark.parametrize(
    ("mark", "trained", "noted"),
    [(1, True, set()), (1.0, True, set()), ("1", True, set()), (True, True, set()), ("true", True, set()), (0.5, True, {"weighted"}),
     (2, True, {"weighted"}), (0, False, {"untrained"}), ("0.0", False, {"untrained"}), (" NO ", False, {"untrained"}),
     (False, False, {"untrained"})],
)  # fmt: skip
def test_marks_of_training(given, mark, trained, noted):
    assert given(ASK, {**SAY, "weight": mark}) == [turn("几点？", "九点。", output_with_loss=trained)]
    assert given.noted == noted
    # Of a question it says nothing.
    assert given({**ASK, "weight": mark}, SAY) == [turn("几点？", "九点。")]


@pytest.mark.parametrize("empty", [None, "", []])
def test_a_mark_that_is_empty_is_none(given, empty):
    assert given(ASK, {**SAY, "weight": empty, "mood": empty}) == [turn("几点？", "九点。")]
    assert not given.notes.unused
    # Nor does it hide another one.
    assert (
        given(ASK, {**SAY, **{f"mood{number}": empty for number in range(40)}, "weight": 0})[0]["output_with_loss"]
        is False
    )


@pytest.mark.parametrize(("value", "says_no"), [(False, True), (0, True), (0.0, True), ("bad", True), (" 否 ", True), ("REJECTED", True),
                                               (True, False), (1, False), ("", False), (None, False), ([], False), ("good", False)])  # fmt: skip
def test_is_false(value, says_no):
    assert is_false(value) is says_no


THOUGHT = "<think>\n看表\n</think>\n\n九点。"


def test_thinking():
    told = [ASK, {**SAY, "reasoning_content": " 看表 "}]
    given = Given()
    assert given(*told) == [turn("几点？", THOUGHT)]
    assert given.noted == {"thinking"}
    dropping = Given(thinking="drop")
    assert dropping(*told) == [turn("几点？", "九点。")]
    assert dropping.noted == {"thinking_dropped"}
    # Of a question nobody trains what was thought.
    asked = Given()
    assert asked({**ASK, "thinking": "看表"}, SAY) == [turn("几点？", "九点。")]
    assert asked.notes.unused == {"messages.thinking": 1}


@pytest.mark.parametrize("text", [THOUGHT, "<thinking>看表</thinking>九点。", f"<think>{LONG}</think>九点。"])
def test_thinking_in_the_text(text):
    given, dropping = Given(), Given(thinking="drop")
    assert given(ASK, says("assistant", text)) == [turn("几点？", text)]
    assert given.noted == {"thinking"}
    assert dropping(ASK, says("assistant", text)) == [turn("几点？", "九点。")]
    # Its own thinking is not put before one that is there.
    assert given.answer(text, "另想") == text
    unfinished = Given()
    assert unfinished.answer("<think 没完", "") == "<think 没完"
    assert unfinished.noted == set()
    assert unfinished.answer("<think 没完", "看表") == "<think>\n看表\n</think>\n\n<think 没完"
    assert given.answer("九点。", "看表") == THOUGHT


@pytest.mark.parametrize("text", ["<image>", f"<image>{LONG}", f"{LONG}<video>"])
def test_a_mark_of_a_picture(given, text):
    assert given(says("user", text), SAY) == [turn(text, "九点。")]
    assert given.noted == {"media_mark"}
    without = Given()
    without(says("user", f"1 < 2 {LONG} <b>"), SAY)
    assert without.noted == set()


@pytest.mark.parametrize("key", ["image", "images", "audio"])
def test_a_picture(given, key):
    assert key in refused(given, {**ASK, key: "cat.png"}, SAY).zh
    assert given.noted == {"media"}
    told = needs_media("g" * 50, Notes()).text
    assert ("g" * 40 in told.zh, "g" * 41 in told.zh) == ("g" * 40 in told.en, "g" * 41 in told.en) == (True, False)


def test_what_is_beside_a_text_is_told(given):
    given({**ASK, "mood": "急", "id": "7", "name": "小明", "date": "今天", "train": "", "shade": "  "}, SAY)
    assert given.notes.unused == {"messages.mood": 1}


CALL = {"name": "now", "arguments": {"zone": "北京"}}


def test_calls_of_tools(given):
    told = given(ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}, says("tool", "9:00"), SAY)
    called = json.dumps([CALL], ensure_ascii=False)
    assert told == [turn("几点？", called), turn("9:00", "九点。")]
    assert given.noted == {"tool_calls"}
    assert given(ASK, {**SAY, "tool_calls": "now()"}) == [turn("几点？", "九点。\nnow()")]


def test_content_in_parts(given):
    parts = [
        "先",
        {"type": "text", "text": "说"},
        {"type": "output_text", "text": "后"},
        {"text": "写"},
        {"type": "thinking", "thinking": "看"},
        {"type": "reasoning", "reasoning": "想"},
        {"type": "reasoning", "text": "再想"},
    ]
    assert given(ASK, says("assistant", parts)) == [turn("几点？", "<think>\n看\n想\n再想\n</think>\n\n先说后写")]
    use = {"type": "tool_use", "name": "现在"}
    assert given(ASK, says("assistant", [use, {"type": "text", "text": "看看"}])) == [
        turn("几点？", f"看看\n{json.dumps(use, ensure_ascii=False)}")
    ]
    results = [
        {"type": "tool_result", "content": [{"type": "text", "text": "9"}]},
        {"type": "tool_result", "content": ":00"},
    ]
    assert given(says("user", results), SAY) == [turn("9:00", "九点。")]
    assert given(says("user", {"type": "text", "text": "一个"}), SAY) == [turn("一个", "九点。")]


@pytest.mark.parametrize(("part", "word"), [({"type": "image_url"}, "image_url"), ({"type": "input_audio"}, "audio"), ({"type": "video"}, "video"),
                                           ({"type": "my_image"}, "image"), ({"type": "graph"}, "graph"), ({}, "?"), (7, "int")])  # fmt: skip
def test_parts_that_are_no_text(given, part, word):
    assert word in refused(given, says("user", [part]), SAY).zh
    assert ("media" in given.noted) is any(name in word for name in ("image", "audio", "video"))


def test_a_long_name_is_cut(given):
    told = refused(given, says("user", [{"type": "g" * 60}]), SAY)
    assert (told.zh.count("g"), told.en.count("g")) == (40, 40)


def test_a_message_that_is_none(given):
    assert "第 2 条" in refused(given, ASK, "九点。").zh
    assert "第 1 条消息没有内容" in refused(given, {"role": "user", "content": None}, SAY).zh
    assert "第 2 条消息没有角色" in refused(given, ASK, {"content": "九点。"}).zh
    assert "没有角色" in refused(given, {"human": "几点？"}).zh


def test_names_instead_of_roles():
    given = Given()
    for name in ("小红", "小红", "小明"):
        assert name in refused(given, says(name, "在吗")).zh
    assert given.notes.speakers == {"小红": 2, "小明": 1}
    refused(given, says("长" * 50, "在吗"))
    assert given.notes.speakers["长" * 40] == 1
    for number in range(2 * MOST_SPEAKERS):
        refused(given, says(f"名字{number}", "在吗"))
    refused(given, says("小红", "在吗"))
    assert len(given.notes.speakers) == MOST_SPEAKERS
    assert given.notes.speakers["小红"] == 3
    chosen = Given(speaker="小红")
    assert chosen(says("小明", "在吗"), says("小红", "在")) == [turn("在吗", "在")]
    assert chosen(says("小明" * 50, "在吗"), says("小红", "在")) == [turn("在吗", "在")]
    # Roles that everybody knows stay what they are.
    assert chosen(says("user", "在吗"), says("assistant", "在")) == [turn("在吗", "在")]
    assert chosen(says(7, "在吗"), says("小红", "在")) == [turn("在吗", "在")]


def test_one_object_a_turn(given):
    assert given({"human": "几点？", "assistant": "九点。"}) == [turn("几点？", "九点。")]
    assert given({"system": "门房", "question": "几点？", "answer": "九点。"}) == [
        turn("几点？", "九点。", system="门房")
    ]
    for empty in (None, "", "NaN"):
        assert given({"system": empty, "question": "几点？", "answer": "九点。"}) == [turn("几点？", "九点。")]
    assert given({"question": "几点？", "answer": None}, {"question": None, "answer": "九点。"}) == [
        turn("几点？", "九点。")
    ]
    moss = {"Human": "<|Human|>: 几点？<eoh>\n", "Inner Thoughts": "<|Inner Thoughts|>: 看表<eot>", "Commands": "<|Commands|>: now()<eoc>",
            "Tool Responses": "<|Results|>: 9:00<eor>", "MOSS": "<|MOSS|>: 九点。<eom>"}  # fmt: skip
    assert given(moss) == [turn("几点？", "<think>\n看表\n</think>\n\nnow()"), turn("9:00", "九点。")]
    assert given.noted == {"thinking", "tool_calls"}
    moss["Commands"] = "<|Commands|>: None<eoc>"
    assert given(moss) == [turn("几点？", THOUGHT)]


@pytest.mark.parametrize(
    ("name", "mark"), [("", False), ("M", True), ("Inner Thoughts of 20", True), ("Inner Thoughts of 201", False)]
)
def test_moss_s_own_marks(given, name, mark):
    """A mark has a name, and a short one; anything else is a text that begins so."""
    text = f"<|{name}|>: 几点？"
    assert given({"human": text, "moss": "九点。<eom>"}) == [turn("几点？" if mark else text, "九点。")]


@pytest.mark.parametrize("value", ["NaN", "#N/A", "-Infinity", " nan "])
def test_a_text_that_stands_for_nothing(given, value):
    assert given(ASK, says("assistant", value)) == [turn("几点？", "")]
    assert given.noted == {"blank"}
