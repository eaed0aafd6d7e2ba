"""Complete checkpoints are distinguished from truncated ones without loading them."""

import shutil
import struct
import zipfile
from collections import OrderedDict

import pytest

from core.training import checkpoint
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


def test_one_that_goes_away_is_passed_over(tmp_path, monkeypatch):
    """Only the newest are kept: an old one may be deleted between its name and its size."""
    for at in range(1, 5):
        write_checkpoint(tmp_path / f"iter_{at}.pth")
    real, asked = checkpoint.size_of, []

    def size(path):
        asked.append(path)
        if len(asked) == 1:
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(checkpoint, "size_of", size)
    assert len(checkpoints(tmp_path)) == 3
    monkeypatch.undo()
    found = checkpoints(tmp_path)
    found[0].path.unlink()
    assert [one.whole for one in found] == [False, True, True, True]


def test_a_file_is_read_once_while_it_stays_the_same(tmp_path, monkeypatch):
    """A page asks every two seconds, and a checkpoint may have thousands of blocks."""
    path = write_checkpoint(tmp_path / "iter_4.pth")
    opened, real = [], zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda *arguments: opened.append(arguments) or real(*arguments))
    for _ in range(3):
        assert last_whole(tmp_path).iter == 4
    assert len(opened) == 1
    write_checkpoint(path, elements=50)
    assert last_whole(tmp_path).iter == 4
    assert len(opened) > 1


# As torch names its storages, with the bytes of an element; of a name that is not known at least one.
STORAGES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexFloat": 8, "ComplexDouble": 16, "Untyped": 1,
}  # fmt: skip


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("elements", [1, 100])
@pytest.mark.parametrize(("more", "whole"), [(0, True), (-1, False), (None, False)])
def test_a_block_has_the_bytes_of_its_elements(tmp_path, kind, elements, more, whole):
    path = write_checkpoint(tmp_path / "iter_4.pth", elements=elements)
    with zipfile.ZipFile(path) as archive:
        outline = archive.read("archive/data.pkl").replace(b"FloatStorage\n", f"{kind}Storage\n".encode())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", outline)
        if more is not None:
            archive.writestr("archive/data/0", bytes(elements * STORAGES[kind] + more))
    assert bool(last_whole(tmp_path)) is whole


def test_an_empty_block_must_be_there_too(tmp_path):
    path = write_checkpoint(tmp_path / "iter_4.pth", elements=0)
    assert last_whole(tmp_path)
    rewritten(path, leave_out=["archive/data/0"])
    assert last_whole(tmp_path) is None


def test_a_block_whose_beginning_was_lost(tmp_path):
    """Nobody looks at a block itself, but where one begins is marked."""
    path = write_checkpoint(tmp_path / "iter_4.pth")
    content = bytearray(path.read_bytes())
    start = content.index(b"archive/data/0") - 30
    assert content[start : start + 4] == b"PK\x03\x04"
    content[start : start + 4] = bytes(4)
    path.write_bytes(content)
    assert last_whole(tmp_path) is None


@pytest.mark.parametrize(("beyond", "whole"), [(0, True), (1, False)])
def test_a_block_ends_within_the_file(tmp_path, beyond, whole):
    """torch fills up the extra field before each block, so that it can be mapped."""
    path = tmp_path / "iter_4.pth"
    write_checkpoint(path)
    with zipfile.ZipFile(path) as archive:
        outline = archive.read("archive/data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", outline)
        block = zipfile.ZipInfo("archive/data/0")
        block.extra = b"FB\x0c\x00" + b"Z" * 12
        archive.writestr(block, bytes(4000))
    content = bytearray(path.read_bytes())
    begins = content.index(b"archive/data/0") + len("archive/data/0") + len(block.extra)
    listed = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content[listed + 20 : listed + 24] = struct.pack("<I", len(content) - begins + beyond)
    path.write_bytes(content)
    assert bool(last_whole(tmp_path)) is whole


class Listed(list):
    pass


class Stated:
    def __init__(self, state):
        self.state = state

    def __getstate__(self):
        return self.state

    def __setstate__(self, state):
        pass

    def made(self):
        return self


class Returned:
    """Comes back as what a method of another object returns, and is given its state then."""

    def __reduce__(self):
        return Stated("x").made, (), ("x", 1)


# What a real checkpoint may hold beside its tensors: a history of losses, a random state, a message hub.
FOREIGN = [
    Listed([1]), Listed([1, 2]), OrderedDict(a=1), OrderedDict(a=1, b=2), Stated(("x", 1)), Stated({"x": 1}), Returned(),
]  # fmt: skip


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: type(foreign).__name__)
def test_objects_of_others_do_not_hide_what_is_asked(tmp_path, foreign):
    """How many ranks there were is read past them, so a shard that is missing is missed."""
    directory = deepspeed(tmp_path / "iter_4.pth", world=2)
    write_checkpoint(directory / "mp_rank_00_model_states.pt", {"before": foreign, "dp_world_size": 2})
    assert last_whole(tmp_path)
    (directory / "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    assert last_whole(tmp_path) is None


def test_an_outline_that_cannot_be_read_is_no_proof_of_damage(tmp_path):
    """Whoever pickled a class in a way of its own has a checkpoint all the same."""
    path = write_checkpoint(tmp_path / "iter_4.pth")
    with zipfile.ZipFile(path) as archive:
        outline = archive.read("archive/data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        # The storage of a kind that is an object, not a class: what it is called is not known.
        made = b"c__main__\nKind\n)R"
        archive.writestr("archive/data.pkl", outline.replace(b"ctests.fakes.checkpoint\nFloatStorage\n", made))
        archive.writestr("archive/data/0", bytes(4000))
    assert last_whole(tmp_path).iter == 4
    # Nor one of another form.
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02K\x07.")
    assert last_whole(tmp_path).iter == 4


@pytest.mark.parametrize("content", [{}, {"dp_world_size": "two"}])
def test_ranks_that_nobody_counted(tmp_path, content):
    directory = tmp_path / "iter_4.pth"
    write_checkpoint(directory / "mp_rank_00_model_states.pt", content)
    write_checkpoint(directory / "zero_pp_rank_1_mp_rank_00_optim_states.pt")
    assert last_whole(tmp_path).iter == 4


def test_a_directory_with_something_else_in_it(tmp_path):
    directory = deepspeed(tmp_path / "iter_4.pth")
    (directory / "mp_rank_00_model_states.pt").unlink()
    write_checkpoint(directory / "other.pt")
    assert last_whole(tmp_path) is None, "without the model's file"
    write_checkpoint(directory / "mp_rank_00_model_states.pt", {"dp_world_size": 2})
    assert last_whole(tmp_path).iter == 4
    (directory / "other.pt").write_bytes(b"x")
    assert last_whole(tmp_path) is None, "whatever it is, it was not written to its end"
