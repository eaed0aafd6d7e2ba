"""Measures with the engine's own code what a dataset and a config come to; loads no model weights.

Runs in the engine's interpreter, imported by nobody:

    python -m core.engine.measure_worker tokens --model DIR --data FILE --template JSON --result FILE
    python -m core.engine.measure_worker config --config FILE --result FILE

`tokens` counts as XTuner's `encode_fn` does: `<s>`, question and answer encoded apart, the separator.
`config` builds the training dataset of a config through XTuner itself, packing included, and reads its schedule.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any


def tokens(model: Path, data: Path, template: "dict[str, str]") -> "dict[str, Any]":
    """Length in tokens of every row, in order."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=True)
    known: dict[str, int] = {}

    def count(text: str) -> int:
        if text not in known:
            known[text] = len(tokenizer.encode(text, add_special_tokens=False))
        return known[text]

    lengths = []
    for row in json.loads(data.read_text(encoding="utf-8")):
        total = 1
        for turn in row["conversation"]:
            system = template["system"].replace("{system}", turn["system"]) if turn.get("system") else ""
            total += count(system + template["instruction"].replace("{input}", turn["input"]))
            total += count(turn["output"] + template["suffix"]) + count(template["sep"])
        lengths.append(total)
    return {"lengths": lengths}


def config(file: Path) -> "dict[str, Any]":
    """Rows or packs of the training dataset, their tokens, and the numbers that the schedule is made of."""
    import torch

    if not torch.cuda.is_available() and not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: False
    from mmengine.config import Config
    from xtuner.registry import BUILDER
    from xtuner.tools.train import register_function

    built = Config.fromfile(str(file))
    register_function(built._cfg_dict)
    dataset = BUILDER.build(built.train_dataloader.dataset)
    hooks = {str(hook["type"]).rpartition(".")[2].strip("'>"): hook for hook in built.get("custom_hooks", [])}
    checkpoint = built.default_hooks.checkpoint
    return {
        "samples": len(dataset),
        "tokens": sum(dataset["length"]),
        "longest": max(dataset["length"]),
        "batch_size": built.train_dataloader.batch_size,
        "accumulative_counts": built.optim_wrapper.get("accumulative_counts", 1),
        "max_epochs": built.train_cfg.get("max_epochs"),
        "max_iters": built.train_cfg.get("max_iters"),
        "save_steps": checkpoint.interval,
        "save_total_limit": checkpoint.get("max_keep_ckpts", -1),
        "evaluation_freq": hooks.get("EvaluateChatHook", {}).get("every_n_iters"),
        "evaluation_inputs": len(hooks.get("EvaluateChatHook", {}).get("evaluation_inputs", [])),
        "warmup_epochs": built.param_scheduler[0].get("end") if built.get("param_scheduler") else 0,
        "quantised": bool(built.model.llm.get("quantization_config")),
        "activation_checkpointing": built.model.get("use_activation_checkpointing", True),
        "lora_r": (built.model.get("lora") or {}).get("r", 0),
        "flops_per_s": matmul_speed(),
    }


def matmul_speed() -> float:
    """Floating point operations per second that this machine does in a large matrix product, in the training's precision."""
    import torch

    cuda = torch.cuda.is_available()
    size = 4096 if cuda else 512
    matrix = torch.randn(size, size, device="cuda" if cuda else "cpu", dtype=torch.float16 if cuda else torch.float32)
    matrix @ matrix
    if cuda:
        torch.cuda.synchronize()
    rounds, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.3:
        matrix @ matrix
        if cuda:
            torch.cuda.synchronize()
        rounds += 1
    return 2 * size**3 * rounds / (time.perf_counter() - started)


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("tokens", "config"))
    for option in ("model", "data", "config", "result"):
        parser.add_argument(f"--{option}", type=Path)
    parser.add_argument("--template", type=json.loads)
    options = parser.parse_args()
    if options.what == "tokens":
        found = tokens(options.model, options.data, options.template)
    else:
        found = config(options.config)
    partial = f"{options.result}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(partial, options.result)


if __name__ == "__main__":
    main()
