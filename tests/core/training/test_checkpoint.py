"""Whole checkpoints are told from those that were cut short, without loading them."""

import zipfile

import pytest

from core.training.checkpoint import checkpoints, last_whole


def save(path, size=1000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * size)
    return path


def test_nothing(tmp_path):
    assert checkpoints(tmp_path / "missing") == []
    assert last_whole(tmp_path) is None


def test_in_the_order_of_iterations(tmp_path):
    for at in (9, 10, 100):
        save(tmp_path / f"iter_{at}.pth")
    for name in ("iter_x.pth", "iter_5.pth.partial", "epoch_1.pth", "last_checkpoint", "best_iter_3.pth"):
        (tmp_path / name).write_text("x")
    found = checkpoints(tmp_path)
    assert [(checkpoint.iter, checkpoint.name) for checkpoint in found] == [
        (9, "iter_9"),
        (10, "iter_10"),
        (100, "iter_100"),
    ]
    assert all(checkpoint.whole and checkpoint.bytes > 1000 for checkpoint in found)
    assert last_whole(tmp_path).iter == 100


@pytest.mark.parametrize("kept", [0, 1, 500, -1])
def test_truncated(tmp_path, kept):
    save(tmp_path / "iter_4.pth")
    path = save(tmp_path / "iter_8.pth")
    path.write_bytes(path.read_bytes()[:kept])
    assert [checkpoint.whole for checkpoint in checkpoints(tmp_path)] == [True, False]
    assert last_whole(tmp_path).iter == 4


def test_directory_of_deepspeed(tmp_path):
    directory = tmp_path / "iter_4.pth"
    save(directory / "mp_rank_00_model_states.pt")
    shard = save(directory / "zero" / "optim_states.pt")
    (found,) = checkpoints(tmp_path)
    assert found.whole
    assert found.bytes > 2000
    shard.write_bytes(shard.read_bytes()[:100])
    assert not found.whole
    (tmp_path / "iter_5.pth").mkdir()
    assert not checkpoints(tmp_path)[-1].whole
