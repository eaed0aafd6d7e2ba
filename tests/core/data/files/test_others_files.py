"""Files as other projects ship them, shape by shape: each imports without changes."""

import json

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from core.data import intake
from core.data.files.placeholders import Fill, placeholders
from core.data.files.shapes import Columns
from core.data.files.source import open_source
from core.ground.errors import BadInput


def turns(*pairs, system=None):
    found = [{"input": question, "output": answer} for question, answer in pairs]
    return [{"system": system, **found[0]}, *found[1:]] if system else found


def one(read, tmp_path, record, name="x.json"):
    (tmp_path / name).write_text(json.dumps([record], ensure_ascii=False), encoding="utf-8")
    reading = read(tmp_path / name)
    assert not reading.skipped
    return reading.format, reading.rows[0]["conversation"]


HUMAN = {"from": "human", "value": "问"}
GPT = {"from": "gpt", "value": "答"}
RECORDS = {
    # LLaMA-Factory
    "identity": ({"instruction": "hi", "input": "", "output": "Hello! I am {{name}}, made by {{author}}."},
                 turns(("hi", "Hello! I am {{name}}, made by {{author}}."))),
    "alpaca_history": ({"instruction": "c", "input": "", "output": "d", "system": "S", "history": [["a", "b"]]},
                       turns(("a", "b"), ("c", "d"), system="S")),
    "glaive_toolcall": (
        {"conversations": [HUMAN, {"from": "function_call", "value": '{"name": "f"}'},
                           {"from": "observation", "value": "42"}, GPT], "tools": '[{"name": "f"}]'},
        turns(("问", '{"name": "f"}'), ("42", "答"), system='[{"name": "f"}]'),
    ),
    "sharegpt_system": ({"system": "S", "conversations": [HUMAN, GPT]}, turns(("问", "答"), system="S")),
    "sharegpt_roles": ({"conversations": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]},
                       turns(("问", "答"))),
    "sharegpt_pairs": ({"conversation": [{"human": "问", "assistant": "答"}, {"human": "c", "assistant": "d"}]},
                       turns(("问", "答"), ("c", "d"))),
    "sharegpt_ids": ({"id": "x_0", "conversations": [HUMAN, GPT, HUMAN]}, turns(("问", "答"))),
    "sharegpt_greeting": ({"conversations": [GPT, HUMAN, GPT]}, turns(("问", "答"))),
    "sharegpt_empty_tools": ({"conversations": [HUMAN, GPT], "tools": "[]"}, turns(("问", "答"))),
    # BELLE
    "belle_1m": ({"instruction": "给定一个英文句子，翻译成中文。\nI love you", "input": "", "output": "我爱你。"},
                 turns(("给定一个英文句子，翻译成中文。\nI love you", "我爱你。"))),
    "belle_35m": ({"id": "1", "conversations": [HUMAN, {"from": "assistant", "value": "答"}]}, turns(("问", "答"))),
    # ms-swift
    "self_cognition": ({"query": "你是？", "response": "我是{{NAME}}，由{{AUTHOR}}训练的人工智能助手。", "tag": "zh"},
                       turns(("你是？", "我是{{NAME}}，由{{AUTHOR}}训练的人工智能助手。"))),
    "swift_history": ({"system": "S", "query": "c", "response": "d", "history": [["a", "b"]]},
                      turns(("a", "b"), ("c", "d"), system="S")),
    # OpenAI, XtunerGUI
    "openai_parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "问"}]},
                                   {"role": "assistant", "content": "答"}]}, turns(("问", "答"))),
    "xtunergui": ({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "问"},
                                {"role": "assistant", "content": "答"}]}, turns(("问", "答"), system="S")),
    "openai_loss": ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss": False},
                                  {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]},
                    [{"input": "a", "output": "b", "output_with_loss": False},
                     {"input": "c", "output": "d", "output_with_loss": True}]),
    "two_users": ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"},
                                {"role": "assistant", "content": "c"}]}, turns(("a\nb", "c"))),
    # TRL
    "prompt_completion": ({"prompt": "问", "completion": "答"}, turns(("问", "答"))),
    "conversational": ({"prompt": [{"role": "user", "content": "问"}],
                        "completion": [{"role": "assistant", "content": "答"}]}, turns(("问", "答"))),
    # Firefly, COIG
    "firefly": ({"kind": "NLI", "input": "问", "target": "答"}, turns(("问", "答"))),
    "coig": ({"instruction": "译", "input": "猫", "output": "cat", "task_type": {"major": ["翻译"]}},
             turns(("译\n猫", "cat"))),
    # XTuner
    "xtuner_system": ({"conversation": [{"system": "S", "input": "a", "output": "b"}]}, turns(("a", "b"), system="S")),
    "list": (["问", "答"], turns(("问", "答"))),
    "messages_alone": ([{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}], turns(("问", "答"))),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_record(read, tmp_path, name):
    record, wanted = RECORDS[name]
    assert one(read, tmp_path, record)[1] == wanted


def test_turns_out_of_order_are_told_by_row(workspace, tmp_path):
    talks = [
        [HUMAN, GPT],
        [GPT, HUMAN, GPT],
        [HUMAN, GPT, HUMAN],
        [HUMAN, HUMAN, GPT],
        [HUMAN, GPT, GPT],
        [GPT, HUMAN, HUMAN, HUMAN, GPT, GPT, HUMAN],
        [{"from": "system", "value": "S"}, HUMAN, GPT, HUMAN, GPT],
    ]
    # The texts differ, otherwise they would be repeats of one row.
    lines = [{"conversations": [{**turn, "value": f"{turn['value']}{number}"} for turn in talk]}
             for number, talk in enumerate(talks)]  # fmt: skip
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    made, report = intake.import_file(workspace, tmp_path / "x.jsonl")
    told = {found.row: found for found in report.problems if found.kind == "order"}
    assert list(told) == [2, 3, 4, 5, 6]
    assert "开头的回答" in told[2].message.zh
    assert "last question" in told[3].message.en
    assert "问题合成了一个" in told[4].message.zh
    assert "consecutive answers" in told[5].message.en
    assert told[6].message.zh.count("；") == 3
    assert all(found.hint.zh and found.hint.en for found in told.values())
    assert all(set(row) == {"conversation"} for row in made.load())
    assert [found.kind for found in intake.stored_report(made)[1]] == ["order"] * 5
    assert intake.peek(tmp_path / "x.jsonl").rows == made.load()


def test_many_rows_out_of_order_are_counted(workspace, tmp_path):
    rows = [{"messages": [{"role": "user", "content": f"{number}"}, {"role": "assistant", "content": "a"},
                          {"role": "user", "content": "b"}]} for number in range(500)]  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    _, report = intake.import_file(workspace, tmp_path / "x.json")
    assert len(report.problems) == 21
    assert "480" in report.problems[-1].message.zh


@pytest.mark.parametrize("wrapper", [
    lambda rows: {"data": rows}, lambda rows: {"version": 1, "train": rows},
    lambda _: {"question": ["问", "c"], "answer": ["答", "d"]}, lambda rows: dict(zip("ab", rows, strict=True)),
])  # fmt: skip
def test_rows_under_a_key(read, tmp_path, wrapper):
    rows = [{"question": "问", "answer": "答"}, {"question": "c", "answer": "d"}]
    (tmp_path / "x.json").write_text(json.dumps(wrapper(rows)), encoding="utf-8")
    assert [row["conversation"] for row in read(tmp_path / "x.json").rows] == [turns(("问", "答")), turns(("c", "d"))]


def test_names_are_filled_in(workspace, tmp_path):
    rows = [
        {"instruction": "hi", "input": "", "output": "I am {{name}}, by {{author}}."},
        {"instruction": "你好", "input": "", "output": "我是{{ NAME }}，<AUTHOR>开发的"},
    ]
    (tmp_path / "identity.json").write_text(json.dumps(rows), encoding="utf-8")
    peeked = intake.peek(tmp_path / "identity.json")
    assert peeked.placeholders == ["{{name}}", "{{author}}", "{{ NAME }}", "<AUTHOR>"]
    wanted = intake.Wanted(fill=Fill(name="小明{{author}}", author="我们"))
    made, report = intake.import_file(workspace, tmp_path / "identity.json", wanted=wanted)
    assert [row["conversation"][0]["output"] for row in made.load()] == [
        "I am 小明{{author}}, by 我们.",
        "我是小明{{author}}，我们开发的",
    ]
    half, report = intake.import_file(
        workspace, tmp_path / "identity.json", wanted=intake.Wanted(fill=Fill(name="小明"))
    )
    assert placeholders(half.load()) == ["{{author}}", "<AUTHOR>"]
    assert [(found.kind, found.severity, found.row) for found in report.problems] == [
        ("placeholder", "error", 1),
        ("placeholder", "error", 2),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_tables_of_every_encoding(read, tmp_path, encoding, separator):
    rows = [["提问", "标签", "回复"], ["你好", "x", "嗨"], ["今天天气怎么样", "y", "晴朗，适合出门"]]
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in rows]
    text = "\r\n".join(separator.join(row) for row in quoted)
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    assert read(tmp_path / "x.csv").rows[1]["conversation"] == turns(("今天天气怎么样", "晴朗，适合出门"))


def test_table_with_columns_of_its_own(read, workspace, tmp_path):
    (tmp_path / "x.csv").write_text("id,标题,正文,说明\n1,你好,嗨,S\n2,在吗,在,\n", encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        read(tmp_path / "x.csv")
    assert "标题" in str(refused.value)
    peeked = intake.peek(tmp_path / "x.csv")
    assert (peeked.format, peeked.columns, peeked.guessed) == (None, ["id", "标题", "正文", "说明"], None)
    wanted = intake.Wanted(columns=Columns(question="标题", answer="正文", system="说明"))
    made, _ = intake.import_file(workspace, tmp_path / "x.csv", wanted=wanted)
    assert [row["conversation"] for row in made.load()] == [turns(("你好", "嗨"), system="S"), turns(("在吗", "在"))]


def test_two_columns_without_names(read, tmp_path):
    (tmp_path / "x.csv").write_text("你叫什么名字？,我叫小明。\n你几岁？,三岁。\n", encoding="utf-8")
    assert len(read(tmp_path / "x.csv").rows) == 2


def test_conversations_as_text_in_a_table(read, tmp_path):
    pyarrow.parquet.write_table(
        pyarrow.table({"conversations": [json.dumps([HUMAN, GPT])], "source": ["x"]}), tmp_path / "x.parquet"
    )
    assert read(tmp_path / "x.parquet").rows == [{"conversation": turns(("问", "答"))}]


def test_parquet(read, tmp_path):
    messages = [[{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]] * 3
    pyarrow.parquet.write_table(pyarrow.table({"messages": messages}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").rows == [{"conversation": turns(("问", "答"))}] * 3


def test_xlsx(read, tmp_path):
    book = openpyxl.Workbook()
    book.create_sheet("second").append(["问题", "回答"])
    for row in (["1加1等于几", 2], ["几点", 3.5], ["空", None], ["公式", "=1+1"]):
        book["second"].append(row)
    book.save(tmp_path / "x.xlsx")
    reading = read(tmp_path / "x.xlsx")
    assert [row["conversation"] for row in reading.rows] == [turns(("1加1等于几", "2")), turns(("几点", "3.5"))]
    assert [skipped["row"] for skipped in reading.skipped] == [3, 4]


def test_sheets_that_are_not_read_are_told(workspace, tmp_path):
    book = openpyxl.Workbook()
    for name in ("第一", "第二", "空的", "第三"):
        book.create_sheet(name)
        if name != "空的":
            book[name].append(["问题", "回答"])
            book[name].append([f"{name}问", "答"])
    book.save(tmp_path / "x.xlsx")
    assert intake.peek(tmp_path / "x.xlsx").left_out == ["第二", "第三"]
    made, report = intake.import_file(workspace, tmp_path / "x.xlsx")
    assert made.load() == [{"conversation": turns(("第一问", "答"))}]
    (told,) = report.problems
    assert "第二、第三" in told.message.zh
    assert intake.stored_report(made)[1] == [told]


def test_how_far_a_table_was_read(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["question", "answer"])
    for number in range(3999):
        book.active.append([f"{number}", "a"])
    book.save(tmp_path / "x.xlsx")
    rows = [{"question": f"{number}", "answer": "a"} for number in range(4000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    for name in ("x.xlsx", "x.parquet"):
        source = open_source(tmp_path / name)
        seen = [source.done for _ in source.records()]
        assert seen == sorted(seen)
        assert seen[1999] == pytest.approx(0.5, abs=0.01)
        assert seen[-1] == 1


def test_broken_element_of_an_array_loses_nothing_else(read, tmp_path):
    rows = [{"question": str(number), "answer": "b"} for number in range(5)]
    text = json.dumps(rows, indent=2).replace('"question": "2"', '"question": "2').replace('"question": "3"', "oops")
    (tmp_path / "x.json").write_text(text)
    reading = read(tmp_path / "x.json")
    assert [row["conversation"][0]["input"] for row in reading.rows] == ["0", "1", "4"]
    assert [skipped["row"] for skipped in reading.skipped] == [3, 4]
    (tmp_path / "y.json").write_text(json.dumps(rows)[:-30])
    reading = read(tmp_path / "y.json")
    assert (len(reading.rows), len(reading.skipped)) == (4, 1)


def test_broken_bytes_lose_one_row(read, tmp_path):
    good = '{"question": "你好吗，今天的天气很不错，我们一起出去走走吧", "answer": "好的，那我们走吧"}\n'.encode()
    (tmp_path / "x.jsonl").write_bytes(good * 3 + good.replace("好的".encode(), b"\xe5\xa5") + good)
    reading = read(tmp_path / "x.jsonl")
    assert (len(reading.rows), [skipped["row"] for skipped in reading.skipped]) == (4, [4])


def test_array_longer_than_a_block(read, tmp_path):
    rows = [{"question": f"{number}", "answer": "答" * 300} for number in range(3000)]
    for indent in (None, 4):
        (tmp_path / "x.json").write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
        found = read(tmp_path / "x.json").rows
        assert [row["conversation"][0]["input"] for row in found] == [str(number) for number in range(3000)]
