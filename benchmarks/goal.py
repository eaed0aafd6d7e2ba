"""The effect of the product's defaults on a real model: several nicknames and seeds, compared with the goals.

    python -m benchmarks.goal train MODEL [--workspace DIR] [--jobs N] [--cards N] [--names N] [--seeds N] [--minutes M]
                                          [--how WORDS]
    python -m benchmarks.goal table        writes the tables in docs/recipes.md and docs/identity.md

MODEL is a directory. Nothing is chosen here. The data come from `datasets assistant`, with the model's own answers,
generated once. The config is that of the recipe `fast` except for the seed, created before any run starts, because the
recipe depends on free memory. Each run ends by itself, and its last state is scored, not the best checkpoint. A
finished run is a line of the results and is not repeated.
"""

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from benchmarks.measure import RESULTS, machine, say
from benchmarks.product import PROJECT, Product, Unfit, between
from benchmarks.sweep import GOALS
from core.ground.files import read_json

PAGE, IDENTITY = PROJECT / "docs" / "recipes.md", PROJECT / "docs" / "identity.md"
RESULT = RESULTS / "goal.jsonl"
# Runs with other settings of the loss that keeps, compared by their summary alone.
KEEPING = RESULTS / "keeping.jsonl"
# Adapters trained outside the product, compared by where they look: one run each.
AIMED = RESULTS / "aimed.jsonl"
# Latin letters, two characters, two words, a long one, both scripts.
NICKNAMES = ("NICK", "伍鲜", "Captain Nemo", "Wilhelmina van der Meulen", "小明Leo同学")
SEEDS = 3
MOST_UPDATES = 60
# Limits for wrong answers: characters, and how many are kept.
MOST_CHARACTERS, MOST_SHOWN = 160, 12
# The table's columns, and whether lower is better; None: shown, but without a goal.
COLUMNS = {
    "updates": True, "identity zh": False, "identity en": False, "facts": False, "net": None, "agreement": False,
    "nats": None, "parrot": True, "leak": True,
}  # fmt: skip
_PLACES = {"updates": 0, "nats": 2}


class Goal:
    """The runs of one model, each in its own workspace; `given` is the workspace from which all start."""

    def __init__(self, root: Path, model: Path, threads: int | None, cards: int = 0, how: str = "") -> None:
        self.root, self.model, self.name, self.cards, self.how = root, model, model.name.lower(), cards, how
        self.more = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self.given = Product(root / "given", self.more)

    def product(self, number: int, seed: int) -> Product:
        """Return the commands in the workspace of one run; with several GPUs they are assigned in turn."""
        card = {"CUDA_VISIBLE_DEVICES": str((seed * len(NICKNAMES) + number) % self.cards)} if self.cards else {}
        return Product(self.root / f"{number}-{seed}", {**self.more, **card})

    def prepare(self, names: int) -> None:
        """Link the model and create the data of the first `names` nicknames, unless they exist."""
        if not (self.given.workspace / "models" / self.name).exists():
            self.given("models", "link", str(self.model), "--name", self.name)
        there = {one["name"] for one in self.given("datasets", "list")["datasets"]}
        for number, nickname in enumerate(NICKNAMES[:names]):
            if f"data-{number}" not in there:
                began = time.monotonic()
                words = ["--name", nickname, "--model", self.name, "--out", f"data-{number}"]
                made = self.given("datasets", "assistant", *words)
                (self.given.workspace / f"data-{number}.json").write_text(json.dumps(made), encoding="utf-8")
                say(f"{nickname}: {made['rows']} rows, {time.monotonic() - began:.0f} s")

    def configure(self, number: int, seed: int) -> None:
        """Create the workspace of one run, with its config."""
        product = self.product(number, seed)
        place = product.workspace
        if place.exists():
            return
        new = place.with_suffix(".partial")
        shutil.rmtree(new, ignore_errors=True)
        # The model remains a link to the original; the base model's answers are shared.
        shutil.copytree(self.given.workspace, new, symlinks=True, ignore=shutil.ignore_patterns("jobs", "answers"))
        answers = self.given.workspace / "cache" / "answers"
        answers.mkdir(parents=True, exist_ok=True)
        (new / "cache").mkdir(exist_ok=True)
        (new / "cache" / "answers").symlink_to(answers, target_is_directory=True)
        words = ["--model", self.name, "--dataset", f"data-{number}", "--recipe", "fast", "--out", "config"]
        new.replace(place)
        try:
            product("configs", "new", *words, "--set", f"seed={seed}")
        except Unfit:
            shutil.rmtree(place)
            raise

    def train(self, number: int, seed: int) -> dict[str, Any]:
        """Train and score once; return the line of results."""
        product, began = self.product(number, seed), time.monotonic()
        made = read_json(product.workspace / f"data-{number}.json") or {}
        done = [run for run in product("train", "list")["runs"] if run["status"] == "FINISHED"]
        state = done[0] if done else product("train", "start", "config", "--wait")
        trained = time.monotonic() - began
        found = product("chat", "score", state["run"])
        run = product.workspace / "runs" / state["run"]
        config = (run / "config.py").read_text("utf-8")
        questions = (read_json(run / "scores" / f"{found['checkpoint']}.json") or {})["questions"]
        stop = state["early_stop"] or {}
        iterations, accumulated = int(found["checkpoint"].rpartition("_")[2]), accumulation(config)
        return {
            "how": self.how, "model": self.model.name, "nickname": NICKNAMES[number], "seed": seed, "machine": machine()["name"],
            "rows": made["rows"], "general": made["general"], "method": method(config), "kept": bool((read_json(run / "run.json") or {}).get("keep")),
            "updates": math.ceil(iterations / accumulated), "planned": math.ceil(state["max_iters"] / accumulated),
            "early_stop": stop.get("why"), "looks": stop.get("looks", []),
            "train_seconds": round(trained, 1), "seconds": round(time.monotonic() - began, 1),
            **figures(found, list(made["teaches"])), "wrong": wrong(questions),
        }  # fmt: skip


def method(config: str) -> str:
    """Return the method of a config, which depends on the memory that was free."""
    return "qlora" if "load_in_4bit" in config else "lora"


def accumulation(config: str) -> int:
    """Return the number of iterations per update."""
    return int(re.search(r"^accumulative_counts = (\d+)", config, re.M)[1])


def figures(found: Mapping[str, Any], taught: Sequence[str]) -> dict[str, Any]:
    """Return the figures to store from a score."""
    facts, languages = found["facts"], found["identity"]["by_language"]
    kept = facts["kept"]
    return {
        "identity": {one: languages[one]["tuned"] for one in taught},
        "facts": {**facts, "lost": None if kept is None else round(facts["base_right"] * (1 - kept))},
        "agreement": found["manner"]["agreement"],
        "nats": found["manner"]["nats"],
        "parrot": found["parrot"]["tuned"],
        "leak": found["leak"],
        "verdict": found["verdict"],
        "questions": found["questions"],
    }


def wrong(questions: Sequence[Mapping[str, Any]]) -> dict[str, list[list[str]]]:
    """Return some wrong answers of each kind, to show what a figure stands for."""
    kinds = {
        "identity": [q for q in questions if q["kind"] == "identity" and not q["apart"] and not q["tuned_identity"]],
        "parrot": [q for q in questions if q["kind"] in ("fact", "general") and q["tuned_identity"]],
        "leak": [q for q in questions if q["leaked"]],
        "lost": [q for q in questions if q["kind"] == "fact" and q["base_right"] and not q["still_right"]],
    }
    shown = {}
    for kind, asked in kinds.items():
        cells = ("question", "base", "tuned") if kind == "lost" else ("question", "tuned")
        shown[kind] = [[q[cell][:MOST_CHARACTERS] for cell in cells] for q in asked[:MOST_SHOWN]]
    return shown


def train(options: argparse.Namespace) -> int:
    """Train everything without results, each nickname's first seed first; return how many failed or did not start."""
    until = time.monotonic() + 60 * options.minutes
    model = options.model.resolve()
    there = {
        (line["nickname"], line["seed"])
        for line in read(options.results)
        if (line["model"], line["how"]) == (model.name, options.how)
    }
    numbers = range(len(NICKNAMES[: options.names]))
    jobs = [(number, seed) for seed in range(1, options.seeds + 1) for number in numbers]
    jobs = [job for job in jobs if (NICKNAMES[job[0]], job[1]) not in there]
    own = options.jobs == 1 or "OMP_NUM_THREADS" in os.environ
    threads = None if own else max(1, (os.cpu_count() or 1) // options.jobs)
    given = contextlib.nullcontext(options.workspace) if options.workspace else tempfile.TemporaryDirectory()
    lock = Lock()
    with given as directory, ThreadPoolExecutor(options.jobs) as pool:
        goal = Goal(Path(directory).absolute(), model, threads, options.cards, options.how)
        if jobs:
            goal.prepare(options.names)
        # All configs are created before the first run takes memory.
        list(pool.map(lambda job: goal.configure(*job), jobs))

        def one(job: tuple[int, int]) -> int:
            what = f"{NICKNAMES[job[0]]}, seed {job[1]}"
            if time.monotonic() > until:
                say(f"{what}: no time left")
                return 1
            try:
                line = goal.train(*job)
            except (Unfit, OSError, KeyError) as error:
                say(f"{what}: {type(error).__name__}: {error}")
                return 1
            with lock, options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            say(f"{what}: {line['updates']} updates, {cells([line])}, {line['verdict']}, {line['seconds']:.0f} s")
            return 0

        return sum(pool.map(one, jobs))


def read(file: Path) -> list[dict[str, Any]]:
    """Read the lines of results."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def lines(trained: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each model, method and nickname, and one for all: median, minimum and maximum."""
    if not trained:
        yield "None was trained yet."
        return
    yield f"| model | how | nickname | trainings | {' | '.join(COLUMNS)} | lost, gained, of | verdicts |"
    yield "| --- | --- | --- | ---: |" + " ---: |" * (len(COLUMNS) + 1) + " --- |"
    for (model, how), of_model in _by_model(trained):
        names = sorted({line["nickname"] for line in of_model}, key=NICKNAMES.index)
        groups = [(name, [line for line in of_model if line["nickname"] == name]) for name in names]
        for name, many in [*groups, ("**all**", of_model)]:
            yield f"| {model} | {how} | {name} | {len(many)} | {cells(many)} | {_facts(many)} | {_verdicts(many)} |"
    yield from [
        "",
        "| model | how | aimed at | median (least – most) | reached by |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    for (model, how), many in _by_model(trained):
        yield from _reached(f"{model} | {how}", many)


def ways(trained: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each model and way."""
    yield f"| model | how | runs | {' | '.join(COLUMNS)} | verdicts |"
    yield "| --- | --- | ---: |" + " ---: |" * len(COLUMNS) + " --- |"
    for (model, how), many in _by_model(trained):
        yield f"| {model} | {how} | {len(many)} | {cells(many)} | {_verdicts(many)} |"


def aims(trained: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each adapter that was trained outside the product."""
    yield "| model | A | on | rate | weights | B × | identity zh | identity en | facts | net | agreement | parrots |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for line in trained:
        where = line["layers"] if line["depth"] == "all" else f"{line['layers']}, {line['depth']}"
        said = [f"{line['identity'][one]:.3f}" if one in line["identity"] else "" for one in ("zh", "en")]
        figures = [f"{line[key]:.3f}" for key in ("facts", "net", "agreement")]
        settings = [f"{line['rate']:g}", line["weights"], f"{line['scale']:g}"]
        yield f"| {' | '.join([line['model'], line['a'], where, *settings, *said, *figures, str(line['parrots'])])} |"


def reached(trained: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each goal, with the runs of each model's last way that has every nickname."""
    ways = [(model, many) for (model, _), many in _by_model(trained) if {x["nickname"] for x in many} == set(NICKNAMES)]
    last = dict(ways)
    yield f"| goal | {' | '.join(f'{model} | reached by' for model in last)} |"
    yield "| --- |" + " ---: | ---: |" * len(last)
    for column, less in COLUMNS.items():
        goal = _goal(column)
        if goal is not None:
            counted = [_count(column, many, goal, less) for many in last.values()]
            yield f"| {column} {'≤' if less else '≥'} {goal} | {' | '.join(counted)} |"


def _count(column: str, many: Sequence[Mapping[str, Any]], goal: float, less: bool | None) -> str:
    values = [value for line in many if (value := value_of(line, column)) is not None]
    if not values:
        return "not taught | "
    count = sum(value <= goal if less else value >= goal for value in values)
    return f"{_cell(column, values, None)} | {count} of {len(values)}"


def _by_model(
    trained: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[tuple[str, str], list[Mapping[str, Any]]]]:
    """Yield the runs of each model and method, the earliest method first."""
    for model in sorted({line["model"] for line in trained}):
        for how in dict.fromkeys(line["how"] for line in trained if line["model"] == model):
            yield (model, how), [line for line in trained if (line["model"], line["how"]) == (model, how)]


def _reached(model: str, many: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each goal: how many runs reach it."""
    for column, less in COLUMNS.items():
        values = [value for line in many if (value := value_of(line, column)) is not None]
        goal = _goal(column)
        if values and goal is not None:
            count = sum(value <= goal if less else value >= goal for value in values)
            aim = f"{column} {'≤' if less else '≥'} {goal}"
            yield f"| {model} | {aim} | {_cell(column, values, None)} | {count} of {len(values)} |"


def cells(many: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures of some runs as cells; bold if the worst one reaches the goal."""
    found = []
    for column, less in COLUMNS.items():
        values = [value for line in many if (value := value_of(line, column)) is not None]
        found.append(_cell(column, values, less) if values else "")
    return " | ".join(found)


def _cell(column: str, values: Sequence[float], less: bool | None) -> str:
    places = _PLACES.get(column, 3)
    middle, least, most = (f"{value:.{places}f}" for value in (median(values), min(values), max(values)))
    text = middle if least == most else f"{middle} ({least} – {most})"
    if less is None:
        return text
    goal = _goal(column) or 0.0
    return f"**{text}**" if (max(values) <= goal if less else min(values) >= goal) else text


def _goal(column: str) -> float | None:
    """Return the goal of a column; `net` has that of the facts."""
    named = {**GOALS, "updates": MOST_UPDATES, "net": GOALS["facts"]}
    return named.get(column.partition(" ")[0])


def value_of(line: Mapping[str, Any], column: str) -> float | None:
    """Return a column's figure for a run; None if there is none, as for a language that it does not teach."""
    if column.startswith("identity"):
        return line["identity"].get(column.partition(" ")[2])
    if column in ("facts", "net"):
        return line["facts"]["kept" if column == "facts" else "net"]
    return line[column]


def _facts(many: Sequence[Mapping[str, Any]]) -> str:
    told = [line["facts"] for line in many if line["facts"]["lost"] is not None]
    if not told:
        return ""
    known = "/".join(sorted({str(one["base_right"]) for one in told}))
    return f"{median(one['lost'] for one in told):.0f}, {median(one['gained'] for one in told):.0f}, {known}"


def _verdicts(many: Sequence[Mapping[str, Any]]) -> str:
    counted = Counter(line["verdict"].replace("_", " ") for line in many)
    return ", ".join(f"{verdict} {count}" for verdict, count in counted.most_common())


def table(options: argparse.Namespace) -> int:
    """Write the pages' tables."""
    between(PAGE, "goal", "\n".join(lines(read(options.results))))
    between(PAGE, "keeping", "\n".join(ways(read(KEEPING))))
    between(PAGE, "aimed", "\n".join(aims(read(AIMED))))
    between(IDENTITY, "goal", "\n".join(reached(read(options.results))))
    return 0


def main() -> int:
    """Run the requested command; return 0 if everything succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULT)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("model", type=Path)
    training.add_argument("--workspace", type=Path, help="default: one that is thrown away")
    training.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    training.add_argument(
        "--cards", type=int, default=0, help="share so many GPUs out; default: as the environment has it"
    )
    training.add_argument("--how", default="", help="what the product does by now, as the table calls it")
    training.add_argument("--names", type=int, default=len(NICKNAMES), help=f"how many of {', '.join(NICKNAMES)}")
    training.add_argument("--seeds", type=int, default=SEEDS)
    training.add_argument("--minutes", type=float, default=1440, help="then no more is begun")
    training.set_defaults(work=train)
    commands.add_parser("table").set_defaults(work=table)
    options = parser.parse_args()
    return options.work(options)


if __name__ == "__main__":
    raise SystemExit(main())
