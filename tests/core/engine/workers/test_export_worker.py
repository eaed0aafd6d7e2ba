"""Convert and merge alone: without torch and transformers where they can, with the same result where they cannot."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.engine.presets import prompt_templates
from core.ground.files import read_json, write_json
from core.ground.workspace import PROJECT
from tests.core.engine.workers.test_published import plan_of
from tests.core.engine.workers.test_tokenizer_file import gpt2

CONFIG = "model = dict(lora=dict(type='peft.LoraConfig', r=4, lora_alpha=8, task_type='CAUSAL_LM'))"


@pytest.fixture
def plan(tmp_path):
    """A base model of two matrices and a norm, a checkpoint of an adapter for one of them, and the plan."""
    torch.manual_seed(0)
    base = gpt2(tmp_path / "base")
    write_json(base / "config.json", {"model_type": "llama", "torch_dtype": "float32"})
    weights = {"a.weight": torch.randn(6, 5), "b.weight": torch.randn(5, 6), "norm.weight": torch.ones(5)}
    save_file(weights, base / "model.safetensors")
    lora = {"A": torch.randn(4, 5), "B": torch.randn(6, 4)}
    state = {f"llm.base_model.model.a.lora_{side}.default.weight": value for side, value in lora.items()}
    torch.save({"state_dict": state, "meta": {"cfg": CONFIG}}, tmp_path / "iter_1.pth")
    paths = {
        "checkpoint": "iter_1.pth",
        "adapter": "adapter",
        "merged": "merged",
        "results": "export",
        "config": "none",
    }
    return {
        **plan_of(base, prompt_templates()["qwen_chat"], "who?"), "kind": "lora", "card": "", "facts": {},
        **{key: str(tmp_path / path) for key, path in paths.items()},
    }  # fmt: skip


def run(plan, tmp_path, *steps):
    """Run steps in a process of their own; return which of the large libraries it imported."""
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    command = [
        "-X",
        "importtime",
        "-m",
        "core.engine.workers.export_worker",
        *steps,
        "--plan",
        str(tmp_path / "plan.json"),
    ]
    done = subprocess.run([sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(re.findall(r"\| +(torch|transformers|peft)(?:\._C)?$", done.stderr, re.MULTILINE))


def merged_as_peft(plan):
    base, adapter = (
        load_file(f"{plan[key]}/{name}.safetensors") for key, name in (("base", "model"), ("adapter", "adapter_model"))
    )
    a, b = (adapter[f"base_model.model.a.lora_{side}.weight"] for side in "AB")
    base["a.weight"] = (base["a.weight"].float() + (b @ a) * 2.0).to(base["a.weight"].dtype)
    return base


def check(plan, *, exact):
    found, wanted = load_file(f"{plan['merged']}/model.safetensors"), merged_as_peft(plan)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        if exact or name != "a.weight":
            assert torch.equal(found[name], tensor), name
        torch.testing.assert_close(found[name], tensor)
    assert read_json(Path(plan["merged"]) / "export.json")["method"] == "tensors"
    assert "<|im_start|>" in read_json(Path(plan["merged"]) / "tokenizer_config.json")["chat_template"]


def test_without_the_engine(plan, tmp_path):
    assert run(plan, tmp_path, "convert") == set()
    assert run(plan, tmp_path, "merge") == set()
    # NumPy may add up B·A in another order than torch.
    check(plan, exact=False)


def test_with_it_where_the_weights_or_the_tokenizer_need_it(plan, tmp_path):
    halves = {name: tensor.bfloat16() for name, tensor in load_file(f"{plan['base']}/model.safetensors").items()}
    save_file(halves, f"{plan['base']}/model.safetensors")
    assert run(plan, tmp_path, "convert") == set()
    assert "torch" in run(plan, tmp_path, "merge")
    check(plan, exact=True)
    file = Path(plan["base"]) / "tokenizer_config.json"
    write_json(file, {**read_json(file), "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|pad|>"})
    assert run({**plan, "adapter": str(tmp_path / "again")}, tmp_path, "convert") >= {"torch", "transformers"}
