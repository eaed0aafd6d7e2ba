"""Several GPUs of one machine: tokens per second, memory and the preflight's forecast at 1, 2 and 4 of them.

    python -m benchmarks.scaling CASE ... --workspace DIR [--shape 1.8b] [--cards 0,1,2,3] [--seconds 200]

Each case is a workspace of its own with the same model; cases run beside each other on the GPUs that are free, in the
given order, and a case is only begun if it can end in time. Every card has the same micro-batch, 1 x 2,048 tokens of the
course's rows, and every iteration is an update. A name says what a case is: how many cards (`1`, `2`, `4`), `lora` or
`qlora`, `zero2` or `zero3`, `keep` (the base model's answers are kept), `slice` (8 GB are free), `twice` (forecast and
trained again, corrected by the first time), `stop` (stopped, resumed, exported and verified), `@DIR` another model than InternLM2's 1.8 B architecture with random
weights, which is made meanwhile:

    1-lora 2-lora 4-lora-zero3-keep 1-qlora-keep-slice 1-lora-twice@MODEL_DIR 4-lora-zero2-stop

Results are added to `--results` (default `benchmarks/results/<machine>/scaling.json`) as soon as a case has ended.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu import PROJECT, SLICE_MB, Bench, Figures, shorten, slice_of, stop_and_resume
from benchmarks.measure import RESULTS, commit, machine, say
from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace
from core.training import run as runs

# One epoch of the course's rows, repeated this often, is so many packs of 2,048 tokens: a card's iterations.
ROWS, ITERATIONS = 750, 32
# The shortest time in which a case ends.
LEAST_SECONDS = 45


class Case:
    """One way to train, given by its name."""

    def __init__(self, name: str) -> None:
        way, _, model = name.partition("@")
        self.model = Path(model) if model else None
        self.name = f"{way}@{self.model.name}" if self.model else way
        self.parts = way.split("-")
        self.cards = int(self.parts[0])

    def is_(self, part: str) -> bool:
        return part in self.parts

    @property
    def options(self) -> list[str]:
        """Options of `train start` and of the preflight."""
        zero = next((part for part in self.parts if part.startswith("zero")), None)
        words = ["--nproc", str(self.cards)] if self.cards > 1 else []
        words += ["--deepspeed", f"deepspeed_{zero}"] if zero else []
        return [*words, "--keep" if self.is_("keep") else "--no-keep"]

    def run(self, bench: Bench) -> Figures:
        settings = {"method": "qlora" if self.is_("qlora") else "lora"}
        settings |= {
            "max_epochs": self.cards,
            "accumulative_counts": 1,
            "warmup_ratio": 0.1,
            "log_interval": 1,
            "map_num_proc": 1,
        }
        bench.config("c", "course", "course", None, **settings)
        shorten(bench, "c")
        if self.is_("stop"):
            return self.stopped(bench)
        with slice_of(SLICE_MB) if self.is_("slice") else contextlib.nullcontext():
            found = bench.train("c", *self.options)[1]
            if self.is_("twice"):
                found["again"] = bench.train("c", *self.options)[1]
        return found

    def stopped(self, bench: Bench) -> Figures:
        """Stop, resume, export."""
        found: Figures = {"stop_and_resume": stop_and_resume(bench, "c", *self.options, at=10)}
        write_json(bench.results, found)
        began = time.perf_counter()
        run = runs.every(bench.workspace)[0]
        exported = bench.command("export", "all", run.id)
        return found | {"export": exported, "export_seconds": time.perf_counter() - began}


def one(name: str, workspace: Path, model: Path, results: Path) -> None:
    """Run a case in this process, with the GPUs that it sees."""
    bench = Bench(Workspace.open(workspace), "", results, model=model.name)
    bench.command("models", "link", str(model), "--name", model.name)
    bench.command("datasets", "assistant", "--name", "NICK", "--recipe", "course", "--n", str(ROWS), "--out", "course")
    began = time.perf_counter()
    try:
        found = Case(name).run(bench)
    except (RuntimeError, AssertionError, OSError, KeyError, StopIteration) as error:
        found = {**(read_json(results) or {}), "error": f"{type(error).__name__}: {str(error)[-1500:]}"}
    write_json(results, found | {"model": model.name, "case_seconds": time.perf_counter() - began})


def all_of(names: list[str], options: argparse.Namespace) -> int:
    """Run cases beside each other; return how many failed or had no time."""
    until = time.time() + options.seconds
    usual = options.workspace / f"internlm2-{options.shape}-random"
    free, waiting = options.cards.split(","), [Case(name) for name in names]
    making = None
    if not usual.exists() and any(case.model is None for case in waiting):
        words = [sys.executable, "-m", "benchmarks.random_model", str(usual), "--shape", options.shape]
        making = subprocess.Popen(words, cwd=PROJECT)
    going: dict[str, tuple[subprocess.Popen, list[str]]] = {}
    failed = 0
    while waiting or going:
        for name, (process, cards) in list(going.items()):
            late = time.time() >= until
            if process.poll() is None and not late:
                continue
            if process.poll() is None:
                process.terminate()
                give_up(options.workspace / name)
            free = sorted(free + cards)
            del going[name]
            found = read_json(options.workspace / f"{name}.json") or {}
            if late:
                found["error"] = "no time left"
            failed += "error" in found
            keep(options.results, name, found)
        while waiting and waiting[0].cards <= len(free):
            if waiting[0].model is None and making and making.poll() is None and time.time() < until:
                break
            case = waiting.pop(0)
            if until - time.time() < LEAST_SECONDS:
                say(f"no time for {case.name}")
                failed += 1
                continue
            cards, free = free[: case.cards], free[case.cards :]
            say(f"{case.name} on {','.join(cards)}, {until - time.time():.0f} s left")
            going[case.name] = begin(case, options.workspace, case.model or usual, cards), cards
        time.sleep(0.5)
    return failed


def begin(case: Case, where: Path, model: Path, cards: list[str]) -> subprocess.Popen:
    """Start a case in a process that sees these GPUs only."""
    words = ["--workspace", where / case.name, "--model", model, "--results", where / f"{case.name}.json"]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scaling", "-".join(case.parts), "--one", *map(str, words)],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(cards)},
    )


def give_up(workspace: Path) -> None:
    """End the run that a case has left going."""
    Bench(Workspace.open(workspace), "", workspace).command("train", "stop", "latest", "--discard", fails=True)


def keep(file: Path, name: str, found: Figures) -> None:
    """Add a case's figures to the results."""
    say(f"{name}: {json.dumps(found, default=str)}")
    kept = read_json(file) or {"figures": {}}
    figures = kept["figures"] | {name: found}
    write_json(file, {"machine": machine(), "commit": commit(), "figures": figures})


def main() -> int:
    """Run the cases; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shape", default="1.8b")
    parser.add_argument("--cards", default="0")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--results", type=Path, default=RESULTS / machine()["name"] / "scaling.json")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.cases[0], options.workspace, options.model, options.results)
        return 0
    return all_of(options.cases, options)


if __name__ == "__main__":
    raise SystemExit(main())
