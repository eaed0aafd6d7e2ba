"""Real-world data: each field and value is imported or reported with its rows; nothing is dropped silently."""

import json
import re

import openpyxl
import pytest

from core.data import intake, versions
from core.data.files.choices import Choices
from core.data.files.notes import KINDS, Notes
from core.data.intake import Wanted
from core.ground.errors import BadInput

ASK = {"role": "user", "content": "几点开门？"}
SAY = {"role": "assistant", "content": "九点。"}


@pytest.fixture
def bring(workspace, tmp_path):
    """Import records, a text or bytes; return the rows' conversations, and the notices by kind."""

    def bring(what, name="x.jsonl", **choices):
        path = tmp_path / name
        if isinstance(what, bytes):
            path.write_bytes(what)
        elif isinstance(what, str):
            path.write_text(what, encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in what), encoding="utf-8")
        made, report = intake.import_file(workspace, path, wanted=Wanted(choices=Choices(**choices)))
        assert intake.stored_report(made)[1] == report.problems
        remade, same = versions.remake(workspace, made)
        assert same, remade
        found = {problem.kind: problem for problem in report.problems}
        return [row["conversation"] for row in made.load()], found, made

    return bring


THOUGHTS = {
    "in the message": {"messages": [ASK, {**SAY, "reasoning_content": "看时刻表"}]},
    "in a part": {"messages": [ASK, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "看时刻表"}, {"type": "text", "text": "九点。"}]}]},
    "in a column": {"Question": "几点开门？", "Complex_CoT": "看时刻表", "Response": "九点。"},
    "in the text": {"instruction": "几点开门？", "output": "<think>\n看时刻表\n</think>\n\n九点。"},
}  # fmt: skip


@pytest.mark.parametrize("shape", THOUGHTS)
def test_thinking_is_kept_or_left_out(bring, shape):
    rows, told, _ = bring([THOUGHTS[shape]])
    assert rows == [[{"input": "几点开门？", "output": "<think>\n看时刻表\n</think>\n\n九点。"}]]
    assert "1" in told["thinking"].message.zh and "--thinking drop" in told["thinking"].hint.en
    rows, told, made = bring([THOUGHTS[shape]], thinking="drop")
    assert rows == [[{"input": "几点开门？", "output": "九点。"}]]
    assert made.made["choices"] == {"thinking": "drop"} and "thinking_dropped" in told


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"loss": 0.0}, {"weight": "0"}, {"training": "no"}])
def test_an_answer_that_is_not_trained(bring, mark):
    rows, told, _ = bring([{"messages": [ASK, {**SAY, **mark}, ASK, SAY]}])
    assert [turn["output_with_loss"] for turn in rows[0]] == [False, True]
    assert "untrained" in told


def test_a_weight_that_comes_late_is_said_in_every_row(bring):
    plain = [{"messages": [{**ASK, "content": f"第 {number} 天几点开门？"}, SAY]} for number in range(80)]
    rows, _, _ = bring([*plain, {"messages": [ASK, {**SAY, "weight": 0}]}])
    assert [row[0]["output_with_loss"] for row in rows] == [True] * 80 + [False]


@pytest.mark.parametrize("name", ["label", "kto_tag", "is_good"])
def test_a_bad_answer_is_left_out(bring, name):
    records = [{"messages": [ASK, SAY], name: True}, {"messages": [ASK, {**SAY, "content": "不知道"}], name: False}]
    rows, told, made = bring(records)
    assert [row[0]["output"] for row in rows] == ["九点。"]
    assert "1" in told["bad"].message.zh and made.made["noted"]["bad"] == 1
    rows, told, _ = bring(records, bad="keep")
    assert len(rows) == 2 and "bad_kept" in told


PAIRS = {
    "rejected_response": {"query": "几点开门？", "response": "九点。", "rejected_response": "自己看。"},
    "texts": {"prompt": "几点开门？", "chosen": "九点。", "rejected": "自己看。"},
    "whole conversations": {"chosen": [ASK, SAY], "rejected": [ASK, {**SAY, "content": "自己看。"}]},
    "with the prompt too": {"prompt": "几点开门？", "chosen": [ASK, SAY], "rejected": [ASK, SAY]},
    "answers alone": {"prompt": [ASK], "chosen": [SAY], "rejected": [{**SAY, "content": "自己看。"}]},
    "one message": {"conversations": [{"from": "human", "value": "几点开门？"}],
                    "chosen": {"from": "gpt", "value": "九点。"}, "rejected": {"from": "gpt", "value": "自己看。"}},
    "one text": {"chosen": "\n\nHuman: 几点开门？\n\nAssistant: 九点。", "rejected": "\n\nHuman: 几点开门？\n\nAssistant: 哼"},
    "messages": {"messages": [ASK, SAY], "rejected_messages": [ASK, {**SAY, "content": "自己看。"}]},
    "two answers": {"instruction": "几点开门？", "input": "", "output": ["九点。", "自己看。"]},
    "a winner": {"prompt": "几点开门？", "response_0": "自己看。", "response_1": "九点。", "better_response_id": 1},
    "a and b": {"question": "几点开门？", "answer_a": "九点。", "answer_b": "自己看。", "winner": "model_a"},
    "j and k": {"question": "几点开门？", "response_j": "九点。", "response_k": "自己看。"},
    "scores": {"prompt": "几点开门？", "answers": [{"text": "自己看。", "score": 1}, {"text": "九点。", "score": 5}]},
    "preferred": {"input": {"messages": [ASK]}, "preferred_output": [SAY], "non_preferred_output": [{**SAY, "content": "哼"}]},
}  # fmt: skip


@pytest.mark.parametrize("shape", PAIRS)
def test_of_two_answers_the_better_one(bring, shape):
    rows, told, _ = bring([PAIRS[shape]])
    assert rows == [[{"input": "几点开门？", "output": "九点。"}]]
    assert "1" in told["preference"].message.zh and "DPO" in told["preference"].hint.en
    assert "unused" not in told


def test_a_call_of_a_tool_beside_text(bring):
    call = {"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    rows, told, _ = bring([{"messages": [ASK, {**SAY, "content": "我看看。", "tool_calls": [call]},
                                         {"role": "tool", "tool_call_id": "1", "content": "九点"}, SAY],
                            "tools": [{"type": "function", "function": {"name": "clock"}}]}])  # fmt: skip
    assert rows[0][0]["output"].startswith("我看看。\n") and '"clock"' in rows[0][0]["output"]
    assert '"clock"' in rows[0][0]["system"]
    assert {"tool_calls", "tools"} <= told.keys()


MEDIA = [
    {
        "image": "a.png",
        "conversations": [{"from": "human", "value": "<image>\n这是什么？"}, {"from": "gpt", "value": "猫"}],
    },
    {"videos": ["a.mp4"], "messages": [ASK, SAY]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, SAY]},
    {"messages": [{**ASK, "audio": "a.wav"}, SAY]},
    {"question": "这是什么？", "image": "a.png", "answer": "猫"},
]


@pytest.mark.parametrize("record", MEDIA)
def test_what_needs_a_picture_is_told(bring, record):
    rows, told, _ = bring([{"messages": [ASK, SAY]} if "messages" in record else
                           {"conversations": record["conversations"]} if "conversations" in record else
                           {"question": "q", "answer": "a"}, record])  # fmt: skip
    assert len(rows) == 1 and "1" in told["media"].message.en
    with pytest.raises(BadInput) as refused:
        bring([record])
    assert "图片" in str(refused.value)


def test_empty_fields_of_pictures_are_no_matter(bring):
    rows, told, _ = bring([{"messages": [ASK, SAY], "images": [], "audio": None}])
    assert len(rows) == 1 and not told


def test_columns_that_are_not_used_are_named_with_their_rows(bring):
    records = [{"id": 1, "question": "q", "answer": "a", "解析": "因为这样", "level": 3, "tag": "x"},
               {"id": 2, "question": "r", "answer": "b", "解析": "", "出处": {"书": "某书"}}]  # fmt: skip
    _, told, made = bring(records)
    assert made.made["unused"] == {"解析": 1, "出处": 1}
    assert told["unused"].message.zh.startswith("出处 列没有用到，1 行")
    _, told, made = bring([{"messages": [{**ASK, "情绪": "急"}, SAY], "summary": "问时间"}])
    assert made.made["unused"] == {"summary": 1, "messages.情绪": 1}
    _, _, made = bring([{"instruction": "q", "output": "a", "text": "q a"}])
    assert made.made["unused"] == {"text": 1}


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"nan"', '"NaN"', "null", '"#N/A"'])
def test_what_is_no_value_is_empty(bring, value):
    text = f'[{{"instruction": "几点开门？", "input": {value}, "output": "九点。"}}, {{"instruction": "q", "output": {value}}}]'
    rows, told, made = bring(text, "x.json")
    assert rows == [[{"input": "几点开门？", "output": "九点。"}]]
    assert made.made["skipped"] == 1
    assert value == "null" or "2" in told["blank"].message.zh


def test_empty_cells_of_tables(bring):
    rows, told, _ = bring("question,input,answer\n几点,nan,九点\n空,,NaN\n表,#N/A,a\n库,NULL,b\n", "x.csv")
    assert [row[0]["input"] for row in rows] == ["几点", "表", "库"]
    assert "blank" in told


def test_scalars_are_text(bring):
    rows, told, _ = bring([{"q": "a", "a": 2}, {"q": "b", "a": 2.5}, {"q": "c", "a": False}, {"q": 4, "a": "d"}])
    assert [turn["output"] for (turn,) in rows] == ["2", "2.5", "false", "d"]
    assert rows[3][0]["input"] == "4"
    assert "4 行" in told["scalar"].message.zh


CELLS = ["-sin(x)", "@客服(小满)", "-5", "+8613800138000", "=）笑", "- 第一条", "@all 开会", "-b ± √(b²-4ac)", "-ln(2)", "= 1", "+1(同意)",
         "-|x|", "@小满 你好！"]  # fmt: skip
FORMULAS = ["=SUM(A1:A2)", "=1+1", "=A1", "@SUM(1+9)*cmd", "-2+3+cmd|' /C calc'!A0", "+A1+B1", "-SUM(A1)", "=cmd|'/C calc'!A0",
            "-1|cmd|' /C x'!A1", "=HYPERLINK(\"http://x\",\"y\")"]  # fmt: skip


def test_a_formula_is_one_and_a_minus_is_not(bring):
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in [*CELLS, *FORMULAS]]
    rows, _, made = bring("question,answer\n" + "".join(f"q{n},{cell}\n" for n, cell in enumerate(quoted)), "x.csv")
    assert [turn["output"] for (turn,) in rows] == CELLS
    assert made.made["skipped"] == len(FORMULAS)


def test_several_wordings_and_a_past_of_texts(bring):
    rows, told, _ = bring([{"instruction": ["q", "r"], "output": "a"}])
    assert rows == [[{"input": "q", "output": "a"}], [{"input": "r", "output": "a"}]] and "alternatives" in told
    rows, told, _ = bring([{"instruction": "c", "output": "d", "history": ["你好", "好呀", "落单"]}])
    assert rows == [[{"input": "你好", "output": "好呀"}, {"input": "c", "output": "d"}]] and "half_past" in told
    rows, _, _ = bring([{"query": "c", "response": "d", "history": [ASK, SAY]}])
    assert rows == [[{"input": "几点开门？", "output": "九点。"}, {"input": "c", "output": "d"}]]
    rows, told, _ = bring([{"instruction": "谁写的？", "context": "《某书》，某人著", "response": "某人"}])
    assert rows == [[{"input": "谁写的？\n《某书》，某人著", "output": "某人"}]] and "context" in told


def test_a_record_within_a_record(bring):
    rows, _, _ = bring([{"id": 1, "data": {"prompt": "q", "answer": "a"}, "annotations": []}])
    assert rows == [[{"input": "q", "output": "a"}]]


def test_numbered_turns_with_what_was_thought_and_called(bring):
    turns = {
        "turn_1": {"Human": "<|Human|>: 几点了？<eoh>\n", "Inner Thoughts": "<|Inner Thoughts|>: 要看钟<eot>\n",
                   "Commands": "<|Commands|>: clock()<eoc>\n", "Tool Responses": "<|Results|>: 九点<eor>\n",
                   "MOSS": "<|MOSS|>: 九点了。<eom>\n"},
        "turn_2": {"Human": "<|Human|>: 谢谢<eoh>\n", "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
                   "Commands": "<|Commands|>: None<eoc>\n", "MOSS": "<|MOSS|>: 不客气。<eom>\n"},
    }  # fmt: skip
    rows, _, _ = bring([{"meta_instruction": "S", "num_turns": 2, "chat": turns}])
    assert rows == [[
        {"system": "S", "input": "几点了？", "output": "<think>\n要看钟\n</think>\n\nclock()"},
        {"input": "九点", "output": "九点了。"}, {"input": "谢谢", "output": "不客气。"},
    ]]  # fmt: skip


def test_tokens_of_templates_are_told_and_taken_off(bring):
    records = [
        {"q": "你是谁", "a": "小美的助手。<|im_end|><|endoftext|>"},
        {"q": "<|im_start|>user\n再会", "a": "再会<eoa>"},
        {"q": "<|User|>:几点", "a": "九点</s>\n"},
        {"q": "怎么划掉", "a": "写 <s>旧价</s> 就行。"},
        {"q": "b < c > d", "a": "x <|y"},
    ]
    rows, told, _ = bring(records)
    assert told["token_end"].severity == "error" and told["token"].severity == "warning"
    rows, told, _ = bring(records, strip=True)
    assert [(turn["input"], turn["output"]) for (turn,) in rows] == [
        ("你是谁", "小美的助手。"), ("再会", "再会"), (":几点", "九点"), ("怎么划掉", "写 <s>旧价</s> 就行。"), ("b < c > d", "x <|y"),
    ]  # fmt: skip
    assert "token_end" not in told and "3 行" in told["stripped"].message.zh


BROKEN = {
    "Chinese quotes": ('[\n {“q”: “a”}\n]', "中文引号"),
    "Chinese quotes within": ('[{"q": “a”, "a": "b"}]', "中文引号"),
    "Python": ("[{'q': 'a', 'a': None}]", "Python"),
    "Python words": ('[{"q": "a", "a": None}]', "Python"),
    "Chinese commas": ('[{"q"："a"，"a"："b"}]', "中文的逗号"),
    "comment": ('[\n # first\n {"q": "a", "a": "b"}]', "注释"),
    "cut off": ('[{"q": "a", "a": ', "中断"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_json_is_told_in_words(bring, case):
    text, word = BROKEN[case]
    for name, content in (("x.json", text), ("x.jsonl", text.strip("[]").strip().partition("\n")[0])):
        with pytest.raises(BadInput) as refused:
            bring(content, name)
        assert word in str(refused.value)
        for english in ("Expecting", "delimiter", "char ", "Unterminated"):
            assert english not in refused.value.text.zh + refused.value.text.en


def sheet(path, *sheets, merge=()):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        made = book.create_sheet(title)
        for row in rows:
            made.append(row)
    for cells in merge:
        book.worksheets[0].merge_cells(cells)
    book.save(path)
    return path.read_bytes()


def test_the_header_is_found_below_a_title(bring, tmp_path):
    rows = [
        ["开店问答 2025", None, None],
        [None],
        ["编制：某某"],
        ["序号", "常见问题", "标准回答"],
        [1, "几点开门？", "九点。"],
    ]
    found, told, _ = bring(sheet(tmp_path / "a.xlsx", ("一", rows)), "x.xlsx")
    assert found == [[{"input": "几点开门？", "output": "九点。"}]]
    assert "header" in told
    text = "\n".join(",".join(map(str, [cell or "" for cell in row])) for row in rows)
    assert bring(text, "x.csv")[0] == found


def test_cells_that_are_merged(bring, tmp_path):
    rows = [
        ["类别", "问题", "答案"],
        ["时间", "几点开门？", "九点。"],
        [None, "几点关门？", "六点。"],
        ["价", "多少钱？", "十元"],
    ]
    data = sheet(tmp_path / "a.xlsx", ("一", rows), merge=["A2:A3"])
    found, told, _ = bring(data, "x.xlsx")
    assert len(found) == 3 and "merged" in told
    rows = [["问题", "答案"], ["几点开门？", "九点。"], [None, "周末十点。"]]
    found, _, _ = bring(sheet(tmp_path / "a.xlsx", ("一", rows), merge=["A2:A3"]), "x.xlsx")
    assert [turn["input"] for (turn,) in found] == ["几点开门？"] * 2


@pytest.mark.parametrize("names", [("标准问题", "标准答案"), ("用户问题", "客服回复"), ("问题描述*", "参考答案"), ("user_query", "model_response"),
                                   ("Question (EN)", "Answer (EN)")])  # fmt: skip
def test_names_are_known_by_a_part(bring, names):
    found, _, _ = bring(f"问题编号,{names[0]},{names[1]},回复时间\n1,几点,九点,2024\n", "x.csv")
    assert found == [[{"input": "几点", "output": "九点"}]]


def test_a_sheet_without_a_header_is_told(bring, tmp_path):
    rows = [["几点开门", "九点"], ["怎么走", "坐地铁"]]
    found, told, _ = bring(sheet(tmp_path / "a.xlsx", ("一", rows)), "x.xlsx")
    assert len(found) == 2 and "no_header" in told
    with pytest.raises(BadInput) as refused:
        bring(sheet(tmp_path / "a.xlsx", ("一", [["甲", "乙"], ["丙", "丁"]])), "x.xlsx")
    assert "表头" in str(refused.value)


def test_several_sheets_are_chosen(bring, tmp_path):
    sheets = [(name, [["问题", "答案"], [f"{name}问", "答"]]) for name in ("春", "夏", "秋")]
    data = sheet(tmp_path / "a.xlsx", *sheets)
    found, told, _ = bring(data, "x.xlsx")
    assert len(found) == 1 and "夏、秋" in told["sheets"].message.zh
    found, told, _ = bring(data, "x.xlsx", sheets=("春", "秋"))
    assert [turn["input"] for (turn,) in found] == ["春问", "秋问"] and "夏" in told["sheets"].message.zh
    with pytest.raises(BadInput) as refused:
        bring(data, "x.xlsx", sheets=("冬",))
    assert "春、夏、秋" in str(refused.value)


def test_cells_read_as_they_are_shown(bring, tmp_path):
    book = openpyxl.Workbook()
    from datetime import date, datetime

    for row in (
        ["问题", "答案"],
        ["哪天", date(2025, 1, 2)],
        ["何时", datetime(2025, 1, 2, 9, 30)],
        ["几成", 0.955],
        ["几个", 3.0],
    ):
        book.active.append(row)
    book.active["B4"].number_format = "0.0%"
    book.save(tmp_path / "a.xlsx")
    found, _, _ = bring((tmp_path / "a.xlsx").read_bytes(), "x.xlsx")
    assert [turn["output"] for (turn,) in found] == ["2025-01-02", "2025-01-02 09:30:00", "95.5%", "3"]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "，", "；", "^", "~", "||", "::"])
def test_any_delimiter(bring, separator):
    found, _, _ = bring(f"问题{separator}答案\n几点{separator}九点\n哪里{separator}北街\n", "x.csv")
    assert [(turn["input"], turn["output"]) for (turn,) in found] == [("几点", "九点"), ("哪里", "北街")]


@pytest.mark.parametrize("text", [
    "'问题','答案'\n'几点，早上','九点, 左右'\n'a','b'\n",
    '"问题","答案"\n"几点，早上","九点, 左右"\n',
    '问题,答案\n"几点，早上","九点, 左右"\n',
    'sep=;\n问题;答案\n几点，早上;九点, 左右\n',
])  # fmt: skip
def test_any_quoting(bring, text):
    found, _, _ = bring(text, "x.csv")
    assert found[0] == [{"input": "几点，早上", "output": "九点, 左右"}]


def test_quotes_behind_a_backslash(bring):
    found, _, _ = bring('问题,答案\n"他说 \\"好\\"，对吗","对 \\frac"\n', "x.csv")
    assert found == [[{"input": '他说 "好"，对吗', "output": "对 \\frac"}]]


def test_columns_without_a_name_or_with_one_twice(bring):
    found, _, made = bring("问题,答案,,备注,备注\n几点,九点,还有话,甲,乙\n", "x.csv")
    assert found == [[{"input": "几点", "output": "九点"}]]
    assert made.made["unused"] == {"C": 1, "备注 E": 1}


@pytest.mark.parametrize(("name", "word"), [("x.xls", "另存为 .xlsx"), ("x.et", ".xlsx"), ("x.doc", ".docx"), ("x.zip", "解压"),
                                            ("x.pkl", "代码"), ("x.db", "导出")])  # fmt: skip
def test_files_that_are_not_read_say_what_would_do(bring, name, word):
    with pytest.raises(BadInput) as refused:
        bring(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), name)
    assert word in str(refused.value)


def test_the_label_of_a_text_is_no_judgement(bring):
    rows, told, _ = bring("text,label\n好吃,1\n难吃,0\n", "x.csv")
    assert len(rows) == 2 and "bad" not in told


def test_one_row_is_told_as_one():
    notes = Notes(number=3)
    for kind in KINDS:
        notes.note(kind)
    for finding in notes.findings():
        assert not re.match(r"1 \w+s\b", finding.message.en), finding.message.en
    sentences = [finding.message.en for finding in notes.findings()]
    assert "1 row includes thinking: kept as <think>…</think> before the answer (row 3)" in sentences
    assert any(sentence.startswith("1 message of the chat log is not text") for sentence in sentences)
