"""Complete checkpoints are distinguished from truncated ones without loading them."""

import shutil
import zipfile

import pytest

from core.training.checkpoint import checkpoints, last_whole
from tests.fakes.checkpoint import write_checkpoint


def test_nothing(tmp_path):
    assert checkpoints(tmp_path / "missing") == []
    assert last_whole(tmp_path) is None


def test_in_the_order_of_iterations(tmp_path):
    for at in (9, 10, 100):
        write_checkpoint(tmp_path / f"iter_{at}.pth")
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


@pytest.mark.parametrize("part", [0, 1e-9, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1 - 1e-9])
def test_cut_short(tmp_path, part):
    write_checkpoint(tmp_path / "iter_4.pth")
    path = write_checkpoint(tmp_path / "iter_8.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part) + (part == 1e-9)])
    assert [checkpoint.whole for checkpoint in checkpoints(tmp_path)] == [True, False]
    assert last_whole(tmp_path).iter == 4


def rewritten(path, leave_out=(), shorten=()):
    """Rewrite the archive as a valid one, with some of its entries missing or shorter."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if name not in leave_out:
                archive.writestr(name, content[: len(content) // 2] if name in shorten else content)


@pytest.mark.parametrize(
    "damage",
    [
        {"leave_out": ["archive/data/0"]},
        {"leave_out": ["archive/data.pkl"]},
        {"shorten": ["archive/data/0"]},
        {"shorten": ["archive/data.pkl"]},
    ],
    ids=str,
)
def test_a_good_archive_with_less_in_it_than_its_outline_names(tmp_path, damage):
    path = write_checkpoint(tmp_path / "iter_4.pth")
    rewritten(path)
    assert last_whole(tmp_path).iter == 4
    rewritten(path, **damage)
    assert zipfile.is_zipfile(path)
    assert last_whole(tmp_path) is None


def test_a_hole_where_the_disk_lost_what_was_written(tmp_path):
    path = write_checkpoint(tmp_path / "iter_4.pth")
    content = path.read_bytes()
    end = content.index(b"archive/data/0")
    path.write_bytes(bytes(end) + content[end:])
    assert last_whole(tmp_path) is None


def test_the_end_alone_and_something_else(tmp_path):
    content = write_checkpoint(tmp_path / "iter_4.pth").read_bytes()
    (tmp_path / "iter_4.pth").write_bytes(content[-400:])
    assert last_whole(tmp_path) is None
    (tmp_path / "iter_5.pth").write_bytes(b"x" * 5000)
    (tmp_path / "iter_6.pth").symlink_to(tmp_path / "gone")
    assert last_whole(tmp_path) is None


def test_a_checkpoint_that_is_replaced_is_looked_at_again(tmp_path):
    path = write_checkpoint(tmp_path / "iter_4.pth")
    assert last_whole(tmp_path).iter == 4
    path.write_bytes(path.read_bytes()[:-50])
    assert last_whole(tmp_path) is None
    write_checkpoint(path)
    assert last_whole(tmp_path).iter == 4


def deepspeed(directory, world=2, split_model=False):
    """Write a checkpoint as left by DeepSpeed's ZeRO with two processes; with `split_model`, by its third stage."""
    for rank in range(world if split_model else 1):
        name = f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt" if split_model else "mp_rank_00_model_states.pt"
        write_checkpoint(directory / name, {"dp_world_size": world})
    for rank in range(world):
        write_checkpoint(directory / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    return directory


@pytest.mark.parametrize("split_model", [False, True])
def test_directory_of_deepspeed(tmp_path, split_model):
    directory = deepspeed(tmp_path / "iter_4.pth", split_model=split_model)
    (found,) = checkpoints(tmp_path)
    assert found.whole
    assert found.bytes > 8000
    for file in sorted(directory.iterdir()):
        kept = file.read_bytes()
        file.write_bytes(kept[: len(kept) // 2])
        assert not found.whole, f"{file.name} cut short"
        file.unlink()
        assert not found.whole, f"{file.name} missing"
        file.write_bytes(kept)
    assert found.whole
    (tmp_path / "iter_5.pth").mkdir()
    assert last_whole(tmp_path).iter == 4


def test_each_of_two_machines_has_its_own_shards(tmp_path):
    directory = deepspeed(tmp_path / "iter_4.pth", world=4)
    for rank in (2, 3):
        (directory / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").unlink()
    assert last_whole(tmp_path) is None
    assert last_whole(tmp_path, ranks=(0, 1)).iter == 4
    assert last_whole(tmp_path, ranks=(2, 3)) is None


def test_nothing_of_a_checkpoint_is_run(tmp_path):
    """Reading a checkpoint that was designed to run a command does not run it."""

    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {tmp_path / 'ran'}",)

    write_checkpoint(tmp_path / "iter_4.pth", {"x": Evil()})
    assert last_whole(tmp_path).iter == 4
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_goes_away_while_we_look(tmp_path):
    directory = deepspeed(tmp_path / "iter_4.pth")
    (found,) = checkpoints(tmp_path)
    shutil.rmtree(directory)
    assert not found.whole
