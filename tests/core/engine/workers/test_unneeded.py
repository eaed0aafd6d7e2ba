"""Which libraries are hidden as if not installed, and which turn out to be needed."""

import subprocess
import sys

import pytest

from core.engine.workers.unneeded import OF_PICTURES, UNNEEDED, leave_out, leave_out_compiler
from core.ground.workspace import PROJECT


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The imported modules: none of the libraries in question."""
    there = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] not in (*UNNEEDED, "xtuner")
    }
    monkeypatch.setattr(sys, "modules", there)
    return there


def left(modules: dict[str, object]) -> set[str]:
    return {name for name in UNNEEDED if name in modules and modules[name] is None}


def test_a_plain_training_needs_none_of_them(modules, tmp_path):
    config = tmp_path / "config.py"
    config.write_text("from torch.optim import AdamW\n", encoding="utf-8")
    leave_out([str(config), "--work-dir", str(tmp_path)])
    assert left(modules) == set(UNNEEDED)
    assert all(name in modules for name in OF_PICTURES)
    assert modules[OF_PICTURES[0]].InternVL_V1_5_Dataset is None


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("quantization_config=dict(type=BitsAndBytesConfig, load_in_4bit=True)", "bitsandbytes"),
        ("from scipy.special import expit", "scipy"),
        ("strategy = dict(type=DeepSpeedStrategy)", "deepspeed"),
        ("import torchvision.transforms as T", "torchvision"),
    ],
)
@pytest.mark.parametrize("where", ["config", "model"])
def test_what_a_config_or_a_model_s_code_names_is_there(modules, tmp_path, text, needed, where):
    model = tmp_path / "model"
    model.mkdir()
    (model / "modeling_own.py").write_text(text if where == "model" else "import torch\n", encoding="utf-8")
    config = tmp_path / "config.py"
    line = f"pretrained_model_name_or_path = '{model}'\n"
    config.write_text(line + (text if where == "config" else ""), encoding="utf-8")
    leave_out([str(config)])
    assert left(modules) == set(UNNEEDED) - {needed}
    assert (OF_PICTURES[1] in modules) == (needed != "torchvision")


@pytest.mark.parametrize(("indent", "needed"), [("", {"aiohttp"}), ("    ", set())])
def test_what_datasets_cannot_do_without_is_there(modules, tmp_path, monkeypatch, indent, needed):
    """Up to 3.2 it imports aiohttp in any case: hidden, the process would begin again, which took 6 s."""
    file = tmp_path / "datasets" / "utils" / "file_utils.py"
    file.parent.mkdir(parents=True)
    (tmp_path / "datasets" / "__init__.py").write_text("", encoding="utf-8")
    before = "try:\n" if indent else ""
    file.write_text(f"import os\n{before}{indent}from aiohttp.client_exceptions import ClientError\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    modules.pop("datasets", None)
    leave_out([])
    assert left(modules) == set(UNNEEDED) - needed


def test_what_the_command_line_names_is_there(modules):
    leave_out(["config.py", "--deepspeed", "deepspeed_zero2"])
    assert left(modules) == set(UNNEEDED) - {"deepspeed"}


def test_weights_that_are_quantised_say_so_in_their_settings(modules, tmp_path):
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "bitsandbytes"}}', encoding="utf-8")
    leave_out(["--base", str(tmp_path)])
    assert left(modules) == set(UNNEEDED) - {"bitsandbytes"}


@pytest.mark.parametrize(
    "text", ["with read_base():\n    from .other import *", "_base_ = './other.py'", "RefCOCOJsonDataset"]
)
def test_a_config_of_several_files_or_of_pictures_has_all(modules, tmp_path, text):
    config = tmp_path / "config.py"
    config.write_text(text, encoding="utf-8")
    leave_out([str(config)])
    assert not left(modules)
    assert OF_PICTURES[0] not in modules


def test_what_xtuner_itself_imports_is_there(modules, tmp_path, monkeypatch):
    """As before 0.2.0. Imports within a function, or by a module that `utils` does not start with, do not count."""
    utils = tmp_path / "xtuner" / "utils"
    utils.mkdir(parents=True)
    (utils.parent / "__init__.py").touch()
    (utils / "__init__.py").write_text("from .experts import load\nfrom .words import WORDS\n", encoding="utf-8")
    (utils / "experts.py").write_text("import torch\nimport deepspeed\n", encoding="utf-8")
    (utils / "words.py").write_text("def words():\n    import scipy\n", encoding="utf-8")
    (utils / "pictures.py").write_text("from torchvision import io\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    leave_out([])
    assert left(modules) == set(UNNEEDED) - {"deepspeed"}


def test_what_is_imported_already_stays(modules):
    modules["scipy"] = sys
    leave_out([])
    assert left(modules) == set(UNNEEDED) - {"scipy"}


def test_the_chat_and_xtuner_load_without_them():
    """The chat also loads without torch's compiler, which remains available to whoever needs it."""
    code = """
from core.ground import garbage
garbage.wait()
import sys
from core.engine.workers.unneeded import UNNEEDED, leave_out, leave_out_compiler
leave_out([])
leave_out_compiler()
import core.engine.workers.answering, core.engine.workers.verification, peft
from transformers import LlamaForCausalLM
import torch
weight = torch.nn.Parameter(torch.ones(2))
trained = torch.optim.AdamW([weight], lr=0.1)
torch.utils.checkpoint.checkpoint(lambda x: x.sum(), weight, use_reentrant=False).backward()
trained.step()
trained.zero_grad()
assert weight.tolist() != [1, 1]
loaded = [name for name in sys.modules if name.startswith(("torch._dynamo.", "sympy"))]
assert not loaded, loaded
assert torch.compile(lambda x: x + 1, backend="eager")(1) == 2
from core.engine.workers.without_gpu import answer_bf16
answer_bf16()
import xtuner.tools.train, xtuner.engine.hooks
print("needed: " + " ".join(name for name in UNNEEDED if sys.modules[name] is not None))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.splitlines()[-1] == "needed: "


BEGINS_AGAIN = """
import os, sys
from core.engine.workers.unneeded import leave_out, or_whole
leave_out(sys.argv[1:])
with or_whole():
    try:
        import scipy.sparse
    except ImportError as error:
        raise RuntimeError("Failed to import what imports it") from error
print("whole", sys.argv[1:])
"""


@pytest.mark.parametrize("line", ["model = torch.compile(model)", "cfg = dict(compile=True)"])
def test_a_config_that_compiles_has_the_compiler(modules, tmp_path, line):
    (tmp_path / "config.py").write_text(line, encoding="utf-8")
    for name in [name for name in modules if name.startswith("torch._dynamo")]:
        del modules[name]
    leave_out_compiler([str(tmp_path / "config.py")])
    assert "torch._dynamo" not in modules


@pytest.mark.parametrize(
    ("more", "needed"),
    [("", set()), ("q = dict(type=BitsAndBytesConfig)", {"bitsandbytes"}), ("o = 'PagedAdamW'", {"bitsandbytes"})],
)
@pytest.mark.parametrize("names", ["AutoTokenizer, BitsAndBytesConfig", "(\n    BitsAndBytesConfig,\n    AutoModel)"])
def test_a_preset_that_only_imports_quantisation_does_not_quantise(modules, tmp_path, names, more, needed):
    config = tmp_path / "config.py"
    config.write_text(f"from transformers import {names}\n{more}\n", encoding="utf-8")
    leave_out([str(config)])
    assert left(modules) == set(UNNEEDED) - needed


def test_what_is_wanted_after_all_is_there_the_second_time():
    """As with scikit-learn installed, which transformers imports by itself, and which imports scipy."""
    argv = [sys.executable, "-W", "ignore", "-c", BEGINS_AGAIN, "a word"]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "whole ['a word']\n"), done.stderr[-1000:]


def test_another_fault_stays_what_it_is():
    code = BEGINS_AGAIN.replace("import scipy.sparse", "import nowhere_to_be_found")
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere_to_be_found" in done.stderr


def test_scipy_stays_where_scikit_learn_is_named(modules):
    leave_out(["sklearn"])
    assert left(modules) == set(UNNEEDED) - {"sklearn", "scipy"}
