"""The preflight's forecasts compared with the actual runs: counts, time, memory. Writes docs/preflight.md.

    python -m benchmarks.preflight [--workspace DIR]                     the demo model, about five minutes on 2 cores
    python -m benchmarks.preflight --gpu --model NAME --workspace DIR    a model of the workspace, a few minutes on a GPU
    python -m benchmarks.preflight --page                                only the page, from all results

The first run of a kind calibrates the forecasts of later ones. Updates are read from the last checkpoint.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import RESULTS, say, seconds, write
from core.config import config as configs
from core.data import dataset as datasets
from core.engine.commands import engine_command, engine_environment
from core.forecast.preflight import preflight
from core.ground.files import read_json
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import Status
from core.models import model as models
from core.training import history
from core.training import run as runs
from core.training.record import Run

PAGE = PROJECT / "docs" / "preflight.md"
HEAD = PROJECT / "benchmarks" / "preflight_head.md"
Case = tuple[str, str, str, dict[str, Any]]
# Name, recipe, dataset, settings. The cases differ in what is counted: packing, indivisible accumulation, limits.
DEMO: tuple[Case, ...] = (
    ("fast", "fast", "balanced", {"max_epochs": 3, "warmup_ratio": 0.1}),
    ("fast, longer", "fast", "balanced", {"max_epochs": 6, "evaluation_freq": 50}),
    ("odd accumulation", "fast", "balanced", {"batch_size": 7, "accumulative_counts": 4, "max_epochs": 2, "save_steps": 25}),
    ("packed", "fast", "balanced", {"pack_to_max_length": True, "max_length": 256, "batch_size": 2, "max_epochs": 4,
                                    "warmup_ratio": 0.1, "shuffle_before_pack": True, "map_num_proc": 3}),
    ("one checkpoint", "fast", "balanced", {"max_epochs": 2, "save_steps": 1000, "save_total_limit": 1, "warmup_ratio": 0.1}),
    ("activation checkpointing", "fast", "balanced", {"max_epochs": 3, "use_activation_checkpointing": True,
                                                     "warmup_ratio": 0.1}),
)  # fmt: skip
_SHORT = {"max_new_tokens": 32, "evaluation_freq": 20, "seed": 1, "map_num_proc": 1, "log_interval": 1}
GPU: tuple[Case, ...] = (
    ("course (QLoRA)", "course", "course", {**_SHORT, "max_epochs": 1}),
    ("fast", "fast", "balanced", {"max_new_tokens": 32}),
    ("QLoRA, 2 x 1024, no checkpointing", "course", "course", {
        **_SHORT, "max_epochs": 1, "batch_size": 2, "max_length": 1024, "accumulative_counts": 3,
        "use_activation_checkpointing": False}),
    ("LoRA, packed", "course", "course", {**_SHORT, "max_epochs": 1, "method": "lora"}),
    ("LoRA, short rows, no checkpointing", "fast", "balanced", {
        "method": "lora", "max_new_tokens": 32, "use_activation_checkpointing": False, "batch_size": 16}),
)  # fmt: skip
COUNTS = ("iterations", "updates", "evaluations", "checkpoints")


def forecast(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return the preflight's forecast for a config now, and how long it took."""
    told: list[Any] = []
    config = configs.find(workspace, name)
    took = seconds(lambda: told.append(preflight(workspace, config, history.measured(workspace))))
    found = told[0]
    errors = [str(problem.message) for problem in found.problems if problem.severity == "error"]
    if errors:
        raise RuntimeError(f"{name}: {'; '.join(errors)}")
    return {
        "iterations": found.iters,
        "updates": found.optimizer_updates,
        "evaluations": found.evaluations,
        "checkpoints": found.checkpoints,
        "seconds": found.estimated_seconds,
        "memory_mb": found.estimated_memory_mb,
        "total_mb": found.estimated_total_mb,
        "calibrated": found.calibrated,
        "took": took,
    }


def happened(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Return the facts of a finished run."""
    log = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in run.work_dir.glob("*/*.log"))
    points = run.metrics().read()
    checkpoints = [found for found in run.checkpoints() if found.whole]
    code = (
        "import math, sys, torch\n"
        "told = torch.load(sys.argv[1], map_location='cpu', weights_only=False)['optimizer']\n"
        "taken = int(next(iter(told['state'].values()))['step'])\n"
        "scale = told.get('loss_scaler', {}).get('scale', 2**16)\n"
        "print(taken, round(16 - math.log2(scale)))"
    )
    steps = subprocess.run(
        [engine_command(workspace, "x")[0], "-c", code, str(checkpoints[-1].path)],
        env={**os.environ, **engine_environment(workspace)},
        capture_output=True,
        text=True,
        check=True,
    )
    taken, skipped = map(int, steps.stdout.split()[-2:])
    own = next((told for told in history.measured(workspace) if told["run"] == run.id), {})
    return {
        "iterations": max(point["iter"] for point in points),
        # Each gradient overflow halves the loss scale, which begins at 2^16, and skips an update.
        "updates": taken + skipped,
        "skipped": skipped,
        "told": [run.job.progress.get("updates"), run.job.progress.get("skipped")],
        "evaluations": len(re.findall(r"Evaluation at iteration \d+", log)),
        "checkpoints": len(checkpoints),
        "seconds": run.job.seconds,
        "memory_mb": own.get("allocated_mb") or own.get("total_mb"),
        "total_mb": own.get("total_mb"),
    }


def taken_and_skipped(did: dict[str, Any]) -> list[int]:
    """Return how many of a run's updates were made and how many were skipped."""
    return [did["updates"] - did["skipped"], did["skipped"]]


def measured(workspace: Workspace, model: str, cases: tuple[Case, ...]) -> Iterator[dict[str, Any]]:
    """Forecast and train each case in turn."""
    there = {found.name for found in datasets.every(workspace)}
    for recipe in {case[2] for case in cases} - there:
        datasets.make_assistant(workspace, "NICK", recipe, name=recipe)
    for number, (title, recipe, data, settings) in enumerate(cases):
        name = f"preflight-{number}-{os.getpid()}"
        configs.make(workspace, model=model, dataset=data, recipe=recipe, name=name, settings=settings)
        predicted = forecast(workspace, name)
        run = runs.start(workspace, name)
        if run.job.wait() is not Status.FINISHED:
            raise RuntimeError(f"{title}: {run.job.log_tail()[-1500:]}")
        did = happened(workspace, run)
        say(f"{title}: {predicted} -> {did}")
        yield {"case": title, "predicted": predicted, "measured": did}


def page() -> str:
    """Return docs/preflight.md: the text, and a table of each machine's results."""
    parts = [HEAD.read_text(encoding="utf-8").rstrip()]
    for file in sorted(RESULTS.glob("*/preflight*.json")):
        told = read_json(file)
        here, cases = told["machine"], told["figures"]["cases"]
        parts.append(
            f"\n## {here['gpus'][0] if here['gpus'] else here['processor']}, {here['cores']} cores: {told['figures']['model']}\n"
        )
        parts.append("| training | " + " | ".join((*COUNTS, "seconds", "memory (MB)", "preflight took")) + " |")
        parts.append("| --- |" + " --- |" * 7)
        for case in cases:
            said, did = case["predicted"], case["measured"]
            counts = [f"{said[key]} / {did[key]}{'' if said[key] == did[key] else ' (!)'}" for key in COUNTS]
            if did.get("skipped"):
                counts[COUNTS.index("updates")] += f" ({did['skipped']} of them skipped)"
            first = "" if said["calibrated"] else " (not calibrated)"
            time = f"{said['seconds']:.0f} / {did['seconds']:.0f} ({_off(said['seconds'], did['seconds'])}){first}"
            memory = f"{said['memory_mb']:.0f} / {did['memory_mb']:.0f} ({_off(said['memory_mb'], did['memory_mb'])})"
            row = [case["case"], *counts, time, memory if did["memory_mb"] else "–", f"{said['took']:.1f} s"]
            parts.append("| " + " | ".join(row) + " |")
        if told["figures"].get("note"):
            parts.append(f"\n{told['figures']['note']}")
    return "\n".join(parts) + "\n"


def _off(said: float, did: float) -> str:
    return f"{100 * (said / did - 1):+.0f}%"


def main() -> int:
    """Measure, store the results, write the page; return 1 if a count was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--model", default=models.DEMO)
    parser.add_argument("--workspace")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    wrong = 0
    if not options.page:
        with tempfile.TemporaryDirectory() as scratch:
            workspace = Workspace.open(options.workspace or scratch)
            if options.model == models.DEMO and (job := models.build_demo(workspace)):
                job.wait()
            name, found = "preflight-gpu" if options.gpu else "preflight", []
            for case in measured(workspace, options.model, GPU if options.gpu else DEMO):
                # Stored after each case: an interrupted call loses only what was not done.
                found.append(case)
                wrong = sum(one["predicted"][key] != one["measured"][key] for one in found for key in COUNTS)
                # The updates reported on the training page, compared with the last checkpoint.
                wrong += sum(one["measured"]["told"] != taken_and_skipped(one["measured"]) for one in found)
                write(name, {"model": options.model, "wrong": wrong, "cases": found})
                PAGE.write_text(page(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
