"""A dataset exists completely or not at all, and an existing one is never changed."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.data import corpus, intake, storage
from core.data import dataset as datasets
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import sha256


def test_made(workspace):
    made = datasets.make_assistant(workspace, "小明", name="mine")
    assert made == datasets.find(workspace, "mine")
    assert sorted(os.listdir(workspace.datasets / "mine")) == ["data.json", "dataset.json"]
    assert made.sha256 == sha256(made.data)
    assert made.rows == len(made.load())
    assert made.unique_rows == made.rows
    assert made.made == {"kind": "assistant", "recipe": "balanced", "nickname": "小明"}


def test_names_are_found_by_themselves(workspace):
    assert [datasets.make_assistant(workspace, "小明").name for _ in range(3)] == [
        "assistant",
        "assistant-2",
        "assistant-3",
    ]
    assert len(datasets.every(workspace)) == 3


def test_taken_name_is_refused_and_the_old_one_unchanged(workspace, tmp_path):
    made = datasets.make_assistant(workspace, "小明", name="mine")
    before = {path.name: path.read_bytes() for path in made.path.iterdir()}
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(BadInput) as refused:
        datasets.make_assistant(workspace, "小红", name="mine")
    assert "mine" in str(refused.value)
    with pytest.raises(BadInput):
        datasets.import_file(workspace, tmp_path / "x.jsonl", name="mine")
    assert {path.name: path.read_bytes() for path in made.path.iterdir()} == before
    assert os.listdir(workspace.datasets) == ["mine"]


def test_one_name_at_the_same_moment(workspace):
    def make(number: int) -> bool:
        try:
            datasets.make_assistant(workspace, f"小{number}", "course", n=2000, name="mine")
            return True
        except BadInput:
            return False

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(4)))
    assert sum(made) == 1
    assert os.listdir(workspace.datasets) == ["mine"]
    assert datasets.find(workspace, "mine").nickname == f"小{made.index(True)}"


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 65])
def test_bad_name(workspace, name):
    with pytest.raises(BadInput):
        datasets.find(workspace, name)
    if name:
        with pytest.raises(BadInput):
            datasets.make_assistant(workspace, "小明", name=name)
        assert os.listdir(workspace.root) == []


def test_nothing_there(workspace):
    assert datasets.every(workspace) == []
    with pytest.raises(BadInput) as refused:
        datasets.find(workspace, "mine")
    assert "datasets assistant" in str(refused.value)


def test_import(workspace, tmp_path):
    file = tmp_path / "问答.csv"
    file.write_text("question,answer\n你好,嗨\n空,\n你好,嗨\n")
    made, reading = datasets.import_file(workspace, file)
    assert (made.name, made.rows, made.unique_rows, made.nickname) == ("imported", 2, 1, None)
    assert made.made == {
        "kind": "import",
        "file": "问答.csv",
        "format": "qa",
        "skipped": 1,
        "source": str(file),
        "source_sha256": sha256(file),
    }
    assert [row["row"] for row in reading.skipped] == [2]
    assert json.loads(made.data.read_text(encoding="utf-8")) == made.load()


def test_import_of_nothing_leaves_nothing(workspace, tmp_path):
    file = tmp_path / "x.json"
    file.write_text("[]")
    with pytest.raises(BadInput):
        datasets.import_file(workspace, file)
    assert os.listdir(workspace.root) == []


@pytest.mark.parametrize("last", ["_move", "write_json"])
def test_a_file_that_was_to_be_kept_is_where_it_was_when_the_last_step_fails(workspace, tmp_path, monkeypatch, last):
    file, text = tmp_path / "mine.jsonl", '{"question": "问", "answer": "答"}\n'
    file.write_text(text, encoding="utf-8")
    document = tmp_path / "book.txt"
    document.write_text("一句话。" * 40, encoding="utf-8")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, last, full)
    with pytest.raises(WorkFailed):
        intake.import_file(workspace, file, keep=True)
    with pytest.raises(WorkFailed):
        corpus.make(workspace, [document], keep=True)
    assert file.read_text(encoding="utf-8") == text
    assert document.is_file()
    assert not workspace.datasets.exists()
    monkeypatch.undo()
    made, _ = intake.import_file(workspace, file, keep=True)
    assert (made.path / made.made["source"]).read_text(encoding="utf-8") == text
    assert not file.exists()
