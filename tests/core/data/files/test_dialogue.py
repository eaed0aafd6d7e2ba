"""Dialogues written as text are recognized in any family and container; prose stays prose."""

import json
import random
import zipfile

import pytest

from core.data import corpus, intake
from core.data.dialogues import curated
from core.data.files.dialogue import FAMILIES, recognise
from core.data.files.texts import is_spoken
from core.data.intake import Wanted
from core.ground.errors import BadInput

TWO = [("user", "几点开门？"), ("assistant", "九点。"), ("user", "几点关？"), ("assistant", "六点。")]
TEXTS = {
    "hashes": "### Human: 几点开门？### Assistant: 九点。### Human: 几点关？### Assistant: 六点。",
    "hashes of alpaca": "### Instruction:\n几点开门？\n\n### Response:\n九点。\n\n### Instruction:\n几点关？\n\n### Response:\n六点。",
    "names": "Human: 几点开门？\nAssistant: 九点。\nHuman: 几点关？\nAssistant: 六点。",
    "names apart": "\n\nHuman: 几点开门？\n\nAssistant: 九点。\n\nHuman: 几点关？\n\nAssistant: 六点。",
    "user": "User: 几点开门？\nBot: 九点。\nUser: 几点关？\nBot: 六点。",
    "Chinese": "问：几点开门？\n答：九点。\n问：几点关？\n答：六点。",
    "Chinese numbered": "1. 问题1：几点开门？\n答案1：九点。\n2. 问题2：几点关？\n答案2：六点。",
    "brackets": "【问】几点开门？\n【答】九点。\n【问】几点关？\n【答】六点。",
    "bold": "**Q:** 几点开门？\n**A:** 九点。\n\n**Q:** 几点关？\n**A:** 六点。",
    "on one line": "问：几点开门？答：九点。问：几点关？答：六点。",
    "vicuna": "USER: 几点开门？ ASSISTANT: 九点。</s>USER: 几点关？ ASSISTANT: 六点。</s>",
    "chatml": "<|im_start|>user\n几点开门？<|im_end|>\n<|im_start|>assistant\n九点。<|im_end|>\n<|im_start|>user\n几点关？<|im_end|>\n"
              "<|im_start|>assistant\n六点。<|im_end|>",
    "llama2": "<s>[INST] 几点开门？ [/INST] 九点。 </s><s>[INST] 几点关？ [/INST] 六点。 </s>",
    "llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n几点开门？<|eot_id|><|start_header_id|>assistant"
              "<|end_header_id|>\n\n九点。<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n几点关？<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n六点。<|eot_id|>",
    "gemma": "<bos><start_of_turn>user\n几点开门？<end_of_turn>\n<start_of_turn>model\n九点。<end_of_turn>\n<start_of_turn>user\n几点关？"
             "<end_of_turn>\n<start_of_turn>model\n六点。<end_of_turn>",
    "internlm": "<|User|>:几点开门？<eoh>\n<|Bot|>:九点。<eoa>\n<|User|>:几点关？<eoh>\n<|Bot|>:六点。<eoa>",
    "moss": "<|Human|>: 几点开门？<eoh>\n<|Inner Thoughts|>: None<eot>\n<|Commands|>: None<eoc>\n<|Results|>: None<eor>\n"
            "<|MOSS|>: 九点。<eom>\n<|Human|>: 几点关？<eoh>\n<|MOSS|>: 六点。<eom>",
    "moss plain": "[Human]: 几点开门？<eoh> [MOSS]: 九点。<eoa> [Human]: 几点关？<eoh> [MOSS]: 六点。<eoa>",
    "phi": "<|user|>\n几点开门？<|end|>\n<|assistant|>\n九点。<|end|>\n<|user|>\n几点关？<|end|>\n<|assistant|>\n六点。<|end|>",
    "deepseek": "<｜begin▁of▁sentence｜><｜User｜>几点开门？<｜Assistant｜>九点。<｜end▁of▁sentence｜><｜User｜>几点关？<｜Assistant｜>六点。"
                "<｜end▁of▁sentence｜>",
    "baichuan": "<reserved_106>几点开门？<reserved_107>九点。<reserved_106>几点关？<reserved_107>六点。",
    "angles": "<human>: 几点开门？\n<bot>: 九点。\n<human>: 几点关？\n<bot>: 六点。",
    "headings": "# 几点开门？\n九点。\n\n# 几点关？\n六点。",
    "service": "客户：几点开门？\n客服：九点。\n客户：几点关？\n客服：六点。",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_each_family(name):
    assert list(recognise(TEXTS[name]).turns) == TWO


@pytest.mark.parametrize("name", TEXTS)
def test_a_field_of_each(workspace, tmp_path, name):
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": TEXTS[name]}) + "\n", encoding="utf-8")
    made, report = intake.import_file(workspace, tmp_path / "x.jsonl")
    assert report.format == "dialogue"
    assert made.load() == [
        {"conversation": [{"input": "几点开门？", "output": "九点。"}, {"input": "几点关？", "output": "六点。"}]}
    ]
    assert [problem.kind for problem in report.problems] == ["turns"]
    text, report = intake.import_file(workspace, tmp_path / "x.jsonl", "text")
    assert text.load()[0]["conversation"][0]["output"] == TEXTS[name]


def test_every_family_was_tried():
    assert {recognise(text).family for text in TEXTS.values()} >= {family.name for family in FAMILIES}


def test_a_system_prompt_and_an_input():
    assert recognise("Be short.\n\n### Instruction:\n译\n\n### Input:\n猫\n\n### Response:\ncat").turns == (
        ("system", "Be short."), ("user", "译\n猫"), ("assistant", "cat"))  # fmt: skip
    assert recognise("[INST] <<SYS>>\nBe short.\n<</SYS>>\n\n你好 [/INST] 好").turns == (
        ("system", "Be short."), ("user", "你好"), ("assistant", "好"))  # fmt: skip


PROSE = [
    "注意：本品含有坚果。\n提示：请阅读说明。\n用户：指使用本软件的人。",
    "Note: this is prose.\nUser: a person who uses the program.\nAgent: a program that acts for one.",
    "他问：“几点了？”\n她答：“九点。”\n两人便不再说话。",
    "选择题：下列哪个是水果？\nA：石头\nB：苹果\nC：云",
    "Q: Which one is a fruit?\nA: stone\nB: apple\nC: cloud",
    "# 第一章\n从前有座山。\n# 山里有什么？\n有座庙。\n# 第三章\n庙里有个和尚。\n# 第四章\n完。",
    "a < b <c> [1] see ### 3 and {x}",
    "会议时间：九点\n会议地点：北楼\n参加：全体",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_stays_prose(text):
    assert recognise(text) is None
    assert not is_spoken(text)


def test_a_hundred_kilobytes_of_books_raise_no_alarm(workspace, tmp_path):
    """Chapters with speeches, headings, notes and lists, made of sentences as found in books."""
    rng = random.Random(3)
    said = ["“{}”老人问：“{}”", "他说：{}", "“{}”她答道。", "第{}节  {}", "注：{}", "{}：{}", "Mr. Lee asked: “{}” and I said: {}", "{} {}",
            "答案是：{}。", "The question: {}", "问曰：{}"]  # fmt: skip
    words = (
        "春 夏 山 水 人 家 时候 一个 我们 因为 所以 river time people because house little great morning road".split()
    )
    chapters = []
    for number in range(40):
        lines = [f"# 第{number}章"]
        while sum(map(len, lines)) < 2600:
            sentence = lambda: "".join(rng.choices(words, k=rng.randint(4, 30)))  # noqa: E731
            lines.append(
                rng.choice(said).format(sentence(), sentence()) if rng.random() < 0.3 else f"　　{sentence()}。"
            )
        chapters.append("\n".join(lines))
    book = "\n\n".join(chapters)
    assert len(book.encode()) > 100_000
    for name in ("x.txt", "x.md"):
        (tmp_path / name).write_text(book, encoding="utf-8")
        assert intake.peek(tmp_path / name).format == "text"
    assert not any(recognise(chapter) for chapter in chapters)
    _, told, problems = corpus.make(workspace, [tmp_path / "x.txt"])
    assert not told.spoken
    assert "spoken" not in {problem.kind for problem in problems}


def test_answers_of_ours_are_prose():
    for entry in curated.dialogues("general"):
        assert recognise(str(entry)) is None


FAQ = "问：几点开门？\n答：九点。\n周末十点。\n\n问：几点关？\n答：六点。\n"


def docx(path, text):
    body = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in text.split("\n"))
    name = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{name}"><w:body>{body}</w:body></w:document>')


@pytest.mark.parametrize("kind", ["txt", "md", "docx", "html"])
def test_questions_and_answers_in_any_container(workspace, tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "docx":
        docx(path, FAQ)
    else:
        path.write_text(FAQ if kind != "html" else "<html>" + FAQ.replace("\n", "<br>") + "</html>", encoding="utf-8")
    made, report = intake.import_file(workspace, path)
    assert [row["conversation"] for row in made.load()] == [
        [{"input": "几点开门？", "output": "九点。\n周末十点。"}], [{"input": "几点关？", "output": "六点。"}]]  # fmt: skip
    assert [problem.kind for problem in report.problems] == ["turns"]
    _, told, problems = corpus.make(workspace, [path])
    assert told.spoken == [path.name] and [problem.kind for problem in problems] == ["spoken"]


def test_prose_in_a_document_is_for_the_corpus(workspace, tmp_path):
    docx(tmp_path / "x.docx", "从前有座山。\n山里有座庙。")
    with pytest.raises(BadInput) as refused:
        intake.import_file(workspace, tmp_path / "x.docx")
    assert "语料" in str(refused.value)


@pytest.mark.parametrize(("text", "rows"), [
    ("Human: a\nAssistant: b\nHuman: c\nAssistant: d\n", [2]),
    ("Human: a\nAssistant: b\n\nHuman: c\nAssistant: d\n", [1, 1]),
    ("Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d\n", [2]),
    ("User: a\nBot: b\nUser: c\nBot: d\n---\nUser: e\nBot: f\n", [2, 1]),
])  # fmt: skip
def test_where_a_conversation_of_a_text_ends(workspace, tmp_path, text, rows):
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    made, _ = intake.import_file(workspace, tmp_path / "x.txt")
    assert [len(row["conversation"]) for row in made.load()] == rows


def test_a_cell_of_a_table(workspace, tmp_path):
    (tmp_path / "x.csv").write_text(
        f'编号,对话记录\n1,"{TEXTS["names"]}"\n2,"{TEXTS["Chinese"]}"\n3,没有对话\n', encoding="utf-8"
    )
    made, report = intake.import_file(workspace, tmp_path / "x.csv")
    assert [len(row["conversation"]) for row in made.load()] == [2, 2]
    assert {"turns", "prose"} <= {problem.kind for problem in report.problems}
    assert intake.peek(tmp_path / "x.csv", Wanted()).format == "dialogue"
