"""Which of a base model's own answers are usable for training, and where a truncated one ends."""

import pytest

from core.data.replies import Reply, flaw, shortened


@pytest.mark.parametrize(
    ("question", "answer", "language", "why"),
    [
        ("What is rain?", "Rain is water that falls from clouds.", "en", None),
        ("What is 2 plus 2?", "4", "en", None),
        ("What is 2 plus 2?", "# \n# \n# \n", "en", "empty"),
        ("What is rain?", "Rain is wet, rain is wet, rain is wet, rain is wet,", "en", "loop"),
        ("Name three fruits.", "1. Apples\n2. Pears\n3. Apples\n4. Plums\n5. Apples", "en", "loop"),
        ("Name three fruits.", "1. Apples\n2. Pears\n3. Apples", "en", None),
        ("列一个表", "| 一 | 二 |\n|-----------|-----------|\n| 三 | 四 |", "zh", None),
        ("天空为什么是蓝色的？", "The sky is blue because of scattering.", "zh", "language"),
        ("怎么安装？", "在终端运行 pip install xtuner==0.2.0 --no-deps，然后重新打开终端。", "zh", None),
        ("Translate 'good morning' into Chinese.", "In Chinese, it is 早上好.", "en", None),
        ("What is rain?", "雨是从云里落下来的水。", "en", "language"),
        ("Hello", "Hello! I'm SmolLM, how can I help you?", "en", "name"),
        ("你好", "你好！我是通义千问，有什么可以帮你？", "zh", "name"),
        ("Hello", "Hello! I'm here to help you.", "en", None),
        ("What is Gemma?", "I am glad you ask: Gemma is a model.", "en", None),
        ("Which search engine is large?", "Google is the largest.", "en", None),
    ],
)
def test_what_is_not_fit_to_be_learned(question, answer, language, why):
    assert flaw(question, answer, language) == why


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (
            "The sky is blue. Light is scattered by the air. That is wh",
            "The sky is blue. Light is scattered by the air.",
        ),
        ("天空是蓝色的。因为空气散射了光。这就是", "天空是蓝色的。因为空气散射了光。"),
        (
            "Yes. The sky is blue since light of short wavelengths is scat",
            "Yes. The sky is blue since light of short wavelengths is",
        ),
        ("1. Apples\n2. Pears\n3. Cherr", "1. Apples\n2. Pears"),
        ("1. Apples\n2. Pears\n3. ", "1. Apples\n2. Pears"),
        ("It costs 3.50 in all sho", "It costs 3.50 in all"),
        ("天空为什么是蓝色的", "天空为什么是蓝色的"),
        ("Supercalifragil", "Supercalifragil"),
    ],
)
def test_one_that_was_cut_off_is_kept_up_to_its_last_sentence(answer, kept):
    assert shortened(answer) == kept


def test_a_reply_is_whole_unless_it_is_said():
    assert Reply("a", "b").whole
    assert Reply(*["a", "b", False]) == ("a", "b", False)
