"""Adapters: what is read from a checkpoint and from PEFT's directories, and that reading executes no code."""

import collections
import json
import pickle
import types

import pytest
import torch
from safetensors.torch import save_file

from core.engine.workers.adapter import (
    PREFIX,
    Adapter,
    check_fit,
    full_tensors,
    lora_settings,
    read_adapter,
    read_checkpoint,
)
from core.engine.workers.tensors import Weights

A, B = torch.arange(6.0).reshape(2, 3), torch.arange(8.0).reshape(4, 2)
NAME = "model.layers.0.wo"
PLAIN = {f"{PREFIX}{NAME}.lora_A.weight": A, f"{PREFIX}{NAME}.lora_B.weight": B}
LORA = "model = dict(lora=dict(type='peft.LoraConfig', r=2, lora_alpha=16, bias='none'), llm=dict(type='x'))\n"
FULL = "lr = 1\nmodel = dict(llm=dict(type='x'))\n"


def checkpoint(path, tensors, config=LORA, **more):
    torch.save({"state_dict": collections.OrderedDict(tensors), "meta": {"cfg": config}, **more}, path)
    return path


def of_llm(tensors=PLAIN):
    return {f"llm.{name.replace('.weight', '.default.weight')}": tensor for name, tensor in tensors.items()}


def test_the_settings_of_a_config():
    assert lora_settings(LORA) == {"r": 2, "lora_alpha": 16, "bias": "none"}
    assert lora_settings(FULL) is None


def test_the_tensors_of_a_full_fine_tune():
    assert full_tensors({"llm.a.weight": A, "other.b": B, "llm.llm.c": B}).keys() == {"a.weight", "llm.c"}


def test_an_adapter_of_a_checkpoint(tmp_path):
    tensors = {**of_llm(), "llm.base_model.model.norm.weight": torch.ones(3), "visual.lora_A.weight": A}
    found = read_adapter(checkpoint(tmp_path / "iter_1.pth", tensors))
    assert found.tensors.keys() == PLAIN.keys()
    assert found.settings["target_modules"] == ["wo"]
    assert (found.settings["peft_type"], found.settings["lora_alpha"]) == ("LORA", 16)
    a, b = found.pairs[f"{NAME}.weight"]
    assert torch.equal(a, A)
    assert torch.equal(b, B)
    assert found.special is None


@pytest.mark.parametrize(
    ("tensors", "config", "said"),
    [(of_llm(), FULL, "full model"), ({"llm.base_model.model.x.weight": A}, LORA, "no LoRA tensors")],
)
def test_a_checkpoint_without_one(tmp_path, tensors, config, said):
    with pytest.raises(ValueError, match=said):
        read_adapter(checkpoint(tmp_path / "iter_1.pth", tensors, config))


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_directory_of_peft(tmp_path, form):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 4}))
    if form == "bin":
        torch.save(PLAIN, tmp_path / "adapter_model.bin")
    else:
        save_file(PLAIN, tmp_path / "adapter_model.safetensors")
    found = read_adapter(tmp_path)
    assert found.settings == {"peft_type": "LORA", "lora_alpha": 4}
    assert torch.equal(found.pairs[f"{NAME}.weight"][1], B)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [({"lora_alpha": 16}, 8.0), ({}, 4.0), ({"lora_alpha": 16, "use_rslora": True}, 16 / 2**0.5)],
)
def test_the_scale(settings, scale):
    assert Adapter(settings, PLAIN).scale(A) == pytest.approx(scale)


@pytest.mark.parametrize(
    ("settings", "tensors", "special"),
    [
        ({"peft_type": "LORA", "use_rslora": True, "use_dora": False, "modules_to_save": None}, {}, None),
        ({"use_dora": True}, {}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, {}, "modules_to_save"),
        ({"fan_in_fan_out": True}, {}, "fan_in_fan_out"),
        ({"alpha_pattern": {"wo": 3}}, {}, "alpha_pattern"),
        ({"peft_type": "LOHA"}, {}, "LOHA"),
        ({"bias": "all"}, {}, "bias"),
        ({}, {"base_model.model.lm_head.weight": A}, "base_model.model.lm_head.weight"),
        ({}, {"base_model.model.x.lora_embedding_A": A}, "base_model.model.x.lora_embedding_A"),
    ],
)
def test_what_makes_it_more_than_pairs(settings, tensors, special):
    assert Adapter(settings, {**PLAIN, **tensors}).special == special


@pytest.mark.parametrize(
    ("there", "said"),
    [({f"{NAME}.weight": [4, 3]}, None), ({f"{NAME}.weight": [3, 4]}, "is"), ({"x.weight": [4, 3]}, "no weight")],
)
def test_it_must_fit(tmp_path, there, said):
    save_file({name: torch.zeros(shape) for name, shape in there.items()}, tmp_path / "model.safetensors")
    if said is None:
        check_fit(Adapter({}, PLAIN), Weights(tmp_path))
    else:
        with pytest.raises(ValueError, match=f"does not fit.*{said}"):
            check_fit(Adapter({}, PLAIN), Weights(tmp_path))


class Calls:
    """An object that calls a function with arguments when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_checkpoint_with_objects_of_mmengine_and_worse(tmp_path):
    mark = tmp_path / "ran"
    worse = Calls(exec, f"open({str(mark)!r}, 'w')")
    history = types.SimpleNamespace(buffer=[1, 2])
    whole = checkpoint(
        tmp_path / "iter_1.pth",
        {**of_llm(), "llm.half": torch.ones(2, dtype=torch.bfloat16), "llm.p": torch.nn.Parameter(torch.ones(1))},
        message_hub={"log": history, "worse": worse},
        optimizer={"state": {0: {"exp_avg": torch.ones(3)}}, "dtype": torch.float16, "size": torch.Size([1])},
        numbers={1, 2},
    )
    tensors, config = read_checkpoint(whole)
    assert not mark.exists()
    assert config == LORA
    assert tensors["llm.half"].dtype == torch.bfloat16
    assert isinstance(tensors["llm.p"], torch.nn.Parameter)
    assert torch.equal(tensors[f"llm.{PREFIX}{NAME}.lora_A.default.weight"], A)
    # The danger is real: the plain reader executes it.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(whole, weights_only=True)
    torch.load(whole, weights_only=False)
    assert mark.exists()
