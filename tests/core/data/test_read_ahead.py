"""A second process works ahead: order, exceptions, its end; and an import through it."""

import json
import os
import signal

import pytest

from core.data import intake, read_ahead
from core.ground.errors import BadInput, WorkFailed
from core.ground.workspace import Workspace


@pytest.mark.parametrize("count", (0, 1, 499, 500, 501, 1733))
def test_all_items_come_in_order_with_what_was_said_after_them(count):
    said = []
    seen = []

    def items():
        for number in range(count):
            seen.append(number)
            yield number

    assert list(read_ahead.read_ahead(items(), lambda: (len(seen), os.getpid()), said.append)) == list(range(count))
    assert said[-1][0] == count
    assert os.getpid() not in {process for _, process in said}


def test_what_is_raised_comes_after_the_items_before_it_in_both_languages():
    def items():
        yield from range(700)
        raise BadInput("第 701 行太长", "row 701 is too long")

    taken = []
    with pytest.raises(BadInput) as refused:
        for item in read_ahead.read_ahead(items(), lambda: None, lambda _: None):
            taken.append(item)
    assert taken == list(range(700))
    assert (refused.value.text.zh, refused.value.text.en) == ("第 701 行太长", "row 701 is too long")


def test_a_second_process_that_is_killed_is_no_end_of_the_file():
    def items():
        yield from range(600)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkFailed):
        list(read_ahead.read_ahead(items(), lambda: None, lambda _: None))


def test_one_that_is_not_taken_to_its_end_leaves_no_process():
    pids = []
    ahead = read_ahead.read_ahead(iter(range(10**9)), os.getpid, pids.append)
    assert next(ahead) == 0
    ahead.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.parametrize(
    ("size", "cores", "threads", "worth"),
    [
        (read_ahead.LEAST_BYTES, 2, 1, True),
        (read_ahead.LEAST_BYTES - 1, 2, 1, False),
        (read_ahead.LEAST_BYTES, 1, 1, False),
        (read_ahead.LEAST_BYTES, 2, 2, False),
    ],
)
def test_what_is_worth_it(monkeypatch, size, cores, threads, worth):
    monkeypatch.setattr(read_ahead.cores, "usable", lambda: cores)
    monkeypatch.setattr(read_ahead.threading, "active_count", lambda: threads)
    assert read_ahead.is_worth_it(size) is worth


def test_an_import_by_two_processes_is_that_by_one(tmp_path, monkeypatch):
    turn = {"role": "user", "content": "几点开门？"}
    lines = [
        json.dumps({"messages": [turn, {"role": "assistant", "content": f"第{n}"}], "xyz": "x"}) for n in range(900)
    ]
    lines[3], lines[600] = (
        "{",
        json.dumps(
            {"messages": [turn, {**turn, "content": "几点关门？"}, {"role": "bot", "content": "<think>想</think>九点"}]}
        ),
    )
    lines[899] = json.dumps({"messages": [turn, {"role": "assistant", "content": "好", "weight": 0}]})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    workspace = Workspace.open(tmp_path / "workspace")
    told = {}
    for name, worth in (("one", False), ("two", True)):
        monkeypatch.setattr(intake, "is_worth_it", lambda _, worth=worth: worth)
        made, report = intake.import_file(workspace, file, name=name)
        facts = {**json.loads((made.path / "dataset.json").read_text()), "created": 0}
        kept = {**made.report(), "seconds": 0}
        told[name] = (made.data.read_bytes(), facts, kept, report.skipped, report.problems)
    assert told["one"] == told["two"]
    assert told["two"][1]["rows"] == 899 and told["two"][1]["made"]["unused"] == {"xyz": 897}
