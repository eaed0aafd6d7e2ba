"""Tensors on disk: what is written is what safetensors reads, byte for byte, and vice versa."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.engine.workers import tensors
from core.engine.workers.tensors import SIZES, Planned, Weights, all_within, dtype_of, kind_of, shards, write_shards

torch.manual_seed(0)
TENSORS = {
    **{
        f"of {dtype}": (torch.rand(3, 5) * 100).to(dtype)
        for dtype in map(dtype_of, SIZES)
    },
    "z first": torch.arange(7, dtype=torch.float32),
    "nothing": torch.empty(0, 4),
    "one number": torch.tensor(2.5),
}  # fmt: skip


def plan_of(values):
    return [Planned(name, kind_of(tensor), tuple(tensor.shape)) for name, tensor in values.items()]


def write(directory, values=TENSORS, most=10**9):
    counted = []
    write_shards(directory, shards(plan_of(values), most), lambda planned: values[planned.name], counted.append)
    return counted


@pytest.mark.parametrize("most", [10**9, 100])
def test_safetensors_reads_what_is_written(tmp_path, most):
    counted = write(tmp_path, most=most)
    found = {}
    for file in tmp_path.glob("*.safetensors"):
        found |= load_file(file)
        (length,) = struct.unpack("<Q", file.read_bytes()[:8])
        # The data begin at an offset that suits every dtype.
        assert length % 8 == 0
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    assert counted == [tensor.numel() * tensor.element_size() for tensor in TENSORS.values()]


def test_the_index_of_several_files(tmp_path):
    write(tmp_path, most=100)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in TENSORS.values())
    assert index["weight_map"].keys() == TENSORS.keys()
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / file)
    assert len(set(index["weight_map"].values())) == len(list(tmp_path.glob("*.safetensors"))) > 3


def test_two_files_have_an_index(tmp_path):
    write(tmp_path, {"a": torch.ones(3), "b": torch.zeros(3)}, most=12)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index == {
        "metadata": {"total_size": 24},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }


def test_a_disk_that_takes_a_little_at_a_time(monkeypatch):
    """What a file takes of a block may be less than the block, on a full disk or over a network."""

    class Sparing:
        held = b""

        def write(self, block):
            self.held += bytes(block[:3])
            return min(3, len(block))

    monkeypatch.setattr(tensors, "_BLOCK", 8)
    for size in (0, 1, 7, 8, 9, 30):
        file, content = Sparing(), bytes(range(size))
        tensors._write(file, memoryview(content))
        assert file.held == content


def test_one_file_has_no_index(tmp_path):
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_read(tmp_path, form):
    if form == "bin":
        torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    else:
        save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    weights = Weights(tmp_path)
    assert {entry.name for entry in weights} == TENSORS.keys()
    assert weights.bytes == sum(t.numel() * t.element_size() for t in TENSORS.values())
    for name, tensor in TENSORS.items():
        read = weights.read(name)
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read, tensor)
    # In memory of its own: changing it changes no file and no other tensor.
    weights.read("z first").zero_()
    assert torch.equal(weights.read("z first"), TENSORS["z first"])


def test_safetensors_go_before_the_older_form(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert Weights(tmp_path).read("a").tolist() == [1.0]


def test_a_file_that_was_cut_short(tmp_path):
    write(tmp_path, {"a": torch.ones(1000)})
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(OSError, match="cut short"):
        Weights(tmp_path).read("a")


@pytest.mark.parametrize(("missing", "whole"), [(0, True), (1, False), (8, False)])
def test_a_header_that_was_cut_short(tmp_path, missing, whole):
    """It is reported as a truncated file, not as invalid JSON."""
    file = tmp_path / "model.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    content = struct.pack("<Q", len(header)) + header
    file.write_bytes(content[: len(content) - missing])
    if whole:
        assert Weights(tmp_path).read("a").shape == (0,)
    else:
        with pytest.raises(OSError, match="cut short"):
            Weights(tmp_path)


def test_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError):
        Weights(tmp_path)


@pytest.mark.parametrize("wrong", [torch.zeros(4), torch.zeros(2, 2, dtype=torch.float16), torch.zeros(2, 3)])
def test_what_is_not_as_planned_is_not_written(tmp_path, wrong):
    plan = {"model.safetensors": [Planned("a", "F32", (2, 2))]}
    with pytest.raises(ValueError, match="not as planned"):
        write_shards(tmp_path, plan, lambda _: wrong, lambda _: None)


def test_a_tensor_that_lies_otherwise_in_memory(tmp_path):
    write(tmp_path, {"a": torch.arange(6.0).reshape(2, 3).t()})
    assert load_file(tmp_path / "model.safetensors")["a"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_files_are_as_full_as_they_may_be():
    sizes = [40, 60, 100, 101, 1, 250, 10]
    plan = [Planned(str(size), "U8", (size,)) for size in sizes]
    found = [[tensor.bytes for tensor in part] for part in shards(plan, 100).values()]
    assert found == [[40, 60], [100], [101], [1], [250], [10]]
    # What counts is how full the last one is.
    plan_of_two = [Planned(str(size), "U8", (size,)) for size in (100, 40, 60)]
    assert [[tensor.bytes for tensor in part] for part in shards(plan_of_two, 100).values()] == [[100], [40, 60]]
    assert list(shards(plan, 100))[:2] == ["model-00001-of-00006.safetensors", "model-00002-of-00006.safetensors"]
    assert list(shards(plan, sum(sizes))) == ["model.safetensors"]


@pytest.mark.parametrize(
    ("values", "within"),
    [
        ([], True),
        ([2.0, -2.0], True),
        ([2.1], False),
        ([0.0, -2.1], False),
        ([0.0, float("nan")], False),
        ([float("inf")], False),
        ([float("-inf"), 0.0], False),
    ],
)
def test_all_within(values, within):
    assert all_within(torch.tensor(values), 2.0) is within
