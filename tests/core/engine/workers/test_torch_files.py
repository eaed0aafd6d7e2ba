"""Foreign torch files execute nothing, however they are loaded: by us, transformers or XTuner."""

import collections
import json
import subprocess
import sys

import pytest
import torch

from core.engine.workers import torch_files
from core.engine.workers.tensors import Weights
from core.ground.workspace import PROJECT
from tests.core.engine.workers.test_adapter import Calls

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.bias": torch.ones(2, dtype=torch.bfloat16)}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("torch.utils.collect_env", "run"),
        ("torch", "utils.collect_env.run"),
        ("torch", "storage.TypedStorage"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load"),
        ("collections", "namedtuple"),
        ("_codecs", "lookup"),
        ("torch", "load"),
        ("torch", "MyStorage"),
        ("torch", "FloatStorage.from_file"),
        ("torch", "UntypedStorage.from_file"),
        ("torch._utils", "_import_dotted_name"),
    ],
)
def test_reading_runs_nothing(tmp_path, module, name):
    stream = tmp_path / "pickle"
    # Protocol 4 splits a dotted name.
    stream.write_bytes(
        b"\x80\x04" + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)) + b"\x93."
    )
    with stream.open("rb") as file:
        assert torch_files.TensorsOnly(file).load() is torch_files.Stub


class Script(torch.nn.Module):
    """A module whose code torch executes when its archive is loaded."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x):
        return x * self.weight


@pytest.fixture
def script(tmp_path):
    """A TorchScript archive under the name of a model's weights."""
    torch.jit.script(Script()).save(tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin"


def harmful(path, mark, **how):
    """Write weights whose pickle leaves a mark when its calls are executed."""
    torch.save({**TENSORS, "x": Calls(exec, f"open({str(mark)!r}, 'w')")}, path, **how)
    return path


@pytest.mark.parametrize("new", [True, False])
def test_tensors_are_read_as_they_are(tmp_path, new):
    torch.save(collections.OrderedDict(TENSORS), tmp_path / "x.bin", _use_new_zipfile_serialization=new)
    found = torch_files.read(tmp_path / "x.bin")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_s_calls_are_not_made(tmp_path, new):
    file = harmful(tmp_path / "x.bin", tmp_path / "ran", _use_new_zipfile_serialization=new)
    found = torch_files.read(file)
    assert torch.equal(found["a.weight"], TENSORS["a.weight"])
    assert not (tmp_path / "ran").exists()
    torch.load(file, weights_only=False)
    assert (tmp_path / "ran").exists()


def test_torchscript_is_refused(script):
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a TorchScript archive"):
        torch_files.read(script)
    with pytest.raises(ValueError, match="TorchScript"):
        Weights(script.parent)
    # torch itself loads it, although it was asked for weights only.
    with pytest.warns(UserWarning, match="TorchScript"):
        assert isinstance(torch.load(script, weights_only=True), torch.jit.ScriptModule)


GUARDED = """
import io, json, sys
from pathlib import Path
import torch
from core.engine.workers import torch_files

torch_files.guard()
harmful, mark, script, ours = map(Path, sys.argv[1:])
torch_files.ours(ours.parent)
found = {}
for name, load in {
    "as it comes": lambda: torch.load(harmful, map_location="cpu"),
    "by place": lambda: torch.load(str(harmful), "cpu", __import__("pickle")),
    "as a pickle": lambda: torch.load(harmful, weights_only=False),
}.items():
    found[name] = [sorted(load()), mark.exists()]
for name, load in {
    "script": lambda: torch.load(script, weights_only=True),
    "open script": lambda: torch.load(io.BytesIO(script.read_bytes()), weights_only=True),
}.items():
    try:
        found[name] = type(load()).__name__
    except Exception as error:
        found[name] = str(error)[:21]
try:
    torch.load(harmful, weights_only=True)
except Exception as error:
    found["weights only"] = type(error).__name__
torch.load(ours)
found["ours"] = mark.exists()
print(json.dumps(found))
"""


def test_what_libraries_load_by_themselves_is_read_so_too(tmp_path, script):
    mark = tmp_path / "ran"
    (tmp_path / "run").mkdir()
    paths = [harmful(tmp_path / "x.pth", mark), mark, script, harmful(tmp_path / "run" / "iter_4.pth", mark)]
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, *paths], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        **dict.fromkeys(("as it comes", "by place", "as a pickle"), [["a.weight", "b.bias", "x"], False]),
        "script": f"{script} is"[:21],
        "open script": "A TorchScript archive",
        "weights only": "UnpicklingError",
        "ours": True,
    }


def test_torch_load_stands_in_one_place_and_every_worker_that_loads_models_is_guarded():
    sources = {path.name: path.read_text() for path in (PROJECT / "core" / "engine" / "workers").glob("*.py")}
    assert [name for name, source in sources.items() if "torch.load(" in source] == []
    loading = {"entry.py", "chat_worker.py", "export_worker.py"}
    assert {name for name, source in sources.items() if "torch_files.guard()" in source} == loading
    # Everything else that handles a model is part of those three.
    parts = {"answering.py", "verification.py", "export_steps.py"}
    assert {name for name, source in sources.items() if "CausalLM.from_pretrained" in source} == parts
