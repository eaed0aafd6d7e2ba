"""A file that several processes share in blocks gives the same result as one process reading all of it."""

import json
import os
import random
import signal
import threading

import pytest

from core.data import blocks, intake, read_ahead
from core.data.files.choices import Choices
from core.data.files.json_records import MOST_CHARACTERS
from core.ground.errors import BadInput, WorkFailed
from core.ground.workspace import Workspace

ASK = {"role": "user", "content": "几点开门？"}


def answered(number, **more):
    return {"messages": [ASK, {"role": "assistant", "content": f"第{number}个回答", **more}]}


def line(number, rng):
    """Return a line of some kind: mostly valid, some with notices, some broken or blank."""
    kinds = (
        lambda: answered(number, reasoning_content="想"),
        lambda: {**answered(number), f"column {number % 7}": "x"},
        lambda: {"messages": [ASK, ASK, {"role": "bot", "content": f"<|im_end|>{number}"}]},
        lambda: {"messages": [{"role": f"某人{number % 60}", "content": "x"}]},
        lambda: {"messages": [ASK, {"role": "assistant", "content": f"{number} \ud83d"}]},
        lambda: answered(1),
    )
    what = rng.random()
    if what < 0.7:
        return json.dumps(answered(number), ensure_ascii=False)
    if what < 0.9:
        return json.dumps(rng.choice(kinds)())
    return rng.choice(("", "  ", "{", '{"a": 1}{"a": 2}', "[1]", "null"))


def imported(workspace, file, name):
    made, report = intake.import_file(workspace, file, name=name)
    facts = {**json.loads((made.path / "dataset.json").read_text()), "created": 0}
    return made.data.read_bytes(), facts, {**made.report(), "seconds": 0}, report.skipped, report.problems


@pytest.fixture
def shared(monkeypatch):
    """From here on, files are shared in small blocks, whatever machine this is and whatever threads it has left."""

    def begin(block=997):
        monkeypatch.setattr(intake, "is_worth_it", lambda _: True)
        monkeypatch.setattr(blocks, "_BLOCK", block)

    return begin


@pytest.mark.parametrize("mark", (b"", b"\xef\xbb\xbf"))
@pytest.mark.parametrize("seed", range(3))
def test_what_is_shared_is_what_one_makes(tmp_path, shared, seed, mark):
    rng = random.Random(seed)
    text = "\n".join([json.dumps(answered(0)), *(line(number, rng) for number in range(1, 700))])
    file = tmp_path / "rows.jsonl"
    file.write_bytes(mark + text.encode())
    workspace = Workspace.open(tmp_path / "workspace")
    one = imported(workspace, file, "one")
    shared()
    before = set(threading.enumerate())
    assert imported(workspace, file, "several") == one
    assert one[2]["skipped_count"] > 20 and one[1]["made"]["unused"] and len(one[4]) > 8
    assert set(threading.enumerate()) <= before


def test_a_system_prompt_of_which_stripping_leaves_nothing_is_written_as_by_one(tmp_path, shared):
    rows = [answered(number) for number in range(200)]
    rows[150]["messages"].insert(0, {"role": "system", "content": "<|im_end|>"})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    workspace, wanted = Workspace.open(tmp_path / "workspace"), intake.Wanted(choices=Choices(strip=True))
    one, _ = intake.import_file(workspace, file, name="one", wanted=wanted)
    shared()
    several, _ = intake.import_file(workspace, file, name="several", wanted=wanted)
    assert several.data.read_bytes() == one.data.read_bytes()
    assert '"system": ""' in one.data.read_text(encoding="utf-8")


def test_an_answer_that_is_not_trained_in_a_later_block_is_kept_so(tmp_path, shared):
    rows = [answered(number) for number in range(300)]
    rows[250]["messages"][1]["weight"] = 0
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shared()
    made, _ = intake.import_file(Workspace.open(tmp_path / "workspace"), file)
    trained = [row["conversation"][0]["output_with_loss"] for row in made.load()]
    assert trained == [number != 250 for number in range(300)]


def test_a_file_that_is_utf8_only_at_its_beginning_is_read_in_its_own_encoding(tmp_path, shared):
    plain = [json.dumps(answered(number)) for number in range(500)]
    chinese = [json.dumps(answered(number), ensure_ascii=False) for number in range(500, 520)]
    file = tmp_path / "rows.jsonl"
    file.write_bytes("\n".join(plain + chinese).encode("gb18030"))
    workspace = Workspace.open(tmp_path / "workspace")
    one = imported(workspace, file, "one")
    shared()
    assert imported(workspace, file, "several") == one
    assert one[2]["encoding"] == "gb18030"


def test_a_log_that_is_utf8_only_at_its_beginning_is_read_in_its_own_encoding(tmp_path):
    said = [{"date": f"2024-01-01T{n // 60 % 24:02}:{n % 60:02}:00", "from": f"小{'甲乙'[n % 2]}", "text": f"话{n}"}
            for n in range(1500)]  # fmt: skip
    lines = [json.dumps(one) for one in said[:1400]] + [json.dumps(one, ensure_ascii=False) for one in said[1400:]]
    file = tmp_path / "chat.jsonl"
    file.write_bytes("\n".join(lines).encode("gb18030"))
    wanted = intake.Wanted(format="log", choices=Choices(speaker="小乙"))
    made, report = intake.import_file(Workspace.open(tmp_path / "workspace"), file, wanted=wanted)
    assert report.encoding == "gb18030"
    assert "话1499" in made.data.read_text(encoding="utf-8")


def test_a_child_that_is_killed_is_told(monkeypatch):
    def work(place):
        if place == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return place

    monkeypatch.setattr(read_ahead.cores, "usable", lambda: 2)
    taken = []
    with pytest.raises(WorkFailed):
        taken.extend(read_ahead.share_out(work, 8))
    assert taken == [0, 1, 2]


def test_a_line_without_end_is_refused_by_its_number(tmp_path, shared):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n\n".join(json.dumps(answered(number)) for number in range(60)) + "\n" + "x" * MOST_CHARACTERS)
    shared(1 << 20)
    with pytest.raises(BadInput, match="row 61 exceeds"):
        intake.import_file(Workspace.open(tmp_path / "workspace"), file)


def test_utf8_with_a_few_broken_bytes_is_read_and_its_rows_are_told(tmp_path, shared):
    lines = [json.dumps(answered(number), ensure_ascii=False).encode() for number in range(400)]
    lines[300] = lines[300].replace("第".encode(), b"\xe7\xac")
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join(lines))
    workspace = Workspace.open(tmp_path / "workspace")
    one = imported(workspace, file, "one")
    shared()
    assert imported(workspace, file, "several") == one
    assert [left["row"] for left in one[3]] == [301]
