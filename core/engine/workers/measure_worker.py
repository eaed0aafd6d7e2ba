"""Measure with the engine's own code what a config and this machine amount to; loads no model weights.

Runs in the engine's interpreter, never imported:

    python -m core.engine.workers.measure_worker config --config FILE --result FILE [--by-xtuner]
    python -m core.engine.workers.measure_worker build --config FILE [FILE ...] --result FILE
    python -m core.engine.workers.measure_worker machine --result FILE

`config` reports the sequences of an epoch and the numbers that determine the schedule and the memory; `build` the plain
values of configs; `machine` what a CUDA process sees of the GPU, and the speed of a matrix product.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from core.engine.workers import code_gate, ending
from core.engine.workers.beginning import install
from core.engine.workers.built_config import NAME, build, named, paths
from core.engine.workers.training_data import NoData, NotKnown, lengths, padded_tokens
from core.engine.workers.without_gpu import answer_bf16
from core.ground import garbage
from core.ground.files import write_text


def config(file: Path, by_xtuner: bool) -> "dict[str, Any]":
    """Return a config's data, schedule, checkpoints, evaluations, model and optimizer. Raises NotKnown."""
    built = build(file)
    loader, optim = built.get("train_dataloader") or {}, built.get("optim_wrapper") or {}
    hooks = {named(hook.get("type")): hook for hook in built.get("custom_hooks") or []}
    model = built.get("model") or {}
    found = {
        "data": data(file, built, by_xtuner),
        "batch_size": loader.get("batch_size", 1),
        "num_workers": loader.get("num_workers", 0),
        "drop_last": bool(loader.get("drop_last", False)),
        "accumulative_counts": optim.get("accumulative_counts", 1),
        "max_epochs": (built.get("train_cfg") or {}).get("max_epochs"),
        "max_iters": (built.get("train_cfg") or {}).get("max_iters"),
        "schedulers": [
            {
                key: part
                for key, part in scheduler.items()
                if key in ("begin", "end", "convert_to_iter_based", "by_epoch", "start_factor")
            }
            | {"type": named(scheduler.get("type"))}
            for scheduler in listed(built.get("param_scheduler"))
        ],
        "checkpoint": (built.get("default_hooks") or {}).get("checkpoint"),
        "evaluation": hooks.get("EvaluateChatHook"),
        "model": model,
        "wrapper": named(optim.get("type")),
        "amp_dtype": text(optim.get("dtype")),
        "optimizer": {**(optim.get("optimizer") or {}), "type": named((optim.get("optimizer") or {}).get("type"))},
        "max_length": built.get("max_length"),
        "seed": (built.get("randomness") or {}).get("seed"),
        "known_kind": "llm" in model and "train_dataloader" in built,
        "paths": paths(built),
        "map_fn": named((loader.get("dataset") or {}).get("dataset_map_fn")) or None,
    }
    return json.loads(json.dumps(found))


def data(file: Path, built: "dict[str, Any]", by_xtuner: bool) -> "dict[str, Any]":
    """Summarize the sequences of an epoch; `error` if they cannot be determined. Raises NotKnown unless `by_xtuner`."""
    loader = built.get("train_dataloader") or {}
    seed = (built.get("randomness") or {}).get("seed")
    dataset = loader.get("dataset") or {}
    try:
        found = built_by_xtuner(file) if by_xtuner else lengths(dataset, seed)
    except NotKnown:
        raise
    except NoData as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001
        # An error raised by a custom dataset is shown to the user as is.
        return {"error": f"{type(error).__name__}: {error}"[:400]}
    sequences, texts = found.pop("sequences"), found.pop("texts", None)
    return {
        **found,
        "samples": len(sequences),
        "tokens": sum(sequences),
        "longest": max(sequences),
        "padded_tokens": padded_tokens(sequences, loader.get("batch_size", 1), texts),
        "processes": dataset.get("map_num_proc", 32) or 1,
        "packed": bool(dataset.get("pack_to_max_length", True)),
        "template": template((dataset.get("template_map_fn") or {}).get("template")),
    }


def template(value: Any) -> Any:
    """Return a prompt template by XTuner's name, or as written out."""
    return value if isinstance(value, dict) and NAME not in value else named(value)


def built_by_xtuner(file: Path) -> "dict[str, Any]":
    """Return the sequences of an epoch as XTuner itself builds them: takes half a minute, and is always right."""
    answer_bf16()
    from mmengine.config import Config
    from xtuner.dataset import utils
    from xtuner.registry import BUILDER
    from xtuner.tools.train import register_function

    garbage.resume()
    code_gate.close()
    built = Config.fromfile(str(file))
    register_function(built._cfg_dict)
    install(utils)
    ending.install(vars(sys.modules["xtuner.dataset.map_fns.template_map_fn"]))
    dataset = BUILDER.build(built.train_dataloader.dataset)
    sequences = [abs(length) for length in getattr(dataset, "length", None) or [0] * len(dataset)]
    return {
        "rows": None,
        "dropped": 0,
        "truncated": 0,
        "raw_longest": max(sequences),
        "raw_tokens": sum(sequences),
        "packs": [len(sequences)] * 2,
        "sequences": sequences,
    }


def machine() -> "dict[str, Any]":
    """Return what a CUDA process sees of its GPU or slice, in MB, and the speed of a large matrix product."""
    import torch

    found: dict[str, Any] = {
        "flops_per_s": matmul_speed(),
        "cuda": torch.cuda.is_available(),
        "flash": importlib.util.find_spec("flash_attn") is not None,
    }
    if found["cuda"]:
        free, total = torch.cuda.mem_get_info()
        found.update(
            name=torch.cuda.get_device_name(),
            free_mb=free // 2**20,
            total_mb=total // 2**20,
            bf16=torch.cuda.is_bf16_supported(),
        )
    return found


def matmul_speed() -> float:
    """Return the FLOP/s of a large matrix product, in the precision of training."""
    import torch

    cuda = torch.cuda.is_available()
    size = 4096 if cuda else 512
    matrix = torch.randn(size, size, device="cuda" if cuda else "cpu", dtype=torch.float16 if cuda else torch.float32)
    matrix @ matrix
    if cuda:
        torch.cuda.synchronize()
    # The best of many: other load on the machine is not its speed.
    best, until = float("inf"), time.perf_counter() + 0.4
    while time.perf_counter() < until:
        started = time.perf_counter()
        matrix @ matrix
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def listed(value: Any) -> "list[Any]":
    """Return `value` as a list: mmengine takes one scheduler or several."""
    return value if isinstance(value, list) else [value] if value else []


def text(value: Any) -> "str | None":
    """Return the last word of a dtype's name."""
    return named(value) if isinstance(value, dict) and NAME in value else value


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("config", "build", "machine"))
    parser.add_argument("--result", type=Path)
    parser.add_argument("--config", type=Path, nargs="+")
    parser.add_argument("--by-xtuner", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    if options.what == "config":
        try:
            # A tokenizer does not need torch, and transformers imports five seconds faster without it.
            if not options.by_xtuner:
                os.environ["USE_TORCH"] = "0"
            found = config(options.config[0], options.by_xtuner)
        except NotKnown:
            del os.environ["USE_TORCH"]
            module = ["-m", "core.engine.workers.measure_worker"]
            os.execv(sys.executable, [sys.executable, *module, *sys.argv[1:], "--by-xtuner"])
    elif options.what == "build":
        found = {str(file): build(file) for file in options.config}
    else:
        found = machine()
    write_text(options.result, json.dumps(found))


if __name__ == "__main__":
    main()
