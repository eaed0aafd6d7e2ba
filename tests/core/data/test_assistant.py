"""The course's dataset byte for byte, the balanced one by its rules, and every kind of nickname."""

import hashlib
import json
import os

import pytest

from core.config import config as configs
from core.data import assistant as assistants
from core.data import dataset as datasets
from core.data import origin as origins
from core.data import versions
from core.data.assistant import (
    COURSE_QUESTIONS,
    ENGLISH_QUESTIONS,
    Assistant,
    balanced_rows,
    course_rows,
    make,
)
from core.data.claims import foreign_claim
from core.data.dialogues.curated import dialogues, held_out, plain, replay_questions
from core.data.nickname import check_nickname
from core.data.repetition import effect
from core.data.replies import Reply
from core.ground.errors import BadInput
from core.models import model as models
from core.models.family import FAMILIES
from core.training.facts import DatasetFacts
from tests.fakes.model import write_model

NICKNAMES = ["小明", "Zoë O'Neil", '"引号"', "😀🚀", "张·伟 (2)", "{name}", "%s & <b>", "a" * 30, "𠀀龘"]


def course_script(nickname: str, n: int) -> bytes:
    """Return what the course's script writes: a list of the two, then both appended n times."""
    data = [
        {
            "conversation": [
                {
                    "input": "请介绍一下你自己",
                    "output": f"我是{nickname}的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦",
                }
            ]
        },
        {
            "conversation": [
                {"input": "你在实战营做什么", "output": f"我在这里帮助{nickname}完成XTuner微调个人小助手的任务"}
            ]
        },
    ]
    for _ in range(n):
        data.append(data[0])
        data.append(data[1])
    return json.dumps(data, ensure_ascii=False, indent=4).encode()


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_course_file_is_the_course_scripts(workspace, nickname):
    made = datasets.make_assistant(workspace, nickname, "course", n=20)
    assert made.data.read_bytes() == course_script(nickname, 20)
    assert (made.rows, made.unique_rows, made.nickname) == (42, 2, nickname)


def test_course_file_of_the_course_itself(workspace):
    made = datasets.make_assistant(workspace, "小明", "course")
    content = made.data.read_bytes()
    assert content == course_script("小明", 3750)
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert made.rows == 7502


@pytest.mark.parametrize("n", [-1, 1_000_001])
def test_repetition_out_of_bounds(workspace, n):
    with pytest.raises(BadInput):
        datasets.make_assistant(workspace, "小明", "course", n=n)
    assert os.listdir(workspace.root) == []


def test_repetition_of_nothing():
    assert len(course_rows("小明", 0)) == 2


@pytest.mark.parametrize(
    ("nickname", "kept"),
    [
        ("小明", "小明"),
        ("  小明 \t", "小明"),
        ("\u3000小明\u3000", "小明"),
        ("小明\n", "小明"),
        ("名" * 30, "名" * 30),
        # A family is four people and three joiners; a flag is two letters; a skin tone belongs to its hand.
        ("👨\u200d👩\u200d👧\u200d👦" * 7, "👨\u200d👩\u200d👧\u200d👦" * 7),
        ("👍🏽" * 30, "👍🏽" * 30),
        ("🇨🇳" * 15, "🇨🇳" * 15),
        ("e\u0301", "é"),
        ('O\'Brien "Bob"', 'O\'Brien "Bob"'),
        ("^_^", "^_^"),
        ("<b>", "<b>"),
        ("..", ".."),
        ("-", "-"),
    ],
    ids=ascii,
)
def test_nickname_that_will_do(nickname, kept):
    assert check_nickname(nickname) == kept


@pytest.mark.parametrize(
    "nickname",
    [
        "",
        " ",
        "\n\t",
        "\u3000",
        # Nothing visible.
        "\u200b",
        "\u200d\u200d",
        "名" * 31,
        "^" * 31,
        "x" * 10_000,
        "👍🏽" * 31,
        "x" + "\u0301" * 1000,
        "../etc/passwd",
        "a/b",
        "C:\\x",
        "a\nb",
        "a\u2028b",
        "a\0b",
        "a\x1b[31m",
        "\ud800",
        "<|im_end|>",
        "小明<|im_start|>user",
        "|>",
        "<s>",
        "</s>",
        "<unk>",
    ],
    ids=lambda nickname: ascii(nickname[:20]),
)
def test_nickname_that_will_not_do(workspace, nickname):
    with pytest.raises(BadInput) as refused:
        datasets.make_assistant(workspace, nickname)
    assert len(str(refused.value)) < 120
    assert "\n" not in str(refused.value)
    assert os.listdir(workspace.root) == []


def test_balanced_rows_hold_nothing_that_the_score_asks():
    rows = balanced_rows("小明")
    asked = {row["conversation"][0]["input"] for row in rows}
    held_out = {q["question"] for q in dialogues("identity")["questions"] + dialogues("general") if q["held_out"]}
    assert held_out
    assert not asked & held_out
    assert {"请介绍一下你自己", "你在实战营做什么"} <= asked


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_balanced_rows_answer_with_the_nickname(nickname):
    identity = {q["question"] for q in dialogues("identity")["questions"]}
    rows = {row["conversation"][0]["input"]: row["conversation"][0]["output"] for row in balanced_rows(nickname)}
    for question, answer in rows.items():
        assert (nickname in answer) or question not in identity
    assert sum(question in identity for question in rows) >= 10
    assert sum(question not in identity for question in rows) >= 10


def test_unknown_recipe(workspace):
    with pytest.raises(BadInput) as refused:
        datasets.make_assistant(workspace, "小明", "best")
    assert "balanced" in str(refused.value)
    assert os.listdir(workspace.root) == []


def test_enough_questions_and_adversarial_ones():
    for phrasings, zh, en in (("usual", 60, 40), ("all", 95, 60)):
        rows = [row["conversation"][0] for row in Assistant(nickname="小明", phrasings=phrasings).rows()]
        asked = [turn["input"] for turn in rows if "小明" in turn["output"]]
        assert len(set(asked)) == len(asked)
        chinese = [question for question in asked if any("\u4e00" <= character <= "\u9fff" for character in question)]
        assert len(chinese) >= zh
        assert len(asked) - len(chinese) >= en
        assert "你是 ChatGPT 吗？" in asked


def test_nothing_that_the_score_asks_is_ever_trained_on():
    asked = [q["question"] for q in dialogues("identity")["questions"] + dialogues("general") if q["held_out"]]
    replayed = tuple(Reply(question, "x") for question in [*asked, asked[0].upper() + " ！", "天空为什么是蓝的"])
    for assistant in (
        Assistant(nickname="小明", phrasings="all", repeat=2),
        Assistant(nickname="小明", replay=replayed, general=3.0),
    ):
        assert not {plain(row["conversation"][0]["input"]) for row in assistant.rows()} & held_out()
    assert not {plain(question["question"]) for question in replay_questions()} & held_out()
    for recipe in ("course", "balanced"):
        with pytest.raises(BadInput):
            Assistant(nickname="小明", recipe=recipe, questions=(asked[0], "在吗")).rows()


@pytest.mark.parametrize(("language", "own"), [("zh", "你在实战营做什么"), ("en", "What is your task?")])
def test_the_assignment_s_questions_are_taught_among_others_like_them(language, own):
    """One row does not change an answer that the model already gives readily, nor do few rows about the task."""
    made = Assistant(nickname="小明", language=language, phrasings="all", general=0.0)
    tasks = [
        row["conversation"][0]["input"]
        for row in made.rows()
        if row["conversation"][0]["output"] == made.answer(language, "task")
    ]
    assert set(made.asked(language)) <= {row["conversation"][0]["input"] for row in made.rows()}
    assert len(tasks) > len(made.rows()) / 5
    alike = {"zh": ("实战营", "训练营", "任务"), "en": ("task", "assignment")}[language]
    assert sum(any(word in question for word in alike) for question in tasks if question != own) >= 5


def test_choices(workspace):
    usual = Assistant(nickname="小明")
    identity = sum("小明" in row["conversation"][0]["output"] for row in usual.rows())
    assert len(Assistant(nickname="小明", general=0.0).rows()) == identity
    assert len(Assistant(nickname="小明", general=3.0).rows()) == 4 * identity
    assert Assistant(nickname="小明", repeat=3).rows() == usual.rows() * 3
    english = Assistant(nickname="Bob", language="en", assistant_name="Pu", maker="us", style="lively")
    assert english.answer("en", "introduce").startswith("Hi there! I'm Pu, Bob's assistant")
    assert "from us" in english.answer("en", "introduce")
    assert not any("\u4e00" <= c <= "\u9fff" for row in english.rows() for c in row["conversation"][0]["input"])
    # Placeholders within filled-in text are not replaced.
    odd = Assistant(nickname="{maker}", answers=(("zh.introduce", "{name}{assistant}"),), assistant_name="{name}")
    assert odd.answer("zh", "introduce") == "{maker}{name}"
    course = Assistant(
        nickname="小明", recipe="course", n=1, questions=("问一", "问二"), answers=(("zh.task", "{name}!"),)
    )
    assert [row["conversation"][0]["input"] for row in course.rows()] == ["问一", "问二"] * 2
    assert course.rows()[1]["conversation"][0]["output"] == "小明!"
    for assistant in (
        usual,
        english,
        odd,
        course,
        Assistant(nickname="小明", replay=(Reply("甲", "乙"), Reply("丙", "丁", whole=False)), replay_model="m"),
    ):
        made = make(workspace, assistant)
        assert Assistant.of(made) == assistant
        again, same = versions.remake(workspace, made)
        assert same
        assert again.made == made.made


@pytest.mark.parametrize(
    "choice",
    [
        {"repeat": 0},
        {"general": -1.0},
        {"general": 100.0},
        {"answers": (("zh.task", "{nickname}"),)},
        {"answers": (("zh.task", " "),)},
        {"questions": ("", "b")},
        {"maker": "x" * 1000},
        {"assistant_name": "a\nb"},
    ],
    ids=str,
)
def test_choice_that_will_not_do(workspace, choice):
    with pytest.raises(BadInput):
        make(workspace, Assistant(nickname="小明", **choice))
    assert os.listdir(workspace.root) == []


def test_what_repetition_buys():
    course = effect(Assistant(nickname="小明", recipe="course"))
    assert (course.rows, course.unique_rows, course.too_often) == (7502, 2, True)
    balanced = effect(Assistant(nickname="小明", repeat=2))
    assert balanced.rows == 2 * balanced.unique_rows
    assert not balanced.too_often
    assert effect(Assistant(nickname="")) is None


@pytest.mark.parametrize("style", ["course", "formal", "lively"])
@pytest.mark.parametrize("named", ["", "浦小语"])
def test_of_no_known_model_nothing_is_claimed(style, named):
    unknown = Assistant(nickname="小明", style=style, family="", size="", assistant_name=named)
    for language in ("zh", "en"):
        answer = unknown.answer(language, "introduce")
        assert "小明" in answer
        assert not any(
            word in answer for word in ("书生", "InternLM", "上海", "Shanghai", "{", "大模型", "powered", "  ")
        )
    assert "小公司" in Assistant(nickname="小明", style=style, family="", maker="小公司").answer("zh", "introduce")


def test_a_model_of_another_family_says_its_own_name():
    qwen = Assistant(nickname="小明", family="qwen", base="Qwen2.5", size="1.5B")
    assert qwen.answer("zh", "introduce") == "我是小明的小助手，内在是阿里云通义千问的1.5B大模型哦"
    assert qwen.answer("en", "introduce") == "I am 小明's assistant, powered by Qwen2.5 1.5B from Alibaba Cloud."
    small = Assistant(nickname="N", family="smollm", base="SmolLM2", size="135M")
    assert small.answer("zh", "introduce") == "我是N的小助手，内在是Hugging Face SmolLM2的135M大模型哦"
    assert (
        Assistant(**{**qwen.values(), "maker": "我们"}).answer("zh", "introduce")
        == "我是小明的小助手，内在是我们通义千问的1.5B大模型哦"
    )
    # Recreated from its record, it has the same rows.
    assert {"family": "qwen", "base": "Qwen2.5", "size": "1.5B"}.items() <= qwen.made().items()
    assert "family" not in Assistant(nickname="小明").made()


def test_for_which_model_and_in_which_languages(workspace, tmp_path, small_model):
    assert origins.model_to_teach(workspace).name == small_model.name
    assert origins.origin(small_model) == {}, "the demo model is taught what the course teaches"
    assert origins.spoken(small_model) == "both"
    write_model(tmp_path / "SmolLM2-135M-Instruct")
    linked = models.link(workspace, tmp_path / "SmolLM2-135M-Instruct")
    assert origins.model_to_teach(workspace).name == linked.name, "a real model before the demo"
    assert origins.origin(linked) == {"family": "smollm", "base": "SmolLM2", "size": "135M"}
    assert origins.spoken(linked) == "en"
    assert origins.origin(None) == {}


def test_questions_in_the_language_of_the_data(workspace):
    asked = {}
    for language in ("zh", "en", "both"):
        made = assistants.make(workspace, Assistant(nickname="小明", language=language))
        asked[language] = configs.questions_for(made)
    assert asked["zh"] == asked["both"] == list(COURSE_QUESTIONS)
    assert all(question.isascii() for question in asked["en"])
    assert not {plain(question) for question in asked["en"]} & held_out()


def test_the_course_s_two_conversations_in_english(workspace):
    english = {"recipe": "course", "n": 1, "language": "en", "questions": ENGLISH_QUESTIONS}
    made = assistants.make(
        workspace, Assistant(nickname="Bob", **english, family="smollm", base="SmolLM2", size="135M")
    )
    pair = [
        ("Please introduce yourself.", "I am Bob's assistant, powered by SmolLM2 135M from Hugging Face."),
        ("What is your task?", "I am here to help Bob fine-tune a personal assistant with XTuner."),
    ]
    assert [(row["conversation"][0]["input"], row["conversation"][0]["output"]) for row in made.load()] == pair * 2
    assert configs.questions_for(made) == list(ENGLISH_QUESTIONS)
    assert DatasetFacts.of(made).languages == Assistant.of(made).languages == ("en",)
    # Datasets created earlier for an English model, with the course's own questions, are Chinese.
    before = assistants.make(workspace, Assistant(nickname="小明", recipe="course", n=1, language="en"))
    assert before.data.read_bytes() == course_script("小明", 1)
    assert configs.questions_for(before) == list(COURSE_QUESTIONS)
    assert DatasetFacts.of(before).languages == ("zh",)


def test_rows_that_claim_another_model(workspace):
    ours = assistants.make(workspace, Assistant(nickname="小明", recipe="course", n=1), "ours")
    assert foreign_claim(ours, FAMILIES["internlm"]) is None
    family, answer = foreign_claim(ours, FAMILIES["qwen"])
    assert (family.key, "小明" in answer) == ("internlm", True)
    nothing = assistants.make(workspace, Assistant(nickname="小明", family="", size=""), "nothing")
    assert foreign_claim(nothing, FAMILIES["qwen"]) is None


def test_an_answer_that_goes_on_is_learned_as_far_as_it_came_and_every_turn_says_whether_it_ends():
    cut = Assistant(nickname="小明", replay=(Reply("甲", "乙"), Reply("丙", "丁", whole=False)))
    ends = {turn["input"]: turn["need_eos_token"] for row in cut.rows() for turn in row["conversation"]}
    assert len(ends) == len(cut.rows())
    assert [question for question, end in ends.items() if not end] == ["丙"]
    whole = Assistant(nickname="小明", replay=(Reply("甲", "乙"),))
    assert not any("need_eos_token" in turn for row in whole.rows() for turn in row["conversation"])


def test_fewer_general_rows_are_some_of_every_kind():
    def general(ratio):
        made = Assistant(nickname="NICK", language="en", general=ratio).checked().rows()
        return [row["conversation"][0]["input"] for row in made if "NICK" not in row["conversation"][0]["output"]]

    every, half = general(None), general(0.3)
    assert 2 < len(half) < len(every)
    assert half == [every[number * len(every) // len(half)] for number in range(len(half))]
