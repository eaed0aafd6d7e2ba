"""Read LoRA adapters: from XTuner's checkpoints, which are files or DeepSpeed directories, and from PEFT directories.

Part of the workers. An adapter's tensors are torch's, or on request NumPy arrays, for which torch is not imported; XTuner
is imported for DeepSpeed checkpoints. Does not merge or run adapters.
"""

import ast
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine.workers import checkpoint_file
from core.engine.workers.tensors import ARRAYS, Weights

# The prefix of a plain adapter's tensor names in PEFT's files.
PREFIX = "base_model.model."
# PEFT settings that make an adapter more than pairs of matrices; so does any `use_…` except `use_rslora`.
_SPECIAL = {
    "modules_to_save",
    "fan_in_fan_out",
    "alpha_pattern",
    "lora_bias",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
}


def read_checkpoint(checkpoint: Path) -> "tuple[dict[str, Any], str]":
    """Return the trained tensors and the config text of a checkpoint file, or of a DeepSpeed directory.

    A file is memory-mapped: the optimizer states stored with the weights take no memory.
    """
    from core.engine.workers import torch_files

    if checkpoint.is_dir():
        from core.engine.workers.without_gpu import answer_bf16

        answer_bf16()
        from xtuner.model.utils import guess_load_checkpoint

        torch_files.ours(checkpoint)
        dumped = sorted(checkpoint.parent.glob("*/vis_data/config.py"))
        return dict(guess_load_checkpoint(str(checkpoint))), dumped[-1].read_text(encoding="utf-8")
    content = torch_files.read(checkpoint)
    return content["state_dict"], content["meta"]["cfg"]


def lora_settings(config_text: str) -> "dict[str, Any] | None":
    """Return the LoRA settings of a config dumped by mmengine (literal assignments); None for full fine-tuning."""
    for node in ast.parse(config_text).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "model":
            for part in node.value.keywords:
                if part.arg == "lora" and isinstance(part.value, ast.Call):
                    return {k.arg: ast.literal_eval(k.value) for k in part.value.keywords if k.arg != "type"}
    return None


def full_tensors(tensors: "dict[str, Any]") -> "dict[str, Any]":
    """Return the tensors of a fully fine-tuned model by their names in the model."""
    return {name.removeprefix("llm."): tensor for name, tensor in tensors.items() if name.startswith("llm.")}


@dataclass
class Adapter:
    """An adapter in memory: PEFT's settings, and the tensors or arrays by PEFT's names."""

    settings: "dict[str, Any]"
    tensors: "dict[str, Any]"

    @property
    def pairs(self) -> "dict[str, tuple[Any, Any]]":
        """A (r × in) and B (out × r) by the name of the weight they change, `model.….weight`."""
        found = {}
        for name, a in self.tensors.items():
            if name.endswith(".lora_A.weight"):
                b = self.tensors[name.replace(".lora_A.", ".lora_B.")]
                found[name.removeprefix(PREFIX).replace(".lora_A.weight", ".weight")] = (a, b)
        return found

    def scale(self, a: Any) -> float:
        """Return the factor of B·A: alpha / r (Hu et al. 2021), or alpha / √r for rsLoRA (Kalajdzievski 2023)."""
        rank = a.shape[0]
        return self.settings.get("lora_alpha", 8) / (rank**0.5 if self.settings.get("use_rslora") else rank)

    @property
    def special(self) -> "str | None":
        """PEFT's name for what makes it more than matrix pairs on linear layers; None for a plain adapter."""
        for setting, value in self.settings.items():
            if value and (setting in _SPECIAL or (setting.startswith("use_") and setting != "use_rslora")):
                return setting
        if self.settings.get("peft_type", "LORA") != "LORA":
            return str(self.settings["peft_type"])
        if self.settings.get("bias", "none") != "none":
            return "bias"
        other = [name for name in self.tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
        return other[0] if other else None


def read_adapter(source: Path, *, arrays: bool = False) -> Adapter:
    """Read the adapter of a PEFT directory or an XTuner checkpoint, as arrays if asked for and possible.

    Raises ValueError if it has none.
    """
    if (source / "adapter_config.json").is_file():
        settings = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
        if (source / "adapter_model.safetensors").is_file():
            weights = Weights(source)
            read = weights.array if arrays and all(entry.kind in ARRAYS for entry in weights) else weights.read
            return Adapter(settings, {entry.name: read(entry.name) for entry in weights})
        from core.engine.workers import torch_files

        return Adapter(settings, torch_files.read(source / "adapter_model.bin"))
    tensors, config_text = _trained(source, arrays)
    settings = lora_settings(config_text)
    if settings is None:
        raise ValueError("This checkpoint holds no LoRA adapter: the run trained the full model.")
    kept = {name.removeprefix("llm.").replace(".default", ""): tensor for name, tensor in tensors.items()}
    kept = {name.replace(".modules_to_save.", "."): tensor for name, tensor in kept.items()}
    if not any(".lora_" in name for name in kept):
        raise ValueError("This checkpoint holds no LoRA tensors.")
    names = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in kept if ".lora_" in name})
    return Adapter({"peft_type": "LORA", "task_type": "CAUSAL_LM", **settings, "target_modules": names}, kept)


def _trained(checkpoint: Path, arrays: bool) -> "tuple[dict[str, Any], str]":
    """Return an adapter's tensors by their names in a checkpoint, and the config's text."""
    if arrays and checkpoint.is_file():
        with contextlib.suppress(checkpoint_file.Unknown):
            return checkpoint_file.read(checkpoint, _of_an_adapter)
    tensors, config_text = read_checkpoint(checkpoint)
    return {name: tensors[name].detach().contiguous() for name in tensors if _of_an_adapter(name)}, config_text


def _of_an_adapter(name: str) -> bool:
    return name.startswith(f"llm.{PREFIX}") and (".lora_" in name or ".modules_to_save." in name)


def check_fit(adapter: Adapter, base: Weights) -> None:
    """Raise ValueError naming the first adapter tensor that does not match a weight of the base model."""
    for name, (a, b) in adapter.pairs.items():
        entry, shape = base.entries.get(name), (b.shape[0], a.shape[1])
        if entry is None:
            raise ValueError(f"The adapter does not fit this base model: it has no weight {name}.")
        if entry.shape != shape:
            raise ValueError(
                f"The adapter does not fit this base model: {name} is {entry.shape}, the adapter's is {shape}."
            )
