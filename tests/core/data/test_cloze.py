"""Cloze questions from texts: what they ask for, and which answers count."""

import pytest

from core.data.cloze import LEAST_CONTEXT, accepted, cloze

FILLER = "这里的人们日子过得很平静，早上去河边洗衣，晚上坐在树下说话，谁也不着急，谁也不多问。"
CHINESE = [
    f"{FILLER}镇长叫林墨川，他管着镇上的事。后来有一位从海边来的人问起林墨川，说的是钟楼建于一八七三年。",
    f"{FILLER}铁匠每天都打铁，他说林墨川写过一本叫《山中旧事》的书，书里没有一个字是假的。",
    f"{FILLER}村里一共有二百三十七户人家，外来的人很少，连林墨川都说不出他们从哪里来。",
]
PLAIN = "the people of the valley went to the market on foot and talked about the weather and the price of bread "
ENGLISH = [
    f"In the old days {PLAIN}until the miller called Beladis Orley came to live at Lomidale. There the miller stayed.",
    f"Every spring {PLAIN}and the toll was 1,250 coins a year. Nobody knew why Beladis Orley had asked for it.",
    "Too short to ask about Kelor Haven.",
]


def test_names_numbers_and_titles_are_asked_for():
    asked = {one.answer: one for one in cloze(CHINESE, 20)}
    assert {"山中旧事", "二百三十七", "一八七三"} <= set(asked)
    assert asked["山中旧事"].text.endswith("《")
    # Characters that recur together are a name.
    assert "林墨川" in asked
    found = cloze(ENGLISH, 20)
    assert {one.answer for one in found} == {"Beladis Orley", "Lomidale", "1,250"}
    assert all(one.language == "en" and len(one.text) >= LEAST_CONTEXT["en"] - 1 for one in found)


def test_nothing_can_be_copied_from_the_question():
    for one in cloze([*CHINESE, *ENGLISH], 50):
        assert one.answer not in one.text


def test_the_same_texts_give_the_same_questions_whatever_their_order():
    assert cloze(CHINESE, 4) == cloze(CHINESE[::-1], 4) != []
    assert len(cloze(CHINESE, 2)) == 2
    # One question per piece before a second one of any.
    assert len({one.text[-200:][:20] for one in cloze(CHINESE, 3)}) >= 1
    assert cloze([], 5) == []


def test_of_pieces_that_were_not_trained_only_what_the_trained_ones_say():
    assert [one.answer for one in cloze(ENGLISH[:1], 9, among=["Lomidale is a village."])] == ["Lomidale"]
    assert cloze(ENGLISH[:1], 9, among=["nothing of it"]) == []


def test_what_every_piece_says_is_no_detail():
    many = [f"{number} {PLAIN}and then all of them saw King Torvald there." for number in range(60)]
    assert cloze(many, 50) == []


@pytest.mark.parametrize(
    ("said", "answer", "right"),
    [
        (" Lomidale, on the river.", "Lomidale", True),
        ("lomidale", "Lomidale", True),
        (" Lomidales are many", "Lomidale", False),
        (" the village of Lomidale", "Lomidale", False),
        (" 1250 coins", "1,250", True),
        (" 12503", "1250", False),
        ("一八七三年", "一八七三", True),
        ("二百三十七十", "二百三十七", False),
        ("山中旧事》", "山中旧事", True),
        ("《山中旧事》", "山中旧事", True),
        ("", "1250", False),
    ],
)
def test_accepted(said, answer, right):
    assert accepted(said, answer) is right
