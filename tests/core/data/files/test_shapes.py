"""What becomes of one record, by its shape: without a file, a workspace or a page."""

import pytest

from core.data.files import shapes
from core.data.files.choices import Choices
from core.data.files.dialogue import Dialogue
from core.data.files.messages import MENDED
from core.data.files.notes import Notes
from core.data.files.shapes import Columns, Converters, Unusable, mended_text
from core.ground.text import Text

ASK, SAY = {"role": "user", "content": "几点开门？"}, {"role": "assistant", "content": "九点。"}
PLAIN = [[{"input": "几点开门？", "output": "九点。"}]]


class Given(Converters):
    """Converters that say of a record what it becomes: the conversations, the kinds noted, the fields left."""

    def __init__(self, columns=None, **choices):
        super().__init__(Choices(**choices), Notes(), columns)

    def __call__(self, format_, record):
        return [row["conversation"] for row in self.rows(format_, record)]

    @property
    def noted(self):
        return set(self.notes.counts)

    @property
    def left(self):
        return set(self.notes.unused)


@pytest.fixture
def given():
    return Given()


def refused(given, format_, record):
    with pytest.raises(Unusable) as error:
        given(format_, record)
    return error.value.text


@pytest.mark.parametrize(
    ("format_", "record"),
    [
        ("xtuner", {"conversation": [{"input": "几点开门？", "output": "九点。"}]}),
        ("openai", {"messages": [ASK, SAY]}),
        ("sharegpt", {"conversations": [{"from": "human", "value": "几点开门？"}, {"from": "gpt", "value": "九点。"}]}),
        ("alpaca", {"instruction": "几点开门？", "output": "九点。"}),
        ("qa", {"question": "几点开门？", "answer": "九点。"}),
        ("qa", ["几点开门？", "九点。"]),
        ("openai", [ASK, SAY]),
        ("sharegpt", [ASK, SAY]),
        ("qa", {"prompt": [ASK], "response": [SAY]}),
        ("qa", {"prompt": [ASK], "response": "九点。"}),
        ("qa", {"data": {"question": "几点开门？", "answer": "九点。"}, "id": 3}),
        ("qa", {"question": "几点开门？", "answer": {"text": ["九点。", "十点。"]}}),
    ],
)
def test_each_shape(given, format_, record):
    assert given(format_, record) == PLAIN
    assert given.left == given.noted == set()


@pytest.mark.parametrize(
    ("format_", "record"),
    [("qa", [ASK, SAY]), ("openai", ["问", "答"]), ("text", ["问", "答"]), ("text", 7), ("alpaca", "文字"), ("qa", "文字"),
     ("openai", []), ("xtuner", [ASK, SAY])],
)  # fmt: skip
def test_what_has_no_names_and_not_the_form_either(given, format_, record):
    with pytest.raises(TypeError):
        given(format_, record)


def test_text(given):
    assert (
        given("text", {"text": "从前有座山。"})
        == given("text", "从前有座山。")
        == [[{"input": "", "output": "从前有座山。"}]]
    )
    assert "没有 text" in refused(given, "text", {"title": "x"}).zh


def test_a_dialogue_in_a_text(given):
    found = given("dialogue", {"id": 1, "text": "问：几点开门？\n答：九点。"})
    assert found == given("dialogue", "问：几点开门？\n答：九点。") == PLAIN
    assert given.noted == {"turns"}
    said = Dialogue(family="x", turns=(("user", "几点开门？"), ("assistant", "九点。")))
    assert Given()("dialogue", said) == PLAIN


def test_a_dialogue_in_a_field_that_nobody_knows_is_used(given):
    assert given("dialogue", {"remarks": "问：几点开门？\n答：九点。"}) == PLAIN
    assert given.left == set()


def test_prose_is_no_dialogue(given):
    assert "标记" in refused(given, "dialogue", {"text": "从前有座山。", "n": 3}).zh
    assert given.noted == {"prose"}


def test_of_several_lists_of_turns_the_first_is_used(given):
    record = {"conversation": [{"role": "user", "content": "x"}, SAY], "messages": [ASK, SAY]}
    assert given("openai", record) == PLAIN
    assert given.left == {"conversation"}


def test_what_is_left_is_told_and_what_is_empty_is_not(given):
    given("qa", {"question": "几点开门？", "answer": "九点。", "mood": "好", "colour": "", "shade": None, "id": "7"})
    assert given.left == {"mood"}


@pytest.mark.parametrize("format_", ["openai", "alpaca", "qa", "xtuner"])
def test_what_each_format_uses_is_not_left(format_):
    given = Given()
    record = {"instruction": "几点开门？", "output": "九点。", "messages": [ASK, SAY], "system": "门房",
              "conversation": [{"input": "a", "output": "b"}], "tools": "[]", "thinking": "", "weight": 1}  # fmt: skip
    given(format_, record)
    unused = {
        # Of several lists of turns the first is used.
        "openai": {"instruction", "output", "conversation"},
        "alpaca": {"messages", "conversation", "tools"},
        "qa": {"messages", "conversation", "tools"},
        # Its own list, and all that is about a turn stands in the turn.
        "xtuner": {"instruction", "output", "conversation", "system", "tools"},
    }
    assert given.left == unused[format_]


def test_the_columns_that_were_chosen():
    given = Given(Columns(question="b", answer="a", system="s"))
    record = {"a": "九点。", "b": "几点开门？", "s": "门房", "label": "差", "chosen": "x", "rejected": "y", "more": "z"}
    assert given("qa", record) == [[{"system": "门房", "input": "几点开门？", "output": "九点。"}]]
    assert given.left == {"label", "chosen", "rejected", "more"}
    assert given("qa", {"a": "九点。", "b": "几点开门？"}) == PLAIN
    assert "没有 b 这一列" in refused(given, "qa", {"a": "九点。"}).zh
    assert "没有 a 这一列" in refused(given, "qa", {"b": "几点开门？"}).zh


def test_columns_without_a_system():
    record = {"a": "九点。", "b": "几点开门？", "s": "门房"}
    given = Given(Columns(question="b", answer="a"))
    assert given("qa", record) == PLAIN
    assert given.left == {"s"}


@pytest.mark.parametrize(
    ("record", "notes"),
    [
        ({"chosen": "九点。", "rejected": "不知道"}, {"preference"}),
        ({"response_a": "不知道", "response_b": "九点。", "winner": "response_b"}, {"preference"}),
        ({"responses": ["九点。", "不知道"]}, {"preference"}),
        ({"chosen": [ASK, SAY], "rejected": [ASK, SAY]}, {"preference"}),
    ],
)
def test_of_two_answers_the_better_one(given, record, notes):
    assert given("qa", {"prompt": "几点开门？", **record}) == PLAIN
    assert (given.noted, given.left) == (notes, set())


def test_of_two_dialogues_the_better_one(given):
    record = {"chosen": "\n\nHuman: Open?\n\nAssistant: At nine.", "rejected": "\n\nHuman: Open?\n\nAssistant: No."}
    assert given("dialogue", record) == [[{"input": "Open?", "output": "At nine."}]]
    assert given.left == set()


def test_a_list_of_two_answers_has_the_better_one_first(given):
    assert given("qa", {"question": "几点开门？", "answer": ["九点。", "不知道"]}) == PLAIN
    assert given.noted == {"preference"}
    three = Given()
    assert three("qa", {"question": "q", "answer": ["一", "二", "三"]}) == [[{"input": "q", "output": "一\n二\n三"}]]
    assert three.noted == {"joined"}


def test_an_answer_with_an_empty_list_is_empty(given):
    assert given("qa", {"question": "几点开门？", "answer": {"text": []}}) == [[{"input": "几点开门？", "output": ""}]]


@pytest.mark.parametrize("mark", [False, 0, "0.0", "bad", "否", "差"])
def test_a_bad_answer_is_left_out_or_kept(mark):
    record = {"question": "几点开门？", "answer": "九点。", "label": mark}
    given = Given()
    assert "label" in refused(given, "qa", record).en
    assert given.noted == {"bad"}
    kept = Given(bad="keep")
    assert kept("qa", record) == PLAIN
    assert kept.noted == {"bad_kept"}


def test_a_good_answer_and_a_label_beside_two_answers(given):
    assert given("qa", {"question": "几点开门？", "answer": "九点。", "label": True}) == PLAIN
    assert given("qa", {"prompt": "几点开门？", "chosen": "九点。", "label": 0}) == PLAIN
    assert "bad" not in given.noted


@pytest.mark.parametrize(("mark", "trained"), [(0, False), ("0.0", False), (False, False), (1, True), (0.5, True)])
def test_a_row_that_is_not_trained(given, mark, trained):
    record = {"question": "几点开门？", "answer": "九点。", "weight": mark}
    if trained:
        assert given("qa", record) == PLAIN
    else:
        assert "weight" in refused(given, "qa", record).zh
        assert given.noted == {"untrained"}


def test_a_label_of_a_text_says_what_it_is_about(given):
    """`label: 0` beside a text is a class of it, not a judgement."""
    assert given("text", {"text": "从前有座山。", "label": 0, "weight": 0})


@pytest.mark.parametrize(("held", "refuses"), [("cat.png", True), ("", False), ([], False)])
def test_a_picture(given, held, refuses):
    record = {"question": "几点开门？", "answer": "九点。", "image": held}
    if refuses:
        assert "image" in refused(given, "qa", record).zh
        assert given.noted == {"media"}
    else:
        assert given("qa", record) == PLAIN


def test_turns_of_xtuner_keep_what_they_have(given):
    turns = [
        {
            "system": "门房",
            "input": "问",
            "output": "答",
            "output_with_loss": False,
            "need_eos_token": True,
            "score": 3,
        },
        {"system": "null", "input": "", "output": "再答", "need_eos_token": None},
    ]
    assert given("xtuner", {"conversation": turns}) == [
        [
            {"system": "门房", "input": "问", "output": "答", "output_with_loss": False, "need_eos_token": True},
            {"input": "", "output": "再答"},
        ]
    ]
    assert given.notes.loss
    without = Given()
    without("xtuner", {"conversation": [{"output": "答"}]})
    assert not without.notes.loss


def test_one_turn_with_a_mark_of_loss_is_enough(given):
    marked = {"input": "a", "output": "b", "output_with_loss": True}
    given("xtuner", {"conversation": [marked]})
    given("xtuner", {"conversation": [{"input": "a", "output": "b"}]})
    assert given.notes.loss


@pytest.mark.parametrize(
    ("more", "system", "notes"),
    [
        ({"system": "门房"}, "门房", set()),
        ({"tools": '[{"name": "f"}]'}, '[{"name": "f"}]', {"tools"}),
        ({"tools": [{"name": "看"}]}, '[{"name": "看"}]', {"tools"}),
        ({"system": "门房", "tools": "f()"}, "门房\n\nf()", {"tools"}),
        ({"system": "门房", "tools": "[]"}, "门房", set()),
        ({"system": "门房", "tools": []}, "门房", set()),
    ],
)
def test_system_and_tools_of_messages(given, more, system, notes):
    (conversation,) = given("openai", {"messages": [ASK, SAY], **more})
    assert conversation == [{"system": system, "input": "几点开门？", "output": "九点。"}]
    assert (given.noted, given.left) == (notes, set())


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            {"messages": '[{"role": "user", "content": "几点开门？"}, {"role": "assistant", "content": "九点。"}]'},
            PLAIN,
        ),
        ({"messages": {"0": ASK, "1": SAY}}, PLAIN),
        # A column that is only called like a conversation.
        ({"chat": "闲谈", "messages": [ASK, SAY]}, PLAIN),
    ],
)
def test_turns_that_are_not_plainly_a_list(given, record, found):
    assert given("openai", record) == found


@pytest.mark.parametrize("held", [{}, {"a": ASK, "b": "x"}, 7, None])
def test_turns_that_are_none(given, held):
    assert "messages 不是列表" in refused(given, "openai", {"messages": held}).zh


def test_no_turns_at_all(given):
    assert "messages" in refused(given, "openai", {"title": "x"}).zh


def test_no_output_of_alpaca(given):
    assert "nooutput" in refused(given, "alpaca", {"instruction": "a", "output": "<nooutput>"}).en


def test_alpaca_without_an_output_is_another_format(given):
    with pytest.raises(KeyError):
        given("alpaca", {"instruction": "a"})


@pytest.mark.parametrize("record", [{"question": "a"}, {"answer": "a"}])
def test_half_a_pair(given, record):
    assert "两列" in refused(given, "qa", record).zh


@pytest.mark.parametrize(
    ("name", "notes"),
    # `input` is what Alpaca calls it, and nobody wonders.
    [("input", set()), ("context", {"context"}), ("background", {"context"})],
)
def test_context_goes_after_the_question(given, name, notes):
    record = {"instruction": "译成英文", name: "山", "output": "mountain"}
    assert given("qa", record) == [[{"input": "译成英文\n山", "output": "mountain"}]]
    assert (given.noted, given.left) == (notes, set())


def test_context_alone_is_a_question(given):
    assert given("alpaca", {"instruction": None, "input": "山", "output": "x"}) == [[{"input": "\n山", "output": "x"}]]


@pytest.mark.parametrize(("question", "empty"), [(None, True), (float("nan"), True), ("", False)])
def test_an_empty_question(given, question, empty):
    """The text of a continuation has none on purpose; a cell without a value has lost its own."""
    if empty:
        assert "问题是空的" in refused(given, "qa", {"question": question, "answer": "九点。"}).zh
    else:
        assert given("qa", {"question": question, "answer": "九点。"}) == [[{"input": "", "output": "九点。"}]]


def test_several_wordings_of_a_question(given):
    record = {"question": ["几点开门？", "何时营业？"], "answer": "九点。", "system": "门房"}
    assert given("qa", record) == [
        [{"system": "门房", "input": question, "output": "九点。"}] for question in ("几点开门？", "何时营业？")
    ]
    assert given.noted == {"alternatives"}
    one = Given()
    assert one("qa", {"question": ["几点开门？"], "answer": "九点。"}) == PLAIN
    assert one.noted == set()


def test_a_question_that_is_no_text(given):
    assert "不是文字" in refused(given, "qa", {"question": ["a", 7], "answer": "b"}).zh
    assert "不是文字" in refused(given, "qa", {"question": [["a"]], "answer": "b"}).zh


def test_thinking_of_its_own_column(given):
    record = {"question": "几点开门？", "thinking": "看时刻表", "answer": "九点。"}
    assert given("qa", record) == [[{"input": "几点开门？", "output": "<think>\n看时刻表\n</think>\n\n九点。"}]]
    assert Given(thinking="drop")("qa", record) == PLAIN


def test_a_mark_of_a_picture_in_a_question(given):
    given("qa", {"question": "<image> 是什么？", "answer": "猫"})
    assert given.noted == {"media_mark"}


PAST = [{"input": "在吗", "output": "在"}, {"input": "你是谁", "output": "门房"}]


@pytest.mark.parametrize(
    "history",
    [
        [["在吗", "在"], ["你是谁", "门房"]],
        [{"q": "在吗", "a": "在"}, {"q": "你是谁", "a": "门房"}],
        ["在吗", "在", "你是谁", "门房"],
        '[["在吗", "在"], ["你是谁", "门房"]]',
        [{"role": "user", "content": "在吗"}, {"role": "assistant", "content": "在"},
         {"role": "user", "content": "你是谁"}, {"role": "assistant", "content": "门房"}],
    ],
)  # fmt: skip
def test_what_was_said_before(given, history):
    record = {"question": "几点开门？", "answer": "九点。", "history": history}
    assert given("qa", record) == [[*PAST, *PLAIN[0]]]
    assert given.noted == set()
    (conversation,) = Given()("qa", {**record, "system": "门房"})
    assert conversation == [{"system": "门房", **PAST[0]}, PAST[1], *PLAIN[0]]


def test_a_past_whose_turns_differ(given):
    """What the first one is like decides."""
    history = [
        {"role": "user", "content": "在吗"},
        {"role": "assistant", "content": "在"},
        {"q": "你是谁", "a": "门房"},
    ]
    record = {"question": "几点开门？", "answer": "九点。", "history": history}
    assert given("qa", record) == [[*PAST, *PLAIN[0]]]
    assert given("qa", {**record, "history": [{"x": "在吗", "y": "在"}]}) == [[PAST[0], *PLAIN[0]]]
    assert refused(given, "qa", {**record, "history": history[:1]})


def test_a_last_question_of_the_past_without_an_answer(given):
    (conversation,) = given("qa", {"question": "几点开门？", "answer": "九点。", "history": ["在吗", "在", "喂"]})
    assert conversation == [PAST[0], *PLAIN[0]]
    assert given.noted == {"half_past"}


@pytest.mark.parametrize("history", [None, [], ""])
def test_nothing_was_said_before(given, history):
    assert given("qa", {"question": "几点开门？", "answer": "九点。", "history": history}) == PLAIN


def test_a_past_that_is_no_list(given):
    assert "历史对话" in refused(given, "qa", {"question": "a", "answer": "b", "history": "谁知道"}).zh
    with pytest.raises(ValueError, match="unpack"):
        given("qa", {"question": "a", "answer": "b", "history": [["一", "二", "三"]]})


def test_the_fields_are_looked_for_once_and_not_for_ever(given, monkeypatch):
    """Files of many shapes must not fill the memory; the same fields in the same order are known."""
    monkeypatch.setattr(shapes, "_MOST_LAYOUTS", 2)
    for number in range(4):
        assert given("qa", {"question": "几点开门？", "answer": "九点。", f"more{number}": "x"}) == PLAIN
    assert len(given._layouts) == 2
    looked, real = [], shapes.layout_of
    monkeypatch.setattr(shapes, "layout_of", lambda keys: looked.append(keys) or real(keys))
    given("qa", {"question": "几点开门？", "answer": "九点。", "more0": "y"})
    assert looked == []
    # The same fields mean another thing in another format.
    given("text", {"question": "几点开门？", "answer": "九点。", "text": "x"})
    assert looked == [("question", "answer", "text")]


def test_mended_text():
    assert mended_text([Text("一", "one"), Text("二", "two")]) == Text("一；二", "one; two")


# What messages come to is for `messages`; a row of them is what most files hold.
def talk(*said, **more):
    return {"messages": [{"role": role, "content": text, **more} for role, text in said]}


def test_a_second_answer_with_a_mark_of_its_own_does_not_repeat_the_question(given):
    record = {"messages": [ASK, {**SAY, "weight": 0}, {**SAY, "content": "十点。", "weight": 1}]}
    assert given("openai", record) == [
        [
            {"input": "几点开门？", "output": "九点。", "output_with_loss": False},
            {"input": "", "output": "十点。", "output_with_loss": True},
        ]
    ]


@pytest.mark.parametrize(
    ("mark", "trained"),
    [
        ("0.0", False),
        (0.0, False),
        ("0", False),
        (False, False),
        ("No", False),
        ("1.0", True),
        (2, True),
        ("yes", True),
    ],
)
def test_marks_of_loss(given, mark, trained):
    ((turn,),) = given("openai", {"messages": [ASK, {**SAY, "loss": mark}]})
    assert turn["output_with_loss"] is trained


def test_turns_of_one_role_are_joined(given):
    (row,) = given.rows(
        "openai", talk(("user", "喂"), ("user", "几点？"), ("assistant", "九点。"), ("assistant", "再见。"))
    )
    assert row["conversation"] == [{"input": "喂\n几点？", "output": "九点。\n再见。"}]
    assert len(row[MENDED]) == 2
