"""Our export against XTuner's two commands, on the CPU: time for the demo's run, and peak memory for a large model.

    BENCHMARK_WORKSPACE=DIR python -m benchmarks.export [--keep DIR] [--demo-only] [--only LABEL=WORKSPACE] [--rounds N]

DIR is a workspace with the demo's run; `--only` takes the newest run of another one instead, under a label. The large model has InternLM2's architecture with random weights in half
precision, more than 2 GB, the demo model's tokenizer, and a random adapter on all layers. Peak memory is the kernel's
figure for the process.

    demo    convert, merge, verify as three commands and as one (`all`), against `pth_to_hf` and `merge`, which verify
            nothing: in turn, by the clock and in CPU seconds of all processes; `of_xtuner` has each one's part of the
            two commands together
    ours, xtuner    the merge of the large model
"""

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import RESULTS, WORKSPACE, machine, say, spread, write
from core.engine.commands import engine_environment
from core.engine.workers.tensors import Planned, Weights, dtype_of, shards, write_shards
from core.ground.files import read_json
from core.ground.workspace import PROJECT, Workspace
from core.training import run as runs

HIDDEN, INTERMEDIATE, LAYERS, VOCABULARY, HEADS, KV, RANK = 2048, 8192, 12, 92544, 16, 8, 64
SHARD = 500_000_000
THEIRS, OURS, ONE = ("pth_to_hf", "xtuner_merge"), ("convert", "merge", "verify"), ("all",)
SAFE = ("--safe-serialization", "--device", "cpu")
# Linux: prctl(PR_SET_CHILD_SUBREAPER).
CHILD_SUBREAPER = 36
# XTuner asks torch about bf16 on a machine without CUDA, which fails; with this answer the tool runs as its command
# does.
BF16 = (
    "import runpy, sys; from core.engine.workers.without_gpu import answer_bf16; answer_bf16(); sys.argv[0] = 'x'; "
    "runpy.run_module('{}', run_name='__main__')"
)
MATRICES = {
    "attention.wqkv": ((HEADS + 2 * KV) * (HIDDEN // HEADS), HIDDEN),
    "attention.wo": (HIDDEN, HIDDEN),
    "feed_forward.w1": (INTERMEDIATE, HIDDEN),
    "feed_forward.w3": (INTERMEDIATE, HIDDEN),
    "feed_forward.w2": (HIDDEN, INTERMEDIATE),
}


def random_like(planned: Planned) -> torch.Tensor:
    """Return a random tensor; norms are ones."""
    if len(planned.shape) == 1:
        return torch.ones(planned.shape, dtype=dtype_of(planned.kind))
    return torch.randn(planned.shape, dtype=torch.float32).mul_(0.02).to(dtype_of(planned.kind))


def make(demo: Path, base: Path, adapter: Path) -> None:
    """Write the model and the adapter."""
    shutil.copytree(demo, base, ignore=shutil.ignore_patterns("*.safetensors", "demo_model.json"))
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "torch_dtype": "float16",
        "vocab_size": VOCABULARY, "num_attention_heads": HEADS, "num_key_value_heads": KV,
    }  # fmt: skip
    (base / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    half = "F16"
    plan = [Planned("model.tok_embeddings.weight", half, (VOCABULARY, HIDDEN))]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        plan += [Planned(f"{at}.{name}.weight", half, shape) for name, shape in MATRICES.items()]
        plan += [Planned(f"{at}.{name}.weight", half, (HIDDEN,)) for name in ("attention_norm", "ffn_norm")]
    plan += [Planned("model.norm.weight", half, (HIDDEN,)), Planned("output.weight", half, (VOCABULARY, HIDDEN))]
    write_shards(base, shards(plan, SHARD), random_like, lambda _: None)
    adapter.mkdir()
    pairs = []
    for layer in range(LAYERS):
        for name, (out, width) in MATRICES.items():
            at = f"base_model.model.model.layers.{layer}.{name}"
            pairs.append(Planned(f"{at}.lora_A.weight", "F32", (RANK, width)))
            pairs.append(Planned(f"{at}.lora_B.weight", "F32", (out, RANK)))
    write_shards(adapter, {"adapter_model.safetensors": pairs}, random_like, lambda _: None)
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 16, "bias": "none",
        "target_modules": [name.rpartition(".")[2] for name in MATRICES], "base_model_name_or_path": str(base),
    }  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def run(*argv: str) -> dict[str, float]:
    """Run an engine process; return seconds and peak resident memory (GB)."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MKL_THREADING_LAYER": "GNU"}
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", *argv], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{argv[0]} ended with {child.returncode}")
    return {"seconds": time.perf_counter() - began, "peak_gb": usage.ru_maxrss * 1024 / 1e9}


def used(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that `work` takes, and the CPU seconds of all processes it starts, detached ones too."""
    before, began = os.times(), time.perf_counter()
    work()
    took = time.perf_counter() - began
    # They are children of this process once their parents have ended.
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = os.times()
    return took, after.children_user + after.children_system - before.children_user - before.children_system


def demo(workspace: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Run both ways from the newest run's checkpoint to a merged model, in turn."""
    found = runs.every(Workspace.open(workspace))[0]
    environment = {**os.environ, **engine_environment(Workspace.open(workspace)), "MKL_THREADING_LAYER": "GNU"}
    tools, base = "xtuner.tools.model_converters", str(found.model_path)
    adapter, merged = str(scratch / "adapter"), str(scratch / "merged")

    def command(*argv: str) -> None:
        subprocess.run(
            [sys.executable, *argv], env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
        )

    def fresh() -> None:
        for place in (scratch, found.adapter, found.merged):
            shutil.rmtree(place, ignore_errors=True)

    def step(name: str) -> Callable[[], None]:
        return lambda: command("-m", "core", "export", name, found.id, "--workspace", str(workspace), "--json")

    checkpoint = [str(found.config), str(found.checkpoint().path)]
    parts = {
        "pth_to_hf": lambda: command("-c", BF16.format(f"{tools}.pth_to_hf"), *checkpoint, adapter, "--fp32"),
        "xtuner_merge": lambda: command("-m", f"{tools}.merge", base, adapter, merged, *SAFE),
        **{name: step(name) for name in ("convert", "merge", "verify", "all")},
    }
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for number in range(rounds):
        for group in (THEIRS, OURS, ONE)[:: 1 if number % 2 == 0 else -1]:
            fresh()
            for name in group:
                taken[name].append(used(parts[name]))
    figures: dict[str, Any] = {}
    for unit, which in (("seconds", 0), ("cpu_seconds", 1)):
        spent = {name: [one[which] for one in rounds_of] for name, rounds_of in taken.items()}
        theirs = [sum(both) for both in zip(*(spent[name] for name in THEIRS), strict=True)]
        spent["three"] = [sum(three) for three in zip(*(spent[name] for name in OURS), strict=True)]
        parts_of = {name: [a / b for a, b in zip(spent[name], theirs, strict=True)] for name in ("three", *OURS, *ONE)}
        figures[unit] = {name: statistics.median(values) for name, values in spent.items()} | {
            "xtuner": statistics.median(theirs)
        }
        figures["of_xtuner" if which == 0 else "of_xtuner_cpu"] = {name: spread(of) for name, of in parts_of.items()}
    return {"rounds": rounds, **figures}


def difference(one: Path, two: Path) -> float:
    """Return the largest difference of any tensor."""
    ours, theirs = Weights(one), Weights(two)
    assert ours.entries.keys() == theirs.entries.keys()
    return max(float((ours.read(n).float() - theirs.read(n).float()).abs().max()) for n in ours.entries)


def kept() -> dict[str, Any]:
    """Return this machine's existing results."""
    return (read_json(RESULTS / machine()["name"] / "export.json") or {}).get("figures", {})


def main() -> None:
    """Create the model, merge both ways, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--demo-only", action="store_true")
    parser.add_argument("--only", metavar="LABEL=WORKSPACE")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if WORKSPACE is None:
        raise SystemExit("BENCHMARK_WORKSPACE: a workspace with the demo's run is needed")
    directory = options.keep or Path(tempfile.mkdtemp())
    label, _, place = (options.only or f"demo={WORKSPACE}").partition("=")
    figures: dict[str, Any] = {label: demo(Path(place), directory / "xtuner", options.rounds)}
    say(f"{label}: {figures[label]}")
    if options.demo_only or options.only:
        write("export", {**kept(), **figures})
        return
    base, adapter = directory / "base", directory / "adapter"
    make(WORKSPACE / "models" / "demo", base, adapter)
    largest = max(file.stat().st_size for file in base.glob("*.safetensors"))
    total = sum(file.stat().st_size for file in base.glob("*.safetensors"))
    say(f"{total / 1e9:.2f} GB in shards of at most {largest / 1e9:.2f} GB")
    plan: dict[str, Any] = {
        "kind": "lora", "checkpoint": None, "base": str(base), "adapter": str(adapter), "merged": str(directory / "ours"),
        "results": str(directory), "config": None, "dtype": None, "shard_bytes": None, "card": "", "facts": {},
    }  # fmt: skip
    (directory / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    figures |= {"model_gb": total / 1e9, "largest_shard_gb": largest / 1e9}
    figures["ours"] = run("core.engine.workers.export_worker", "merge", "--plan", str(directory / "plan.json"))
    say(f"ours: {figures['ours']}")
    figures["allowed_peak_gb"] = 1.3 * largest / 1e9 + 1
    figures["xtuner"] = run(
        "xtuner.tools.model_converters.merge", str(base), str(adapter), str(directory / "theirs"),
        *SAFE,
    )  # fmt: skip
    say(f"XTuner: {figures['xtuner']}")
    figures["largest_difference"] = difference(directory / "ours", directory / "theirs")
    write("export", figures)
    if options.keep is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
