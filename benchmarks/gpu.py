"""Measures a real GPU through the product's own commands, on InternLM2's 1.8 B architecture with random weights.

    python -m benchmarks.gpu PHASE ... --workspace DIR [--shape 1.8b] [--results FILE]

Each phase adds its part to the results (default `benchmarks/results/gpu.json`), so they can be run in several calls:

    identity   `fast` (in 8 GB) and `course` until the two course answers are exact, greedily
    methods    QLoRA, LoRA, full, DeepSpeed ZeRO-2 and ZeRO-3: seconds per iteration, tokens/s, memory; against the preflight
    several    two GPUs: plain data parallel, ZeRO-2, ZeRO-3; stop and resume
    faults     out of memory on purpose, with the detected reason; stop, GPU memory free again, resume
    export     convert + merge + verify against XTuner's two commands
    chat       answers of base and tuned after `fast`
    telemetry  the cost of a sample from NVML

`python -m benchmarks.table` turns the results into docs/benchmarks.md.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS, machine, say, seconds
from core.config import config as configs
from core.data.assistant import COURSE_QUESTIONS, course_rows
from core.engine.config_file import ConfigFile
from core.engine.presets import prompt_templates
from core.ground.files import read_json, read_lines_from, write_json
from core.ground.workspace import Workspace
from core.training import run as runs
from core.training.run import Run

PROJECT = Path(__file__).parents[1]
NICKNAME = "NICK"
MODEL = "internlm2-1.8b-random"
# A learner's slice of a GPU.
SLICE_MB = 8192
# Time limit for the course's config to reach exact answers.
COURSE_SECONDS = 900.0
PATIENCE = 560.0

Figures = dict[str, Any]


class Bench:
    """One workspace, its model and datasets, and the product's commands on it."""

    def __init__(
        self, workspace: Workspace, shape: str, results: Path, only: list[str] | None = None, model: str = MODEL
    ) -> None:
        self.workspace, self.shape, self.results, self.only, self.model = workspace, shape, results, only, model

    def wants(self, name: str) -> bool:
        """Return whether a part of a phase is requested."""
        return not self.only or name in self.only

    def keep(self, phase: str, figures: Figures) -> None:
        """Store a phase's results so far: an interrupted call loses only what was not done."""
        kept = read_json(self.results) or {}
        here = machine()
        if (kept.get("device") or here)["gpus"] == here["gpus"]:
            # The page's header names the machine used for most phases; each phase names its own.
            kept = {**kept, "device": here}
        kept = {"shape": self.shape, **kept}
        kept[phase] = {**kept.get(phase, {}), **figures, "gpus": ", ".join(here["gpus"])}
        if "time_to_identity_ratio" in figures:
            kept["time_to_identity_ratio"] = figures["time_to_identity_ratio"]
        write_json(self.results, kept)

    def command(self, *words: str, fails: bool = False) -> Figures:
        """Run `python -m core …`; return its JSON, or with `fails` its exit code and output."""
        done = subprocess.run(
            [sys.executable, "-m", "core", *words, "--workspace", str(self.workspace.root), "--json"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if fails:
            return {"exit_code": done.returncode, "said": done.stderr.strip().splitlines()[-1:]}
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()[-1500:]}")
        return json.loads(done.stdout)

    def prepare(self) -> None:
        """Create the model, the course's dataset and ours, once."""
        model = self.workspace.models / MODEL
        if not model.exists():
            where = self.workspace.root / "random" / MODEL
            took = seconds(
                lambda: subprocess.run(
                    [sys.executable, "-m", "benchmarks.random_model", str(where), "--shape", self.shape],
                    cwd=PROJECT,
                    check=True,
                )
            )
            self.command("models", "link", str(where), "--name", MODEL)
            say(f"model: {took:.0f} s")
        for recipe in ("course", "balanced"):
            if not (self.workspace.datasets / recipe).exists():
                self.command("datasets", "assistant", "--name", NICKNAME, "--recipe", recipe, "--out", recipe)

    def config(
        self,
        name: str,
        dataset: str,
        recipe: str,
        change: Callable[[ConfigFile], None] | None = None,
        **settings: object,
    ) -> str:
        """Create a config of `recipe` for the random model, with settings and a change to its file."""
        pairs = [f"{key}={value}" for key, value in settings.items()]
        options = ["--set", *pairs] if pairs else []
        self.command(
            "configs", "new", "--model", self.model, "--dataset", dataset, "--recipe", recipe, "--out", name, *options
        )
        if change is not None:
            found = ConfigFile(configs.find(self.workspace, name).text())
            change(found)
            configs.replace_text(self.workspace, name, found.text)
        return name

    def train(self, name: str, *options: str, foresee: bool = True, most: float = PATIENCE) -> tuple[Run, Figures]:
        """Run the preflight, train to the end or for `most` seconds, and return both results."""
        foreseen: Figures = {}
        if foresee:
            took = time.perf_counter()
            foreseen = self.command("configs", "preflight", name, *options)
            foreseen["preflight_seconds"] = time.perf_counter() - took
        began = time.time()
        started = self.command("train", "start", name, "--no-early-stop", *options)
        run = runs.find(self.workspace, started["run"])
        assert run.job is not None
        if run.job.wait(most).live:
            self.command("train", "stop", run.id, "--discard")
        state = self.command("train", "status", run.id)
        return run, {
            "run_seconds": time.time() - began,
            "status": state["status"],
            "reason": state["reason"],
            "iters": state["iter"],
            **self.measured(run),
            "foreseen": {key: value for key, value in foreseen.items() if isinstance(value, int | float | None)},
            "problems": [problem["where"] for problem in foreseen.get("problems", [])],
        }

    def measured(self, run: Run) -> Figures:
        """Return facts of a run: seconds per iteration (median), tokens/s, peak memory, time to the first loss."""
        points = self.command("train", "metrics", run.id)["points"]
        if not points:
            return {}
        told = run.job.progress if run.job else {}
        each = statistics.median(point["time"] for point in points[2:] or points)
        samples = [json.loads(line) for line in read_lines_from(run.telemetry, 0)[0]]
        cards = [card["used_mb"] for sample in samples for card in sample["gpus"] if card["used_mb"] is not None]
        return {
            "seconds_per_iteration": each,
            "tokens_per_second": told["tokens_per_iter"] / each if told.get("tokens_per_iter") else None,
            "allocated_mb": max((point["memory"] for point in points if point.get("memory")), default=None),
            "nvml_peak_mb": max(cards, default=None),
            "updates": told.get("updates"),
            "skipped_updates": told.get("skipped"),
            "first_loss": points[0]["loss"],
            "last_loss": points[-1]["loss"],
        }


def probed(bench: Bench, name: str, every: int) -> Path:
    """Add the identity probe to the config `name`, to check every `every` iterations; return its output file."""
    out = bench.workspace.cache / f"probe-{name}.json"
    out.unlink(missing_ok=True)
    template = prompt_templates()["internlm2_chat"]
    answers = {row["conversation"][0]["input"]: row["conversation"][0]["output"] for row in course_rows(NICKNAME, 1)}
    pairs = [
        [template.prompt([(question, None)]), answers[question] + template.suffix] for question in COURSE_QUESTIONS
    ]
    text = configs.find(bench.workspace, name).text()
    text += (
        "\nfrom benchmarks.identity_probe import IdentityProbe  # noqa: E402\n\n"
        f"custom_hooks.append(dict(type=IdentityProbe, tokenizer=tokenizer, pairs={pairs!r}, out={str(out)!r}, every={every}))\n"
    )
    configs.replace_text(bench.workspace, name, text)
    return out


def until_exact(bench: Bench, name: str, every: int, most: float = PATIENCE) -> Figures:
    """Train `name` until both answers are exact, it ends, or `most` seconds have passed; times are since its start."""
    out = probed(bench, name, every)
    run, figures = bench.train(name, foresee=False, most=most)
    # The product considers a run stopped by the probe unfinished; how it ended is reported below.
    figures = {key: value for key, value in figures.items() if key not in ("status", "reason", "foreseen", "problems")}
    found = read_json(out) or {}
    assert run.job is not None
    started = read_json(run.job.directory / "pid.json")["started"]
    exact = bool(found) and all(found["exact"])
    at = found["at"] - found["probe_seconds"] if found else None
    figures |= {
        "exact": exact,
        "updates": found.get("updates"),
        "seconds_to_first_iteration": found["first_iteration_at"] - started if found else None,
        "seconds_to_exact": at - started if exact else None,
        "training_seconds_to_exact": at - found["first_iteration_at"] if exact else None,
        "seconds_given": at - started if at else None,
        "answers_exact_at_the_end": found.get("exact"),
        "exact_after_30_updates": next(
            (look["exact"] for look in found.get("looks", []) if look["updates"] == 30), None
        ),
    }
    say(f"{name}: {json.dumps(figures, default=str)}")
    return figures


def identity(bench: Bench) -> Figures:
    """Train `fast` on balanced data in a slice of 8 GB, and the course's config, until the answers are exact.

    The course's three epochs are 30 updates; here it may take ten times as many, with the learning rate following the
    longer schedule, so that there is a time to compare with. The state after 30 updates is reported too.
    """
    found: Figures = (read_json(bench.results) or {}).get("identity", {})
    if bench.wants("fast"):
        with slice_of(SLICE_MB):
            bench.config("id-fast", "balanced", "fast")
            shorten(bench, "id-fast")
            found["fast"] = until_exact(bench, "id-fast", accumulate(bench, "id-fast"))
        found["fast"]["slice_mb"] = SLICE_MB
        # NVML also counts the process that occupies the rest of the GPU.
        del found["fast"]["nvml_peak_mb"]
        bench.keep("identity", found)
    if bench.wants("course"):
        bench.config("id-course", "course", "course", max_epochs=30)
        shorten(bench, "id-course")
        found["course"] = until_exact(bench, "id-course", accumulate(bench, "id-course"), most=COURSE_SECONDS)
    course, fast = found.get("course", {}), found.get("fast", {})
    if course and fast.get("seconds_to_exact"):
        took = course["seconds_to_exact"] or course["seconds_given"]
        found["time_to_identity_ratio"] = took / fast["seconds_to_exact"]
        training = took - course["seconds_to_first_iteration"]
        found["training_time_to_identity_ratio"] = training / fast["training_seconds_to_exact"]
        found["ratios_are_lower_bounds"] = not course["exact"]
    return found


def accumulate(bench: Bench, name: str) -> int:
    """Return the iterations per update."""
    return configs.find(bench.workspace, name).values()["accumulative_counts"]


@contextlib.contextmanager
def slice_of(megabytes: int) -> Iterator[None]:
    """Leave only this much GPU memory free during the block, like a slice of a GPU: another process holds the rest."""
    hold = (
        "import sys, time, torch\n"
        "free = torch.cuda.mem_get_info()[0]\n"
        "held = torch.empty(max(0, free - int(sys.argv[1]) * 2**20), dtype=torch.uint8, device='cuda')\n"
        "print(torch.cuda.mem_get_info()[0] // 2**20, flush=True)\n"
        "time.sleep(3600)\n"
    )
    if not machine_cards():
        yield
        return
    words = [sys.executable, "-c", hold, str(megabytes)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        say(f"free for the training: {holder.stdout.readline().strip()} MB")
        try:
            yield
        finally:
            holder.kill()


def shorten(bench: Bench, name: str) -> None:
    """Shorten evaluation answers: random weights never stop by themselves, which is not the recipe's fault."""
    found = ConfigFile(configs.find(bench.workspace, name).text())
    found.set("custom_hooks[1].max_new_tokens", 32)
    configs.replace_text(bench.workspace, name, found.text)


def plain_lora(config: ConfigFile) -> None:
    config.delete("model.llm.quantization_config")


def full(config: ConfigFile) -> None:
    """Train all weights in single precision: mixed precision's loss scaling does not take half-precision gradients."""
    plain_lora(config)
    config.delete("model.llm.torch_dtype")
    config.delete("model.lora")
    config.set("lr", 2e-5)


Method = tuple[str, str, Callable[[ConfigFile], None] | None, tuple[str, ...]]
METHODS: dict[str, Method] = {
    # name: dataset, recipe, change, options of `train start`
    "qlora_fast": ("balanced", "fast", None, ()),
    "qlora_course": ("course", "course", None, ()),
    "qlora_course_in_8_gb": ("course", "course", None, ()),
    "lora_fast": ("balanced", "fast", plain_lora, ()),
    "full_fast": ("balanced", "fast", full, ()),
    "zero2_fast": ("balanced", "fast", plain_lora, ("--deepspeed", "deepspeed_zero2")),
    "zero3_fast": ("balanced", "fast", plain_lora, ("--deepspeed", "deepspeed_zero3")),
}
SEVERAL: dict[str, Method] = {
    "two_qlora": ("course", "course", None, ("--nproc", "2")),
    "two_lora": ("balanced", "fast", plain_lora, ("--nproc", "2")),
    "two_zero2": ("balanced", "fast", plain_lora, ("--nproc", "2", "--deepspeed", "deepspeed_zero2")),
    "two_zero3": ("balanced", "fast", plain_lora, ("--nproc", "2", "--deepspeed", "deepspeed_zero3")),
}


def methods(bench: Bench, phase: str = "methods", ways: Mapping[str, Method] = METHODS) -> Figures:
    """Run each method briefly; return its speed and memory, and the preflight's forecast."""
    found = {}
    for name, (dataset, recipe, change, options) in ways.items():
        if not bench.wants(name):
            continue
        # A warmup of a few iterations.
        short = {"max_epochs": (2 if recipe == "fast" else 1) * (2 if "--nproc" in options else 1), "warmup_ratio": 0.1}
        try:
            sliced = name.endswith("in_8_gb")
            with slice_of(SLICE_MB) if sliced else contextlib.nullcontext():
                bench.config(f"m-{name}", dataset if recipe == "fast" else short_course(bench), recipe, change, **short)
                shorten(bench, f"m-{name}")
                _, found[name] = bench.train(f"m-{name}", *options)
            if sliced:
                # NVML also counts the process that occupies the rest of the GPU.
                found[name].pop("nvml_peak_mb", None)
        except RuntimeError as error:
            found[name] = {"error": str(error)}
        say(f"{name}: {json.dumps(found[name], default=str)}")
        bench.keep(phase, found)
    return found


def several(bench: Bench) -> Figures:
    """The same on two GPUs, and a run there that is stopped and resumed."""
    found = methods(bench, "several", SEVERAL)
    if bench.wants("stop"):
        bench.config("s-stop", "balanced", "fast", plain_lora, warmup_ratio=0.1)
        found["stop_and_resume"] = stop_and_resume(bench, "s-stop", *SEVERAL["two_zero2"][-1])
    return found


def short_course(bench: Bench) -> str:
    """Create the course's dataset with fewer repetitions: enough packs for a warmup, few enough for a short run."""
    if not (bench.workspace.datasets / "course-short").exists():
        bench.command(
            "datasets", "assistant", "--name", NICKNAME, "--recipe", "course", "--n", "1500", "--out", "course-short"
        )
    return "course-short"


def faults(bench: Bench) -> Figures:
    """Run out of memory on purpose; then stop a run, check that its memory is free, and resume it."""
    found = {}
    if bench.wants("oom"):
        found["out_of_memory"] = out_of_memory(bench)
        bench.keep("faults", found)
    if bench.wants("stop"):
        bench.config("f-stop", "balanced", "fast")
        found["stop_and_resume"] = stop_and_resume(bench, "f-stop")
    return found


def out_of_memory(bench: Bench) -> Figures:
    """Use more memory than the GPU has; return what the product reports."""

    def greedy(config: ConfigFile) -> None:
        plain_lora(config)
        config.set("model.use_activation_checkpointing", False)

    # A warmup of a few iterations, so that it fails for lack of memory only.
    bench.config("f-oom", short_course(bench), "course", greedy, batch_size=32, max_epochs=30, warmup_ratio=0.1)
    shorten(bench, "f-oom")
    _, oom = bench.train("f-oom")
    say(f"oom: {json.dumps(oom, default=str)}")
    return {key: oom.get(key) for key in ("status", "reason", "foreseen", "problems")}


def stop_and_resume(bench: Bench, name: str, *options: str, at: int = 20) -> Figures:
    """Stop and save after `at` iterations, check the GPU's memory, resume to the end."""
    before = free_mb()
    started = bench.command("train", "start", name, "--no-early-stop", *options)
    run = runs.find(bench.workspace, started["run"])
    deadline = time.time() + 180
    while run.state().iter < at and run.state().status.live and time.time() < deadline:
        time.sleep(0.5)
    stopping = time.perf_counter()
    stopped = bench.command("train", "stop", run.id)
    took, after = time.perf_counter() - stopping, free_mb()
    at_stop = bench.command("train", "metrics", run.id)["points"]
    bench.command("train", "resume", run.id)
    assert run.job is not None
    run.job.wait(PATIENCE)
    ended, points = bench.command("train", "status", run.id), bench.command("train", "metrics", run.id)["points"]
    stop = {
        "stopped_at_iter": stopped["iter"],
        "stop_seconds": took,
        "gpu_free_mb_before": before,
        "gpu_free_mb_after_stop": after,
        "loss_before_stop": at_stop[-1]["loss"],
        "loss_after_resume": next(p["loss"] for p in points if p["iter"] > stopped["iter"]),
        "iterations_in_one_line": [p["iter"] for p in points] == sorted({p["iter"] for p in points}),
        "status": ended["status"],
        "iter": ended["iter"],
        "last_loss": points[-1]["loss"],
    }
    say(f"stop and resume: {json.dumps(stop)}")
    return stop


def free_mb() -> int | None:
    """Return the free memory of the first GPU as reported by NVML."""
    cards = machine_cards()
    return cards[0]["total_mb"] - cards[0]["used_mb"] if cards else None


def machine_cards() -> list[dict[str, Any]]:
    """Return the product's information on the GPUs."""
    from core.ground.environment import gpus

    return gpus()


def export(bench: Bench) -> Figures:
    """Compare our single job with XTuner's two commands on the same checkpoint."""
    run = finished(bench, "fast")
    began = time.perf_counter()
    ours = bench.command("export", "all", run.id)
    took = time.perf_counter() - began
    checkpoint = run.checkpoint().path
    out = bench.workspace.root / "xtuner"
    environment = {
        **os.environ,
        "MKL_SERVICE_FORCE_INTEL": "1",
        "MKL_THREADING_LAYER": "GNU",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
    converter = [
        sys.executable,
        "-m",
        "xtuner.tools.model_converters.pth_to_hf",
        str(run.config),
        str(checkpoint),
        str(out / "hf"),
        "--fp32",
    ]
    merger = [
        *(
            sys.executable,
            "-m",
            "xtuner.tools.model_converters.merge",
            str(run.model_path),
            str(out / "hf"),
            str(out / "merged"),
        ),
        *("--max-shard-size", "2GB", "--safe-serialization"),
    ]
    theirs = {}
    for step, argv in (("convert", converter), ("merge", merger)):
        began = time.perf_counter()
        done = subprocess.run(argv, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        theirs[step] = {
            "seconds": time.perf_counter() - began,
            "exit_code": done.returncode,
            "said": done.stderr[-300:] if done.returncode else "",
        }
    return {
        "ours": ours,
        "xtuner": theirs,
        "ours_seconds": took,
        "xtuner_seconds": sum(step["seconds"] for step in theirs.values()),
    }


def finished(bench: Bench, recipe: str) -> Run:
    """Return a finished run of `recipe` on balanced data, an existing one if there is one."""
    name = f"whole-{recipe}"
    for run in runs.every(bench.workspace):
        if run.facts.config.name == name and run.state().status == "FINISHED":
            return run
    if not (bench.workspace.configs / name).exists():
        bench.config(name, "balanced", recipe)
    run, figures = bench.train(name)
    bench.keep("methods", {f"{recipe}_whole_card": figures})
    say(f"{name}: {json.dumps(figures, default=str)}")
    return run


def chat(bench: Bench) -> Figures:
    """Return both sides' answers to the course's questions after `fast`, through the chat worker."""
    run = finished(bench, "fast")
    if not run.adapter.exists():
        bench.command("export", "convert", run.id)
    wanted = {row["conversation"][0]["input"]: row["conversation"][0]["output"] for row in course_rows(NICKNAME, 1)}
    found = {
        question: bench.command("chat", "ask", "--run", run.id, "--prompt", question, "--max-new-tokens", "48")
        for question in COURSE_QUESTIONS
    }
    return {
        "exact": {question: found[question]["tuned"]["answer"] == wanted[question] for question in found},
        "answers": found,
    }


def telemetry(bench: Bench) -> Figures:  # noqa: ARG001
    """Measure the cost of one sample of the GPUs."""
    machine_cards()
    times = [seconds(machine_cards) for _ in range(200)]
    return {"gpus": machine_cards(), "sample_ms": 1000 * statistics.median(times), "sample_ms_most": 1000 * max(times)}


PHASES: dict[str, Callable[[Bench], Figures]] = {
    "identity": identity,
    "methods": methods,
    "several": several,
    "faults": faults,
    "export": export,
    "chat": chat,
    "telemetry": telemetry,
}


def main() -> int:
    """Run the requested phases, storing the figures of each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phases", nargs="+", choices=PHASES)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--shape", default="1.8b")
    parser.add_argument("--results", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--only", nargs="+", help="parts of phases: fast, course; a method; oom, stop")
    options = parser.parse_args()
    bench = Bench(Workspace.open(options.workspace), options.shape, options.results, options.only)
    bench.prepare()
    failed = 0
    for phase in options.phases:
        say(f"== {phase}")
        began = time.perf_counter()
        try:
            figures = PHASES[phase](bench)
        except (RuntimeError, AssertionError, OSError, KeyError, StopIteration) as error:
            failed += 1
            figures = {"error": f"{type(error).__name__}: {error}"}
            say(str(figures))
        figures["phase_seconds"] = time.perf_counter() - began
        bench.keep(phase, figures)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
