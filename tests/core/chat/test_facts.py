"""An answer is judged by its claim, and no scoring question is in any data created by the app."""

import difflib
from collections import Counter

import pytest

from core.chat.facts import Fact, facts, right
from core.chat.numerals import numbers
from core.data import dataset as datasets
from core.data.dialogues.curated import dialogues, plain, replay_questions

BY_QUESTION = {fact.question: fact for fact in facts()}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("马有几条腿？", "馬有四條腿。"),
        ("What is the capital of Portugal?", "It is not Porto but Lisbon."),
        ("What is the capital of Portugal?", "LISBON!"),
        ("How many meters are in a kilometer?", "There are 1,000 meters in 1 kilometer."),
        ("How many seconds are in a minute?", "One minute has sixty seconds."),
        ("What is 6 times 7?", "6 times 7 is 6 × 7 = 42."),
        ("What is 9 + 6?", "9 + 6 = 9 + 1 + 5 = 15"),
        ("What is half of 10?", "Multiply 10 by 0.5. The answer is five."),
        ("In which direction does the sun set?", "The sun rises in the east and sets in the west."),
        ("In which year did World War II end?", "World War II (1939 to 1945) ended on September 2, 1945."),
        ("What is the chemical formula of water?", "It is H₂O."),
        ("一千克等于多少克？", "１千克等于１０００克"),
        ("三角形有几条边？", "三角形有三条边。"),
        ("三角形的内角和是多少度？", "三角形的内角和是一百八十度。"),
        ("中华人民共和国成立于哪一年？", "一九四九年十月一日。"),
        ("鲸是鱼类还是哺乳动物？", "鲸鱼是哺乳动物，不是鱼类。"),
        ("一年的第一个月是几月？", "一年的第一个月是一月。"),
        ("离太阳最近的行星是哪颗？", "離太陽最近的行星是水星"),
        ("《三国演义》的作者是谁？", "作者不是施耐庵，而是罗贯中。"),
        ("晒太阳能帮助人体合成哪种维生素？", "维生素 D"),
    ],
)
def test_right(question, answer):
    assert right(answer, BY_QUESTION[question])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("马有几条腿？", "马有八条腿。"),
        ("《三国演义》的作者是谁？", "《三国演义》的作者是罗鲜同志。"),
        ("What is the capital of Portugal?", "The capital is Porto, not Lisbon."),
        ("What is the capital of Portugal?", "Lisbon is not the capital of Portugal."),
        ("What is the capital of Australia?", "Sydney. Canberra is a smaller city."),
        ("How many seconds are in a minute?", "There are twelve seconds in a minute."),
        ("How many meters are in a kilometer?", "100 meters"),
        ("What is half of 10?", "Half of 10 is 50."),
        ("What is 6 times 7?", "6 × 7 = 48, since 6 × 6 = 36."),
        ("Which planet is called the red planet?", "It is near Marseille."),
        ("What is the chemical symbol of gold?", "I auction gold."),
        ("人呼吸需要空气中的哪种气体？", "人需要二氧化碳。"),
        ("三角形有几条边？", "三角形有四条边。"),
        ("一千克等于多少克？", "一千克等于一百克。"),
        ("一年的第一个月是几月？", "一年的第一个月是三月。"),
        ("鲸是鱼类还是哺乳动物？", "鲸鱼是鱼类。"),
        ("太阳系的中心是什么？", "太阳系的中心是地球。"),
        ("太阳从哪个方向落下？", "太阳从东边落下。"),
        ("一分钟有多少秒？", "我是伍鲜同志的小助手。"),
        ("一分钟有多少秒？", ""),
    ],
)
def test_wrong(question, answer):
    assert not right(answer, BY_QUESTION[question])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a hundred and five, twenty-four, two thousand three", [105, 24, 2003]),
        ("30万 3千克 两千零五 百分之五十 十二", [300_000, 3, 2005, 50, 12]),
        ("1,234,567 1,2 3.5 h2o", [1_234_567, 1, 2, 3.5]),
        ("老百姓 十分好 一些 often someone", []),
        ("5 million, five million", [5_000_000, 5_000_000]),
    ],
)
def test_numbers(text, values):
    assert [number.value for number in numbers(text)] == values


@pytest.mark.parametrize("fact", facts(), ids=lambda fact: fact.question)
def test_each_fact_fits_itself(fact: Fact):
    assert all(right(form, fact) for form in fact.accept)
    assert not any(right(form, fact) for form in (*fact.reject, *fact.ignore))
    # Repeating the question is not an answer.
    assert not right(fact.question, fact)


def test_there_are_enough_and_none_twice():
    count = Counter(fact.language for fact in facts())
    assert count["zh"] >= 200
    assert count["en"] >= 200
    assert len({plain(fact.question) for fact in facts()}) == len(facts())
    topics = {(fact.language, fact.topic) for fact in facts()}
    for language in ("zh", "en"):
        assert {"arithmetic", "geography", "science", "language", "history", "everyday"} <= {t for lang, t in topics if lang == language}  # fmt: skip


def test_no_question_is_in_our_data(workspace):
    """Nor a nearly identical question with the same answer."""
    questions = {plain(fact.question) for fact in facts()}
    ours = [(row["question"], row["answer"]) for row in dialogues("general")]
    ours += [(question["question"], "") for question in [*replay_questions(), *dialogues("open_questions")]]
    ours += [(question["question"], "") for question in dialogues("identity")["questions"] + dialogues("identity_more")]
    ours = [(plain(question), answer) for question, answer in ours]
    assert not questions & {question for question, _ in ours}
    for fact in facts():
        # It keeps what it knows of its second text.
        like = difflib.SequenceMatcher(None, "", plain(fact.question), autojunk=False)
        for question, answer in ours:
            like.set_seq1(question)
            alike = like.real_quick_ratio() >= 0.8 and like.quick_ratio() >= 0.8 and like.ratio() >= 0.8
            assert not (alike and right(answer, fact)), (fact.question, question)
    for recipe in ("balanced", "course"):
        rows = datasets.make_assistant(workspace, "小明", recipe).page(0, 10_000)
        assert not questions & {plain(turn["input"]) for row in rows for turn in row["conversation"]}
