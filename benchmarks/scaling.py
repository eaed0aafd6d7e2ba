"""Several GPUs of one machine: tokens per second, memory and the preflight's forecast at 1, 2 and 4 of them.

    python -m benchmarks.scaling CASE ... --workspace DIR [--shape 1.8b] [--cards 0,1,2,3] [--seconds 200]

Each case is a workspace of its own with the same model. All start beside each other, since starting takes longer than
what is measured; `benchmarks.turn` lets each train alone on its GPUs, in the given order. Every card has the same
micro-batch, 1 x 2,048 tokens of the course's rows, and every iteration is an update. A name says what a case is: how many
cards (`1`, `2`, `4`), `lora` or `qlora`, `zero2` or `zero3`, `keep` (the base model's answers are kept), `slice` (it may
take 8 GB), `twice` (forecast and trained again, corrected by the first time), `stop` (stopped, resumed,
exported and verified), `@DIR` another model than InternLM2's 1.8 B architecture with random weights:

    1-lora 2-lora 4-lora-zero3-keep 1-qlora-keep-slice 1-lora-twice@MODEL_DIR 4-lora-zero2-stop

`python -m benchmarks.scaling table` only puts the figures into docs/scaling.md, between its marks. Results are added to
`--results` (default `benchmarks/results/<machine>/scaling.json`) as soon as a case has ended.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu import PROJECT, SLICE_MB, Bench, Figures, shorten, stop_and_resume
from benchmarks.measure import RESULTS, commit, machine, say
from benchmarks.product import between
from core.config import config as configs
from core.config.memory import CUDA_MB
from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace
from core.training import run as runs

# One epoch of the course's rows, repeated this often, is so many packs of 2,048 tokens: a card's iterations.
ROWS = 560
# A turn that takes longer than this has failed.
LONGEST_TURN = 60.0
PAGE = PROJECT / "docs" / "scaling.md"


class Case:
    """One way to train, given by its name."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.port = port
        way, _, model = name.partition("@")
        self.model = Path(model) if model else None
        self.name = f"{way}@{self.model.name}" if self.model else way
        self.parts = way.split("-")
        self.cards = int(self.parts[0])

    def is_(self, part: str) -> bool:
        return part in self.parts

    @property
    def options(self) -> list[str]:
        """Options of the preflight and of `train start`."""
        zero = next((part for part in self.parts if part.startswith("zero")), None)
        words = ["--nproc", str(self.cards)] if self.cards > 1 else []
        words += ["--deepspeed", f"deepspeed_{zero}"] if zero else []
        return [*words, "--keep" if self.is_("keep") else "--no-keep"]

    @property
    def start(self) -> list[str]:
        """Options of `train start`: cases that start at once must not meet at the same port."""
        return [*self.options, *(["--port", str(self.port)] if self.cards > 1 else [])]

    def run(self, bench: Bench) -> Figures:
        """Train; return the figures."""
        settings = {"method": "qlora" if self.is_("qlora") else "lora", "max_epochs": self.cards}
        settings |= {"accumulative_counts": 1, "warmup_ratio": 0.1, "log_interval": 1, "map_num_proc": 1}
        bench.config("c", "course", "course", None, **settings)
        shorten(bench, "c")
        if self.is_("twice"):
            return {when: self.trained(bench) for when in ("before", "after")}
        if self.is_("stop"):
            self.in_turn(bench)
            return self.stopped(bench)
        return self.trained(bench)

    def trained(self, bench: Bench) -> Figures:
        """Forecast, then train."""
        foreseen = bench.command("configs", "preflight", "c", *self.options, "--agree")
        self.in_turn(bench)
        run, found = bench.train("c", *self.start, foresee=False)
        found["job_seconds"] = run.job.seconds if run.job else None
        waits = [read_json(file) for file in sorted(turns(bench.workspace.root).glob("*/waited-0"))]
        found["waited_seconds"] = waits[-1] if waits else None
        names = ("iters", "estimated_seconds", "estimated_memory_mb", "estimated_total_mb", "seconds", "calibrated")
        return found | {"foreseen": {name: foreseen[name] for name in names}}

    def in_turn(self, bench: Bench) -> None:
        """Have the training wait for its turn."""
        most = SLICE_MB - CUDA_MB if self.is_("slice") else None
        text = configs.find(bench.workspace, "c").text()
        if "benchmarks.turn" in text:
            return
        text += (
            "\nfrom benchmarks.turn import Turn  # noqa: E402\n\n"
            f"custom_hooks.append(dict(type=Turn, directory={str(turns(bench.workspace.root))!r}, most_mb={most}))\n"
        )
        configs.replace_text(bench.workspace, "c", text)

    def stopped(self, bench: Bench) -> Figures:
        """Stop, resume, export."""
        found: Figures = {"stop_and_resume": stop_and_resume(bench, "c", *self.start, at=10)}
        write_json(bench.results, found)
        began = time.perf_counter()
        run = runs.every(bench.workspace)[0]
        exported = bench.command("export", "all", run.id)
        return found | {"export": exported, "export_seconds": time.perf_counter() - began}


class Going:
    """A case in its process, and its turns on the cards."""

    def __init__(self, case: Case, where: Path, model: Path, cards: list[str]) -> None:
        self.case, self.cards, self.at = case, cards, where / case.name
        self.results = where / f"{case.name}.json"
        self.turn, self.since, self.turns_given = 1, 0.0, 0
        words = ["--workspace", self.at, "--model", model, "--results", self.results, "--port", case.port]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scaling", "-".join(case.parts), "--one", *map(str, words)],
            cwd=PROJECT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(cards)},
        )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def all_have(self, word: str) -> bool:
        """Return whether all ranks are `ready` for, or `done` with, the turn."""
        directory = turns(self.at) / str(self.turn)
        return all((directory / f"{word}-{rank}").exists() for rank in range(self.case.cards))

    @property
    def holds(self) -> bool:
        """Whether the case has its cards for itself now."""
        if self.ended:
            return False
        if self.since and (self.all_have("done") or time.time() - self.since > LONGEST_TURN):
            self.turn, self.since = self.turn + 1, 0.0
        return bool(self.since)

    def go(self) -> None:
        self.since = time.time()
        (turns(self.at) / str(self.turn) / "go").touch()


def turns(workspace: Path) -> Path:
    """Return where the turns of a case are given."""
    return workspace.parent / f"{workspace.name}.turns"


def one(case: Case, workspace: Path, model: Path, results: Path) -> None:
    """Run a case in this process, with the GPUs that it sees."""
    bench = Bench(Workspace.open(workspace), "", results, model=model.name)
    began = time.perf_counter()
    found: Figures
    try:
        bench.command("models", "link", str(model), "--name", model.name)
        bench.command(
            "datasets", "assistant", "--name", "NICK", "--recipe", "course", "--n", str(ROWS), "--out", "course"
        )
        found = case.run(bench)
    except Exception as error:  # noqa: BLE001 (told in the results)
        found = {**(read_json(results) or {}), "error": f"{type(error).__name__}: {str(error)[-1500:]}"}
    write_json(results, found | {"model": model.name, "case_seconds": time.perf_counter() - began})


def all_of(names: list[str], options: argparse.Namespace) -> int:
    """Run cases beside each other; return how many failed or had no time."""
    until = time.time() + options.seconds
    usual = options.workspace / f"internlm2-{options.shape}-random"
    waiting = [Case(name, 29600 + number) for number, name in enumerate(names)]
    going: list[Going] = []
    told, failed = set[str](), 0
    making: Any = None
    if not usual.exists() and any(case.model is None for case in waiting):
        words = [sys.executable, "-m", "benchmarks.random_model", str(usual), "--shape", options.shape]
        making = subprocess.Popen(words, cwd=PROJECT)
    cards = options.cards.split(",")
    following = itertools.cycle(cards)
    while time.time() < until and len(told) < len(names):
        for case in list(waiting):
            if case.model is None and making and making.poll() is None:
                continue
            waiting.remove(case)
            mine = [next(following) for _ in range(case.cards)]
            say(f"{case.name} begins on {','.join(mine)}, {until - time.time():.0f} s left")
            going.append(Going(case, options.workspace, case.model or usual, mine))
        for one_case in going:
            if one_case.ended and one_case.case.name not in told:
                told.add(one_case.case.name)
                failed += keep(options.results, one_case)
        taken = {card for other in going if other.holds for card in other.cards}
        for other in going:
            if not other.ended and not other.since and other.all_have("ready") and not taken & set(other.cards):
                say(f"{other.case.name} trains, {until - time.time():.0f} s left")
                other.go()
                taken |= set(other.cards)
        time.sleep(0.1)
    for other in going:
        if other.case.name not in told:
            other.process.kill()
            found = read_json(other.results) or {}
            write_json(other.results, found | {"error": "no time left"})
            failed += keep(options.results, other)
            give_up(other.at)
    return failed + len(waiting)


def give_up(workspace: Path) -> None:
    """Have the run end that a case has left going."""
    words = ["train", "stop", "latest", "--discard", "--workspace", str(workspace)]
    subprocess.Popen([sys.executable, "-m", "core", *words], cwd=PROJECT)


def keep(file: Path, ended: Going) -> bool:
    """Add a case's figures to the results; return whether it failed."""
    found = read_json(ended.results) or {"error": f"nothing told, exit code {ended.process.poll()}"}
    say(f"{ended.case.name}: {json.dumps(found, default=str)}")
    figures = (read_json(file) or {"figures": {}})["figures"] | {ended.case.name: found}
    write_json(file, {"machine": machine(), "commit": commit(), "figures": figures})
    return "error" in found


def table(told: Figures) -> str:
    """Return a machine's figures as a table; a cell in brackets is the forecast, made before the training."""
    figures: dict[str, Figures] = {}
    for name, found in told["figures"].items():
        parts = {f"{name}, {when}": found[when] for when in ("before", "after") if when in found}
        figures |= parts or {name: found}
    head = "case | s/iteration | tokens/s | efficiency | allocated per GPU, MB | whole run, s"
    where = told["machine"]["gpus"][0] if told["machine"]["gpus"] else told["machine"]["processor"]
    lines = [f"{where}; [forecast]", "", f"| {head} |", "| --- |" + " ---: |" * head.count("|")]
    for name, found in figures.items():
        if not found.get("seconds_per_iteration"):
            continue
        foreseen, each, speed = found["foreseen"], found["seconds_per_iteration"], found["tokens_per_second"]
        single = name.replace(name[0], "1", 1).replace("-zero2", "").replace("-zero3", "")
        alone = figures.get(single) or figures.get(f"{single}-twice, after", {})
        several = int(name[0]) > 1 and alone.get("tokens_per_second")
        efficiency = speed / int(name[0]) / alone["tokens_per_second"] if several else None
        whole = found["job_seconds"] - (found["waited_seconds"] or 0.0)
        cells = [
            f"{each:.3f} [{foreseen['seconds']['train'] / foreseen['iters']:.3f}]",
            f"{speed:,.0f}",
            "" if efficiency is None else f"{efficiency:.2f}",
            f"{found['allocated_mb'] or 0:,.0f} [{foreseen['estimated_memory_mb']:,.0f}]",
            f"{whole:.0f} [{foreseen['estimated_seconds']:.0f}]",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(["", told["note"]] if told.get("note") else [])])


def main() -> int:
    """Run the cases; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--workspace", type=Path, default=Path("scaling"))
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shape", default="1.8b")
    parser.add_argument("--cards", default="0")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--results", type=Path, default=RESULTS / machine()["name"] / "scaling.json")
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cases == ["table"]:
        between(PAGE, "scaling", "\n\n".join(table(read_json(file)) for file in sorted(RESULTS.glob("*/scaling.json"))))
        return 0
    if options.one:
        one(Case(options.cases[0], options.port), options.workspace, options.model, options.results)
        return 0
    return all_of(options.cases, options)


if __name__ == "__main__":
    raise SystemExit(main())
