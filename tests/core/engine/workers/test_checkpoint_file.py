"""A checkpoint is read without torch as torch reads it, nothing in it is executed, and what is unknown is left to torch."""

import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from core.engine.workers import checkpoint_file
from core.ground.workspace import PROJECT

TENSORS = {
    "whole": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "part": torch.arange(12, dtype=torch.float32)[5:9],
    "turned": torch.arange(6, dtype=torch.float64).reshape(2, 3).t(),
    "half": torch.tensor([1.5, -2], dtype=torch.float16),
    "one": torch.tensor(7),
    "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    "nothing": torch.empty(0, 3),
}


def saved(directory, tensors=TENSORS, **more):
    file = directory / "iter_1.pth"
    torch.save(
        {"state_dict": tensors, "meta": {"cfg": "lr = 1", "iter": 1}, "optimizer": {"x": [torch.ones(3)]}, **more}, file
    )
    return file


def test_the_same_as_torch_reads(tmp_path):
    read, config = checkpoint_file.read(saved(tmp_path), lambda _: True)
    assert config == "lr = 1"
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert np.array_equal(read[name], tensor.detach().numpy()), name
        assert (read[name].dtype, read[name].shape) == (tensor.detach().numpy().dtype, tuple(tensor.shape))


def test_only_what_is_wanted(tmp_path):
    read, _ = checkpoint_file.read(saved(tmp_path), lambda name: name == "half")
    assert list(read) == ["half"]


class Executed:
    """Creates a file when it is unpickled as usual."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (self.file,)


def test_nothing_is_executed(tmp_path):
    file = saved(tmp_path, hook=Executed(str(tmp_path / "executed")))
    assert checkpoint_file.read(file, lambda name: name == "one")[0]["one"] == 7
    assert not (tmp_path / "executed").exists()


def test_what_it_does_not_know_is_left_to_torch(tmp_path):
    other = saved(tmp_path, {"a": torch.ones(2, dtype=torch.bfloat16)})
    with pytest.raises(checkpoint_file.Unknown):
        checkpoint_file.read(other, lambda _: True)
    other.write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(checkpoint_file.Unknown):
        checkpoint_file.read(other, lambda _: True)
    torch.save(TENSORS, other)
    with pytest.raises(checkpoint_file.Unknown):
        checkpoint_file.read(other, lambda _: True)
    with zipfile.ZipFile(saved(tmp_path), "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(checkpoint_file.Unknown):
        checkpoint_file.read(other, lambda _: True)


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [(0, (5,), (1,)), (3, (2,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (4, 1)), (0, (2,), (-1,)), (0, (-2, -2), (1, 1))],
)
def test_nothing_is_read_beyond_the_values(tmp_path, offset, shape, stride):
    file = saved(tmp_path, {"a": torch.ones(4)})
    with zipfile.ZipFile(file) as archive:
        root = archive.namelist()[0].partition("/")[0] + "/"
        described = checkpoint_file._Tensor(("FloatStorage", "0"), offset, shape, stride)
        with pytest.raises(checkpoint_file.Unknown):
            checkpoint_file._array(archive, root, described)


def test_torch_is_not_imported(tmp_path):
    code = (
        "import sys; from pathlib import Path; from core.engine.workers import checkpoint_file, tensors, adapter; "
        f"checkpoint_file.read(Path({str(saved(tmp_path))!r}), lambda _: True); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
