"""Foreign files: every shape, every encoding; a bad row is reported and loses nothing else."""

import json

import pytest

from core.data import intake
from core.data.files.formats import FORMATS
from core.ground.errors import BadInput

TURN = {"input": "你好", "output": "嗨"}
SHAPES = {
    "xtuner": {"conversation": [TURN]},
    "openai": {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "嗨"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "嗨"}]},
    "alpaca": {"instruction": "你好", "input": "", "output": "嗨"},
    "qa": {"问": "你好", "答": "嗨"},
}


def lines(path, *records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_each_format(read, tmp_path, name, suffix):
    path = tmp_path / f"file{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps([SHAPES[name]] * 2), encoding="utf-8")
    else:
        lines(path, SHAPES[name], SHAPES[name])
    for format_ in ("auto", name):
        reading = read(path, format_)
        assert reading.format == name
        assert reading.rows == [{"conversation": [TURN]}] * 2
        assert reading.skipped == []


def test_text(read, tmp_path):
    row = {"conversation": [{"input": "", "output": "第一段\n还是第一段"}]}
    assert read(lines(tmp_path / "a.jsonl", {"text": "第一段\n还是第一段"})).rows == [row]
    (tmp_path / "b.txt").write_text("第一段\n还是第一段\n\n  \n第二段\n")
    reading = read(tmp_path / "b.txt")
    assert (reading.format, len(reading.rows)) == ("text", 2)
    assert reading.rows[0] == row
    (tmp_path / "c.md").write_text("# x\n\ny")
    assert len(read(tmp_path / "c.md").rows) == 2


def test_every_format_was_tried():
    # Dialogues and logs have tests of their own.
    assert {*SHAPES, "text", "dialogue", "log"} == set(FORMATS)


def test_several_turns_and_a_system_prompt(read, tmp_path):
    wanted = {
        "conversation": [{"system": "S", "input": "a", "output": "b"}, {"input": "c", "output": "d"}],
    }
    for record in (
        wanted,
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "User", "content": "c"},
                {"role": "assistant", "content": "d"},
            ]
        },
        {
            "conversations": [
                {"from": "system", "value": "S"},
                {"from": "human", "value": "a"},
                {"from": "gpt", "value": "b"},
                {"from": "human", "value": "c"},
                {"from": "gpt", "value": "d"},
            ]
        },
        {"system": "S", "instruction": "c", "output": "d", "history": [["a", "b"]]},
    ):
        assert read(lines(tmp_path / "x.jsonl", record)).rows == [wanted]


def test_alpaca_with_an_input(read, tmp_path):
    (row,) = read(lines(tmp_path / "x.jsonl", {"instruction": "译", "input": "猫", "output": "cat"})).rows
    assert row["conversation"][0]["input"] == "译\n猫"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_encodings(read, tmp_path, encoding, suffix):
    path = tmp_path / f"x{suffix}"
    text = {
        ".csv": "问题,回答\n你好,嗨\n",
        ".jsonl": '{"prompt": "你好", "response": "嗨"}\n',
        ".json": '[{"prompt": "你好", "response": "嗨"}]',
    }[suffix]
    path.write_bytes(text.encode(encoding))
    assert read(path).rows == [{"conversation": [TURN]}]


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\x81", b"\xff\xfea", b"\xfe\xff\xd8\x00"], ids=repr)
def test_unknown_encoding(read, tmp_path, data):
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(BadInput):
        read(tmp_path / "x.csv")


def test_csv_and_tsv(read, tmp_path):
    (tmp_path / "x.csv").write_text('Question,id,ANSWER\n"一, 二\n三",1,"说 ""嗨"""\n', newline="")
    (row,) = read(tmp_path / "x.csv").rows
    assert row["conversation"] == [{"input": "一, 二\n三", "output": '说 "嗨"'}]
    (tmp_path / "x.tsv").write_text("input\toutput\n你好\t嗨\n")
    assert read(tmp_path / "x.tsv").rows == [{"conversation": [TURN]}]


def test_csv_of_uneven_rows(read, tmp_path):
    (tmp_path / "x.csv").write_text("question,answer\na,b\nc\nd,e,f,g\n")
    reading = read(tmp_path / "x.csv")
    assert [row["conversation"][0]["input"] for row in reading.rows] == ["a", "d"]
    assert [skipped["row"] for skipped in reading.skipped] == [2]


def test_csv_field_beyond_the_limit(read, tmp_path):
    (tmp_path / "x.csv").write_text(f"question,answer\na,b\nc,{'长' * 200_000}\n")
    assert len(read(tmp_path / "x.csv").rows) == 2


def test_jsonl_with_bad_lines(read, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n\nno json\n{"text": ""}\n{"other": 1}\n[1]\n{"text": 5}\n{"text": "b"}\n')
    reading = read(path)
    assert [row["conversation"][0]["output"] for row in reading.rows] == ["a", "5", "b"]
    assert [skipped["row"] for skipped in reading.skipped] == [2, 3, 4, 5]
    assert all(skipped["reason"] for skipped in reading.skipped)


def test_line_separators_inside_a_row(read, tmp_path):
    """Some characters end a line in Python but not in JSON."""
    text = "一\u2028二\u0085三\x0b"
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": text}, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert read(path).rows == [{"conversation": [{"input": "", "output": text}]}]


def test_json_that_is_really_lines(read, tmp_path):
    assert len(read(lines(tmp_path / "x.json", SHAPES["qa"], SHAPES["qa"])).rows) == 2
    (tmp_path / "one.json").write_text(json.dumps(SHAPES["alpaca"], indent=2))
    assert len(read(tmp_path / "one.json").rows) == 1


@pytest.mark.parametrize(
    "record",
    [
        {"conversation": []},
        {"conversation": "x"},
        {"conversation": [{"input": "a"}]},
        {"conversation": [{"input": "a", "output": " "}]},
        {"conversation": [{"input": {"a": 1}, "output": "b"}]},
        {"conversation": ["x"]},
        {"conversation": [{"system": [1], "input": "a", "output": "b"}]},
        {"conversation": [{"input": "", "output": "b"}, {"input": "c", "output": "d"}]},
        {"conversation": [{"input": "a", "output": "half \ud83d"}]},
        {"messages": [{"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "tool", "content": "b"}]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "b"}]},
        {"messages": None},
        {"conversations": [{"from": "human", "value": "a"}]},
        {"instruction": None, "output": "b"},
        {"instruction": "a", "output": "b", "history": [["x"]]},
        {"question": None, "answer": "b"},
        5,
        None,
        "text",
    ],
    ids=ascii,
)
def test_row_that_cannot_be_used(read, tmp_path, record):
    path = tmp_path / "x.json"
    shape = record if isinstance(record, dict) else {}
    good = next((SHAPES[name] for name in SHAPES if set(SHAPES[name]) & set(shape)), SHAPES["xtuner"])
    if "question" in shape:
        good = {"question": "你好", "answer": "嗨"}
    path.write_text(json.dumps([good, record]))
    reading = read(path)
    assert reading.rows == [{"conversation": [TURN]}]
    assert [skipped["row"] for skipped in reading.skipped] == [2]


@pytest.mark.parametrize(
    "record",
    [
        {"half \ud83d": 1},
        {"messages": [{"role": "half \ud83d", "content": "a"}]},
        {"messages": [{"role": "user", "content": [{"type": "half \ud83d"}]}]},
        {"question": ["half \ud83d"], "\ud83d": 1},
    ],
    ids=ascii,
)
def test_half_a_character_loses_one_row(read, tmp_path, record):
    """Lone surrogates can be neither written nor shown: the stored text of such a record has them as escapes."""
    path = tmp_path / "x.json"
    good = SHAPES["openai"] if "messages" in record else {"question": "你好", "answer": "嗨"}
    path.write_text(json.dumps([good, record]))
    reading = read(path)
    assert reading.rows == [{"conversation": [TURN]}]
    assert [skipped["row"] for skipped in reading.skipped] == [2]
    assert reading.skipped[0]["reason"].en.encode()
    peeked = intake.peek(path)
    assert "\n".join([*peeked.columns, peeked.skipped[0]["reason"].zh]).encode()


def test_all_rows_bad(read, tmp_path):
    with pytest.raises(BadInput) as refused:
        read(lines(tmp_path / "x.jsonl", {"text": ""}))
    assert "x.jsonl" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", ""),
        ("x.json", "[]"),
        ("x.json", "{"),
        ("x.json", "[" * 100_000),
        ("x.json", '{"a": 1}'),
        ("x.json", "5"),
        ("x.csv", ""),
        ("x.csv", "question,answer\n"),
        ("x.csv", "a,b\n1,2\n"),
        ("x.txt", " \n\n "),
        ("x.xlsx", "x"),
        ("x", "x"),
    ],
)
def test_file_that_cannot_be_used(read, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput) as refused:
        read(tmp_path / name)
    assert name in str(refused.value) or "." in name or "json" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_what_is_no_file(read, tmp_path):
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(BadInput) as refused:
            read(path)
        assert str(path) in str(refused.value)


def test_unknown_format(read, tmp_path):
    with pytest.raises(BadInput) as refused:
        read(tmp_path / "x.json", "parquet")
    assert all(name in str(refused.value) for name in FORMATS)
