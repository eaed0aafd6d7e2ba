"""The steps of an export: from a checkpoint to an adapter, to a merged model, and the check that it answers the same.

Part of the export worker. Imports torch and transformers only where a step needs them.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.engine.workers import published
from core.engine.workers.adapter import check_fit, full_tensors, read_adapter, read_checkpoint
from core.engine.workers.export_progress import Progress
from core.engine.workers.model_directory import adapter_digest, check_code, fresh, replace
from core.engine.workers.tensors import (
    Planned,
    Weights,
    all_within,
    dtype_of,
    kind_of,
    name_of,
    shards,
    write_shards,
)
from core.engine.workers.unneeded import shut_out
from core.ground.figures import size
from core.ground.files import read_json, write_json

_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf", ".index.json")
_NOT_COPIED = ("README.md", "demo_model.json", "export.json", "config.json")
# Shard size for weights that were not in safetensors.
_SHARD_BYTES = 2_000_000_000
_KINDS = {name_of(kind): kind for kind in ("F32", "BF16", "F16")}


class Export:
    """One export, defined by its plan."""

    def __init__(self, plan: "dict[str, Any]", progress: Progress) -> None:
        self.plan, self.progress = plan, progress
        self.base, self.adapter, self.merged = (Path(plan[key]) for key in ("base", "adapter", "merged"))
        # Safetensors' name of the chosen dtype.
        self.kind = _KINDS[plan["dtype"]] if plan.get("dtype") else None
        self.overflowed: dict[str, int] = {}

    def convert(self) -> "dict[str, Any]":
        """Write the checkpoint's adapter in PEFT's format, as `xtuner convert pth_to_hf --fp32` does.

        After full fine-tuning, writes the complete model, which needs no merge.
        """
        checkpoint = Path(self.plan["checkpoint"])
        if self.plan["kind"] == "full":
            return self.convert_full(checkpoint)
        adapter = read_adapter(checkpoint, arrays=True)
        check_fit(adapter, Weights(self.base))
        partial = fresh(self.adapter)
        plan = [Planned(name, kind_of(tensor), tuple(tensor.shape)) for name, tensor in adapter.tensors.items()]
        write_shards(partial, {"adapter_model.safetensors": plan}, lambda t: adapter.tensors[t.name], self.wrote)
        digest = adapter_digest(partial)
        there = read_json(self.adapter / "export.json") or {}
        same = there.get("sha256") == digest == adapter_digest(self.adapter) and there["checkpoint"] == str(checkpoint)
        if same and published.carried(self.plan, self.adapter):
            # Unchanged: what was made from it stays valid.
            shutil.rmtree(partial)
            return {"sha256": digest, "unchanged": True}
        settings = {
            "peft_type": "LORA",
            "auto_mapping": None,
            "base_model_name_or_path": str(self.base),
            "revision": None,
            "task_type": "CAUSAL_LM",
            "inference_mode": True,
            "fan_in_fan_out": False,
            "init_lora_weights": True,
            "rank_pattern": {},
            "alpha_pattern": {},
            "modules_to_save": None,
            **adapter.settings,
        }
        write_json(partial / "adapter_config.json", settings)
        (partial / "README.md").write_text(self.plan["card"], encoding="utf-8")
        self.copy_config(partial)
        published.give_tokenizer(self.plan, partial)
        self.sign(partial, checkpoint=str(checkpoint), sha256=digest)
        replace(partial, self.adapter)
        return {"sha256": digest}

    def convert_full(self, checkpoint: Path) -> "dict[str, Any]":
        """Write the fully fine-tuned model as a self-contained directory.

        The tensors are the checkpoint's, all other files the base model's.
        """
        tensors = full_tensors(read_checkpoint(checkpoint)[0])
        base = Weights(self.base)
        missing = [entry.name for entry in base if entry.name not in tensors]
        if missing:
            sys.exit(f"The checkpoint is not of this model: it has no tensor {missing[0]}.")
        plan = [Planned(e.name, self.kind_of(e), tuple(tensors[e.name].shape)) for e in base]
        return self.write_model(plan, lambda planned: self.cast(planned, tensors[planned.name]), "full", checkpoint)

    def merge(self) -> "dict[str, Any]":
        """Merge base + adapter into one model: W + scale · B·A, tensor by tensor; special adapters go through PEFT."""
        adapter, base = read_adapter(self.adapter, arrays=True), Weights(self.base)
        if adapter.special:
            print(f"Merged through PEFT: {adapter.special} is not merged tensor by tensor.", flush=True)
            return self.merge_through_peft(adapter.special)
        check_fit(adapter, base)
        pairs = adapter.pairs
        plan = [Planned(entry.name, self.kind_of(entry), entry.shape) for entry in base]

        def tensor_of(planned: Planned) -> Any:
            entry = base.entries[planned.name]
            if planned.name not in pairs:
                return (
                    base.raw(planned.name)
                    if entry.kind == planned.kind
                    else self.cast(planned, base.read(planned.name))
                )
            a, b = pairs[planned.name]
            # As in PEFT: the float32 delta is added to the weight in its own dtype, and rounded once. NumPy may add up
            # B·A in another order: then the last bit differs.
            kinds = {entry.kind, planned.kind, kind_of(a), kind_of(b)}
            if shut_out("torch") and kinds == {"F32"} and entry.offset is not None:
                delta = np.asarray(b) @ np.asarray(a)
                delta *= np.float32(adapter.scale(a))
                delta += base.array(planned.name)
                return delta
            import torch

            tensor = self.cast(planned, base.read(planned.name))
            a, b = (torch.as_tensor(part).float() for part in (a, b))
            delta = (b @ a).mul_(adapter.scale(a))
            return self.cast(planned, delta.add_(tensor.float()))

        return self.write_model(plan, tensor_of, "tensors")

    def merge_through_peft(self, special: str) -> "dict[str, Any]":
        """Merge special adapters through PEFT; holds the complete model in memory."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        dtype = dtype_of(self.kind) if self.kind else "auto"
        model = AutoModelForCausalLM.from_pretrained(self.base, torch_dtype=dtype, trust_remote_code=True)
        model = PeftModel.from_pretrained(model, str(self.adapter)).merge_and_unload()
        tensors = model.state_dict()
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                self.overflowed[name] = int((~torch.isfinite(tensor)).sum())
        plan = [Planned(e.name, kind_of(tensors[e.name]), tuple(tensors[e.name].shape)) for e in Weights(self.base)]
        return self.write_model(plan, lambda planned: tensors[planned.name].cpu(), f"peft: {special}")

    def write_model(
        self, plan: "list[Planned]", tensor_of: Any, method: str, checkpoint: "Path | None" = None
    ) -> "dict[str, Any]":
        """Write the model directory: weights first, the file that makes it a model last."""
        started, total = self.progress.bytes, sum(tensor.bytes for tensor in plan)
        room = shutil.disk_usage(self.merged.parent).free
        if room < total + (64 << 20):
            sys.exit(f"No space left on device: the model needs {size(total)}, {size(room)} free.")
        partial = fresh(self.merged)

        def wrote(count: int) -> None:
            self.wrote(count)
            self.progress.tell((self.progress.bytes - started) / total)

        layout = shards(plan, self.plan["shard_bytes"]) if self.plan.get("shard_bytes") else self.as_base(plan)
        write_shards(partial, layout, tensor_of, wrote)
        for file in self.base.iterdir():
            named = file.name.startswith(".") or file.name in _NOT_COPIED or file.name.endswith(_WEIGHTS)
            if file.is_file() and not named:
                shutil.copyfile(file, partial / file.name)
        (partial / "README.md").write_text(self.plan["card"], encoding="utf-8")
        config = read_json(self.base / "config.json") or {}
        floats = {name_of(tensor.kind) for tensor in plan if tensor.floating}
        config["torch_dtype"] = self.plan.get("dtype") or (floats.pop() if len(floats) == 1 else config["torch_dtype"])
        check_code(self.base)
        published.give_prompt(self.plan, partial)
        facts = {"checkpoint": str(checkpoint)} if checkpoint else {"adapter": str(self.adapter)}
        if not checkpoint:
            facts["adapter_sha256"] = adapter_digest(self.adapter)
        if self.overflowed:
            name, count = max(self.overflowed.items(), key=lambda item: item[1])
            print(f"{count} values of {name} are out of range for {config['torch_dtype']}.", flush=True)
        self.copy_config(partial)
        self.sign(
            partial, **facts, method=method, dtype=config["torch_dtype"], chosen_dtype=self.plan.get("dtype"),
            files=list(layout), overflowed=self.overflowed,
        )  # fmt: skip
        write_json(partial / "config.json", config)
        replace(partial, self.merged)
        return {"method": method, "dtype": config["torch_dtype"], "overflowed": sum(self.overflowed.values())}

    def as_base(self, plan: "list[Planned]") -> "dict[str, list[Planned]]":
        """Group tensors by file as the base model does, if its files are safetensors."""
        entries = Weights(self.base).entries
        if any(entry.offset is None for entry in entries.values()):
            return shards(plan, _SHARD_BYTES)
        layout: dict[str, list[Planned]] = {}
        for tensor in plan:
            layout.setdefault(entries[tensor.name].file.name, []).append(tensor)
        return dict(sorted(layout.items()))

    def kind_of(self, tensor: Planned) -> str:
        """Return the dtype to write a tensor in: only floating-point tensors take the chosen one."""
        return self.kind if self.kind and tensor.floating else tensor.kind

    def cast(self, planned: Planned, tensor: Any) -> Any:
        """Convert `tensor` to the planned dtype; counts the values that overflow."""
        import torch

        dtype = dtype_of(planned.kind)
        if tensor.dtype == dtype:
            return tensor
        result = tensor.to(dtype)
        most = torch.finfo(dtype).max
        if most < torch.finfo(tensor.dtype).max and not all_within(tensor, most):
            lost = int((torch.isinf(result) & torch.isfinite(tensor)).sum())
            if lost:
                self.overflowed[planned.name] = self.overflowed.get(planned.name, 0) + lost
        return result

    def wrote(self, count: int) -> None:
        """Count `count` more bytes as written."""
        self.progress.bytes += count

    def copy_config(self, directory: Path) -> None:
        """Copy XTuner's config next to the result, as `pth_to_hf` does."""
        if self.plan.get("config") and Path(self.plan["config"]).is_file():
            shutil.copyfile(self.plan["config"], directory / "xtuner_config.py")

    def sign(self, directory: Path, **facts: Any) -> None:
        """Record next to the result how it was made."""
        made = {"base": str(self.base), "base_fingerprint": self.plan.get("base_fingerprint"), **facts}
        # Whether it has its own prompt; exports of earlier versions lack the entry.
        made["prompt"] = bool(self.plan.get("prompt"))
        write_json(directory / "export.json", {**made, **self.plan.get("facts", {}), "made": time.time()})

    def verify(self) -> "dict[str, Any]":
        """Check that the merged model answers as base + adapter; see `verification`."""
        from core.engine.workers.verification import verify

        def reference() -> Any:
            """Return the tensors of the checkpoint, for full fine-tuning."""
            return full_tensors(read_checkpoint(Path(self.plan["checkpoint"]))[0])

        full = self.plan["kind"] == "full"
        made = read_json(self.merged / "export.json") or {}
        found = verify(self.plan, made, reference if full else None, self.progress)
        if not full:
            if not published.carried(self.plan, self.adapter):
                found["causes"].append({"kind": "adapter_prompt"})
            if made.get("adapter_sha256") and made["adapter_sha256"] != adapter_digest(self.adapter):
                found["causes"].insert(0, {"kind": "stale_adapter"})
            if made.get("base_fingerprint") and made["base_fingerprint"] != self.plan.get("base_fingerprint"):
                found["causes"].insert(0, {"kind": "base_changed"})
        if self.plan.get("trained_on") and self.plan["trained_on"] != self.plan["base_fingerprint"]:
            found["causes"].insert(0, {"kind": "not_trained_on"})
        found["ok"] = found["ok"] and not found["causes"]
        return found
