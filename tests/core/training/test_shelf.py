"""Runs are renamed, deleted and restored; a live one is not deleted, and nothing is overwritten."""

import pytest

from core.ground.errors import BadInput
from core.training import run as runs
from core.training import shelf


def test_a_name_is_shown_and_the_id_stays(workspace, finished_run):
    assert shelf.name_of(finished_run) == finished_run.id
    before = (finished_run.path / "run.json").read_bytes()
    shelf.rename(finished_run, "  我的 <b>第一次</b>\n训练 🎓 ")
    again = runs.find(workspace, finished_run.id)
    assert shelf.name_of(again) == "我的 <b>第一次</b> 训练 🎓"
    assert (finished_run.path / "run.json").read_bytes() == before
    shelf.rename(finished_run, " ")
    assert shelf.name_of(again) == finished_run.id
    shelf.rename(finished_run, "x")
    shelf.rename(finished_run, finished_run.id)
    assert not (finished_run.path / "label.json").exists()


@pytest.mark.parametrize("name", ["x" * 61, "a\x00b", "a\x1b[31mb", "\u202eabc"])
def test_a_name_that_cannot_be_shown(finished_run, name):
    with pytest.raises(BadInput, match="at most 60|最多 60"):
        shelf.rename(finished_run, name)
    assert shelf.name_of(finished_run) == finished_run.id


def contents(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_deleted_and_brought_back(workspace, finished_run):
    shelf.rename(finished_run, "mine")
    before = contents(finished_run.path)
    deleted = shelf.delete(workspace, finished_run)
    assert (deleted.id, deleted.name) == (finished_run.id, "mine")
    assert deleted.bytes >= sum(map(len, before.values()))
    assert runs.every(workspace) == []
    with pytest.raises(BadInput):
        runs.find(workspace, finished_run.id)
    with pytest.raises(BadInput, match="gone|已经不在"):
        shelf.delete(workspace, finished_run)
    assert shelf.trash(workspace) == [deleted]
    assert shelf.restore(workspace, finished_run.id) == finished_run
    assert contents(finished_run.path) == before
    assert shelf.trash(workspace) == []


def test_a_live_run_is_not_deleted(workspace, running_run):
    with pytest.raises(BadInput, match="train-1"):
        shelf.delete(workspace, running_run)
    assert running_run.job.status().live
    running_run.stop(discard=True)
    shelf.delete(workspace, running_run)


def test_what_is_not_in_the_trash(workspace, finished_run):
    for name in (finished_run.id, "latest", "../x", "x/y", ""):
        with pytest.raises(BadInput):
            shelf.restore(workspace, name)
    shelf.delete(workspace, finished_run)
    workspace.run(finished_run.id).mkdir()
    with pytest.raises(BadInput, match="overwritten|覆盖"):
        shelf.restore(workspace, "latest")
    workspace.run(finished_run.id).rmdir()
    assert shelf.restore(workspace, "latest").id == finished_run.id


def test_the_trash_is_emptied(workspace, finished_run, failed_run):
    assert shelf.empty(workspace) == []
    shelf.delete(workspace, finished_run)
    shelf.delete(workspace, failed_run)
    assert [deleted.id for deleted in shelf.trash(workspace)] == [failed_run.id, finished_run.id]
    assert len(shelf.empty(workspace)) == 2
    assert shelf.trash(workspace) == []
    assert runs.every(workspace) == []


def test_a_trash_that_somebody_cleaned_by_hand(workspace, finished_run):
    shelf.delete(workspace, finished_run)
    (workspace.trash / finished_run.id / "deleted.json").unlink()
    (workspace.trash / "x").mkdir()
    assert [deleted.id for deleted in shelf.trash(workspace)] == [finished_run.id]
    assert shelf.restore(workspace, "latest").id == finished_run.id
