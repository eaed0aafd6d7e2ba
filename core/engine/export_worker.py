"""Turns a checkpoint into an adapter, merges it into its base model, and verifies the merge; each step or all.

Runs in the engine's interpreter as `python -m core.engine.export_worker STEP... OPTIONS`; imported by nobody.
One process does all steps, so that nothing is imported twice. Each result is written beside its place and
renamed: it is there whole or not at all. Uses torch, safetensors, transformers and peft, but not XTuner, except to
read a checkpoint that DeepSpeed wrote as a directory.
"""

import argparse
import ast
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

PROGRESS = os.environ.get("XTUNER_STUDIO_PROGRESS")
STEPS = ("convert", "merge", "verify")
_WEIGHTS = re.compile(r".*\.(safetensors|bin|pth)(\.index\.json)?$")
# How far logits may be apart after a merge, by the precision of the weights.
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.25, torch.bfloat16: 1.0}


def tell(done: float, note: str) -> None:
    """Replace the progress file: `done` from 0 to 1 over all steps."""
    if PROGRESS:
        partial = PROGRESS + ".partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump({"done": done, "note": note}, file)
        os.replace(partial, PROGRESS)
    print(note, flush=True)


def lora_settings(config_text: str) -> dict[str, Any]:
    """The LoRA settings of a config as mmengine dumps it: assignments whose values are literals."""
    for node in ast.parse(config_text).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "model":
            for part in node.value.keywords:
                if part.arg == "lora" and isinstance(part.value, ast.Call):
                    return {k.arg: ast.literal_eval(k.value) for k in part.value.keywords if k.arg != "type"}
    sys.exit("This checkpoint holds no LoRA adapter: the run trained the full model.")


def read_checkpoint(checkpoint: Path) -> "tuple[dict[str, torch.Tensor], str]":
    """The trained tensors and the config's text of a checkpoint file, or of a directory written by DeepSpeed."""
    if checkpoint.is_dir():
        if not hasattr(torch.cpu, "is_bf16_supported"):
            # XTuner asks torch for it on a machine without CUDA.
            torch.cpu.is_bf16_supported = lambda: False
        from xtuner.model.utils import guess_load_checkpoint

        dumped = sorted(checkpoint.parent.glob("*/vis_data/config.py"))
        return dict(guess_load_checkpoint(str(checkpoint))), dumped[-1].read_text(encoding="utf-8")
    # mmengine's checkpoints hold its own classes beside the tensors; this one was written by our own run.
    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    return content["state_dict"], content["meta"]["cfg"]


def convert(checkpoint: Path, base: Path, out: Path) -> None:
    """Write the adapter of `checkpoint` in PEFT's form, as `xtuner convert pth_to_hf --fp32` does, without the base."""
    from peft import LoraConfig

    tensors, config_text = read_checkpoint(checkpoint)
    adapter = {
        name.removeprefix("llm.").replace(".default", ""): tensor.contiguous()
        for name, tensor in tensors.items()
        if "lora_" in name
    }
    settings = lora_settings(config_text)
    settings["target_modules"] = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in adapter})
    partial = fresh(out)
    LoraConfig(**settings, base_model_name_or_path=str(base), inference_mode=True).save_pretrained(str(partial))
    save_file(adapter, str(partial / "adapter_model.safetensors"), metadata={"format": "pt"})
    made = {"checkpoint": str(checkpoint), "base": str(base), "made": time.time()}
    (partial / "export.json").write_text(json.dumps(made, indent=2), encoding="utf-8")
    replace(partial, out)


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write base + adapter as one model: W + alpha / r * B A (Hu et al. 2021), shard by shard, dtype kept."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    partial = fresh(out)
    for file in base.iterdir():
        if file.is_file() and not _WEIGHTS.match(file.name) and file.name not in ("README.md", "demo_model.json"):
            shutil.copyfile(file, partial / file.name)
    plain = not (
        config.get("use_dora")
        or config.get("rank_pattern")
        or config.get("alpha_pattern")
        or config.get("modules_to_save")
        or config.get("fan_in_fan_out")
        or config.get("bias", "none") != "none"
    )
    shards = sorted(base.glob("*.safetensors"))
    if plain and shards:
        merge_shards(shards, adapter, config, partial)
        index = base / "model.safetensors.index.json"
        if index.exists():
            shutil.copyfile(index, partial / index.name)
    else:
        print("Merged through PEFT: an adapter or weights of a kind that is not merged tensor by tensor.", flush=True)
        merge_through_peft(base, adapter, partial)
    card = f"# {out.parent.name}\n\nMerged by XTuner Studio from the base model `{base.name}` and a LoRA adapter.\n"
    (partial / "README.md").write_text(card, encoding="utf-8")
    made = {"base": str(base), "adapter": str(adapter), "made": time.time()}
    (partial / "export.json").write_text(json.dumps(made, indent=2), encoding="utf-8")
    replace(partial, out)


def merge_shards(shards: "list[Path]", adapter: Path, config: "dict[str, Any]", out: Path) -> None:
    """Merge one shard of the base after the other. Every LoRA pair must find its weight."""
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    with safe_open(str(adapter / "adapter_model.safetensors"), framework="pt") as lora:
        left = {name for name in lora.keys() if ".lora_A." in name}  # noqa: SIM118  (no mapping)
        for number, shard in enumerate(shards):
            merged = {}
            with safe_open(str(shard), framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118
                    tensor = weights.get_tensor(name)
                    pair = f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight"
                    if pair in left:
                        left.discard(pair)
                        a, b = lora.get_tensor(pair).float(), lora.get_tensor(pair.replace("lora_A", "lora_B")).float()
                        tensor = (tensor.float() + scale * (b @ a)).to(tensor.dtype)
                    merged[name] = tensor
            save_file(merged, str(out / shard.name), metadata={"format": "pt"})
            tell((1 + (number + 1) / len(shards)) / 3, "merge")
    if left:
        sys.exit(f"The adapter does not fit this base model: no weight for {sorted(left)[0]}.")


def merge_through_peft(base: Path, adapter: Path, out: Path) -> None:
    """The fallback for adapters that are more than pairs of matrices, and for weights that are not safetensors."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, torch_dtype="auto", trust_remote_code=True)
    PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().save_pretrained(str(out), max_shard_size="2GB")


def verify(base: Path, adapter: Path, merged: Path, prompts: "list[str]", stops: "list[str]") -> "dict[str, Any]":
    """Whether merged answers as base + adapter does: logits over each prompt, and 96 greedy tokens after it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(merged, trust_remote_code=True)
    ends = [tokenizer.eos_token_id, *(i for i in map(tokenizer.convert_tokens_to_ids, stops) if i is not None)]

    def load(path: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(path, torch_dtype="auto", trust_remote_code=True).to(device).eval()

    def answers(model: Any) -> "tuple[list[torch.Tensor], list[list[int]]]":
        logits, tokens = [], []
        for prompt in prompts:
            ids = tokenizer(prompt, return_tensors="pt").input_ids.to(device)
            with torch.no_grad():
                logits.append(model(input_ids=ids).logits[0].float().cpu())
                out = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=96,
                    do_sample=False,
                    eos_token_id=ends,
                    pad_token_id=tokenizer.pad_token_id,
                )
            tokens.append(out[0, ids.shape[1] :].tolist())
        return logits, tokens

    pair = PeftModel.from_pretrained(load(base), str(adapter))
    wanted_logits, wanted_tokens = answers(pair)
    del pair
    alone = load(merged)
    got_logits, got_tokens = answers(alone)
    far = max(float((one - two).abs().max()) for one, two in zip(wanted_logits, got_logits, strict=True))
    same = wanted_tokens == got_tokens
    tolerance = _TOLERANCE.get(alone.dtype, 1.0)
    return {
        "max_abs_logit_diff": far,
        "tolerance": tolerance,
        "same_tokens": same,
        "ok": same and far <= tolerance,
        "dtype": str(alone.dtype),
        "prompts": len(prompts),
        "answers": [
            {
                "adapter": tokenizer.decode(one, skip_special_tokens=True),
                "merged": tokenizer.decode(two, skip_special_tokens=True),
            }
            for one, two in zip(wanted_tokens, got_tokens, strict=True)
        ],
    }


def fresh(out: Path) -> Path:
    """An empty directory beside `out` to write to."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def replace(partial: Path, out: Path) -> None:
    """Put the finished directory in its place, instead of an older one."""
    if out.exists():
        shutil.rmtree(out)
    os.replace(partial, out)


def main() -> None:
    """Carry out the steps named on the command line, in order; what each found goes to `STEP.json` in `--results`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="+", choices=STEPS)
    for option in ("checkpoint", "base", "adapter", "merged", "prompts", "results"):
        parser.add_argument(f"--{option}", type=Path)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for step in STEPS:
        if step not in options.steps:
            continue
        tell(STEPS.index(step) / 3, step)
        started = time.time()
        found: dict[str, Any] = {}
        if step == "convert":
            convert(options.checkpoint, options.base, options.adapter)
        elif step == "merge":
            merge(options.base, options.adapter, options.merged)
        else:
            asked = json.loads(options.prompts.read_text(encoding="utf-8"))
            found = verify(options.base, options.adapter, options.merged, asked["prompts"], asked["stop_words"])
        found.update(seconds=time.time() - started, made=time.time())
        partial = options.results / f"{step}.json.partial"
        partial.write_text(json.dumps(found, ensure_ascii=False, indent=2), encoding="utf-8")
        os.replace(partial, options.results / f"{step}.json")
    tell(1.0, "done")


if __name__ == "__main__":
    main()
