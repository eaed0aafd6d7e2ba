"""Which settings teach a real model an identity and keep the rest as it was: many runs, scored by `chat score --all`.

    python -m benchmarks.sweep --model DIR --out DIR [--jobs N] [--cpu] [--minutes M] [--names N] [--seeds N] [--only POINT…]
    python -m benchmarks.sweep --table FILE…          docs/recipes.md, from results that were copied here

A point is the recipe with one or a few settings changed; each is trained for several nicknames and seeds, in its own
workspace, by the headless commands. `--jobs` run at once, with `--threads` each. A finished run is a line of
OUT/results.jsonl and is not repeated, so an interrupted sweep resumes there. The model's answers for the general rows
are generated once and stored in OUT too. Needs what the headless commands need, and no page.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import commit, machine, say
from benchmarks.product import PROJECT, Unfit, between

PAGE = PROJECT / "docs" / "recipes.md"
NICKNAMES = ("Mochi", "小林", "Captain Nemo", "Bo", "伍鲜同志")
# Settings of the config besides the recipe, and of the data: `general` rows per identity row (0: all), `tokens` of a
# replayed answer, the `temperature` and number of `samples` it is chosen from, and `cut`, how to treat one that is
# truncated.
SETTINGS = (
    "lr",
    "r",
    "lora_alpha",
    "lora_dropout",
    "batch_size",
    "max_epochs",
    "weight_decay",
    "warmup_ratio",
    "target_modules",
)
USUAL: dict[str, Any] = {
    "lr": 4e-4, "r": 16, "lora_alpha": 32, "batch_size": 8, "updates": 60,
    "phrasings": "all", "general": 0, "tokens": 64, "temperature": 0.0, "samples": 1, "cut": "open", "keep": False,
}  # fmt: skip
POINTS: dict[str, dict[str, Any]] = {
    "usual": {},
    "kept": {"keep": True},
    "kept, rate 2e-4": {"keep": True, "lr": 2e-4},
    "kept, rate 6e-4": {"keep": True, "lr": 6e-4},
    "kept, rate 1e-3": {"keep": True, "lr": 1e-3},
    "kept, rank 8": {"keep": True, "r": 8, "lora_alpha": 16},
    "kept, updates 90": {"keep": True, "updates": 90},
    "kept, updates 120": {"keep": True, "updates": 120},
    "kept, general 1": {"keep": True, "general": 1},
    "kept, rate 6e-4, updates 120": {"keep": True, "lr": 6e-4, "updates": 120},
    "kept, drawn answers": {"keep": True, "temperature": 1.0},
    "rate 1e-4": {"lr": 1e-4},
    "rate 2e-4": {"lr": 2e-4},
    "rate 3e-4": {"lr": 3e-4},
    "rate 6e-4": {"lr": 6e-4},
    "rate 1e-3": {"lr": 1e-3},
    "rank 4": {"r": 4, "lora_alpha": 8},
    "rank 8": {"r": 8, "lora_alpha": 16},
    "rank 32": {"r": 32, "lora_alpha": 64},
    "rank 64": {"r": 64, "lora_alpha": 128},
    "batch 4": {"batch_size": 4},
    "batch 16": {"batch_size": 16},
    "updates 30": {"updates": 30},
    "updates 45": {"updates": 45},
    "updates 90": {"updates": 90},
    "updates 120": {"updates": 120},
    "general 0.5": {"general": 0.5},
    "general 1": {"general": 1},
    "general 2": {"general": 2},
    "general 4": {"general": 4},
    "usual phrasings": {"phrasings": "usual"},
    "no dropout": {"lora_dropout": 0.0},
    "attention alone": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    "answers of 32 tokens": {"tokens": 32},
    "answers of 128 tokens": {"tokens": 128},
    "cut answers end at the sentence": {"cut": "ended"},
    "cut answers left out": {"cut": "dropped"},
    "our own short answers": {"cut": "ours"},
    "drawn answers": {"temperature": 1.0},
    "drawn answers of 32 tokens": {"temperature": 1.0, "tokens": 32},
    "drawn answers of 32 tokens, rate 2e-4": {"temperature": 1.0, "tokens": 32, "lr": 2e-4},
    "drawn answers of 32 tokens, rate 1e-4": {"temperature": 1.0, "tokens": 32, "lr": 1e-4},
    "drawn answers of 32 tokens, rank 4": {"temperature": 1.0, "tokens": 32, "r": 4, "lora_alpha": 8},
    "drawn answers of 32 tokens, 3 each, 1 epoch": {
        "temperature": 1.0,
        "tokens": 32,
        "samples": 3,
        "batch_size": 16,
        "updates": 30,
    },
    "drawn at 0.7, 32 tokens": {"temperature": 0.7, "tokens": 32},
    "answers of 32 tokens, rate 2e-4": {"tokens": 32, "lr": 2e-4},
    "answers of 32 tokens, rank 4": {"tokens": 32, "r": 4, "lora_alpha": 8},
    "rate 6e-4, batch 16": {"lr": 6e-4, "batch_size": 16},
    "rate 3e-4, batch 16": {"lr": 3e-4, "batch_size": 16},
    "rate 1e-3, rank 8": {"lr": 1e-3, "r": 8, "lora_alpha": 16},
    "rate 6e-4, rank 8": {"lr": 6e-4, "r": 8, "lora_alpha": 16},
    "rate 6e-4, rank 8, batch 16": {"lr": 6e-4, "r": 8, "lora_alpha": 16, "batch_size": 16},
}
GOALS = {"identity": 0.98, "facts": 0.98, "agreement": 0.88, "parrot": 0.01, "leak": 0.01}


class Sweep:
    """The runs of one model on this machine."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model, self.out = options.model.absolute(), options.out.absolute()
        self.work = (options.work or self.out / "work").absolute()
        self.threads, self.until = options.threads, time.monotonic() + 60 * options.minutes
        self.environment = {**os.environ, "XTUNER_STUDIO_LANG": "en"}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            self.environment[name] = str(options.threads)
        if options.cpu:
            self.environment["CUDA_VISIBLE_DEVICES"] = ""
        self.lock, self.running = threading.Lock(), set[subprocess.Popen]()
        self.results = self.out / "results.jsonl"

    def __call__(self, workspace: Path, *words: str) -> dict[str, Any]:
        """Run a command and return its answer. Raises Unfit with its last line."""
        argv = [sys.executable, "-m", "core", *words, "--workspace", str(workspace), "--json"]
        with subprocess.Popen(
            argv, cwd=PROJECT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            with self.lock:
                self.running.add(process)
            try:
                told, complaint = process.communicate(timeout=max(1.0, self.until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                raise Unfit("no time left") from None
            finally:
                with self.lock:
                    self.running.discard(process)
        if process.returncode != 0:
            raise Unfit(f"{' '.join(words[:2])}: {(complaint.strip().splitlines() or ['?'])[-1][:300]}")
        return json.loads(told)

    def workspace(self, name: str) -> Path:
        """Return a new workspace with the model in it."""
        place = self.work / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self(place, "models", "link", str(self.model), "--name", self.model.name.lower())
        return place

    def way(self, wanted: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the options for generating the answers of a point."""
        return tuple(word for key in ("tokens", "temperature", "samples") for word in (f"--{key}", str(wanted[key])))

    def answers(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model's answers for a point, in the form a workspace stores; generated once."""
        words = self.way(wanted)
        name = "answers-" + "-".join(words[1::2])
        kept = self.out / f"{name}.json"
        if not kept.exists():
            say(name)
            place = self.workspace(name)
            began = time.monotonic()
            told = self(place, "datasets", "replay", "--model", self.model.name.lower(), *words)
            say(f"  {told}, {time.monotonic() - began:.0f} s")
            shutil.copy(place / "replays" / f"{self.model.name.lower()}.json", kept)
        return json.loads(kept.read_text(encoding="utf-8"))

    def train(self, point: str, nickname: str, seed: int) -> dict[str, Any]:
        """Train and score once; return the line of results."""
        wanted, model, began = {**USUAL, **POINTS[point]}, self.model.name.lower(), time.monotonic()
        place = self.workspace(self.place(point, nickname, seed).name)
        words = ["--name", nickname, "--model", model, "--phrasings", wanted["phrasings"], "--out", "data"]
        words += ["--general", str(wanted["general"])] if wanted["general"] else []
        if wanted["cut"] == "ours":
            words.append("--no-replay")
        else:
            (place / "replays").mkdir()
            kept = cut(self.answers(wanted), wanted["cut"])
            (place / "replays" / f"{model}.json").write_text(json.dumps(kept), encoding="utf-8")
            words += ["--replay", model]
        made = self(place, "datasets", "assistant", *words)
        iterations = -(-made["rows"] // wanted["batch_size"])
        wanted["max_epochs"] = max(1, round(wanted["updates"] / iterations))
        # At least two iterations: with fewer nothing is learned.
        wanted["warmup_ratio"] = max(0.03, 2.2 / (iterations * wanted["max_epochs"]))
        settings = [f"{key}={value}" for key, value in wanted.items() if key in SETTINGS] + [f"seed={seed}"]
        # As the recipe decides if memory is free, which the other runs may be using.
        settings.append("quantisation=none")
        self(
            place,
            "configs",
            "new",
            "--model",
            model,
            "--dataset",
            "data",
            "--recipe",
            "fast",
            "--out",
            "config",
            "--set",
            *settings,
        )
        state = self(
            place, "train", "start", "config", "--no-early-stop", "--keep" if wanted["keep"] else "--no-keep", "--wait"
        )
        if state["status"] != "FINISHED":
            raise Unfit(f"train: {state['status']}: {state['reason']}")
        trained = time.monotonic() - began
        scored = self(place, "chat", "score", state["run"], "--all")
        shutil.rmtree(place, ignore_errors=True)
        return {
            "model": self.model.name, "point": point, "nickname": nickname, "seed": seed, "settings": wanted,
            "machine": machine()["name"], "code": commit(),
            "rows": made["rows"], "general": made["general"], "updates": state["max_iters"],
            "train_seconds": round(trained, 1), "seconds": round(time.monotonic() - began, 1),
            "checkpoints": [figures(one) for one in scored["checkpoints"]], "questions": scored["questions"],
        }  # fmt: skip

    def place(self, point: str, nickname: str, seed: int) -> Path:
        """Return the workspace directory of a run."""
        return self.work / f"{list(POINTS).index(point)}-{NICKNAMES.index(nickname)}-{seed}"

    def stop(self, place: Path) -> None:
        """Stop a run that nobody waits for any more."""
        words = [sys.executable, "-m", "core", "train", "stop", "latest", "--discard", "--workspace", str(place)]
        subprocess.run(words, cwd=PROJECT, env=self.environment, capture_output=True, timeout=60, check=False)

    def go(self, jobs: list[tuple[str, str, int]], at_once: int) -> int:
        """Train the `jobs` without results; return how many failed."""
        self.out.mkdir(parents=True, exist_ok=True)
        there = {(one["point"], one["nickname"], one["seed"]) for one in read([self.results])}
        jobs = [job for job in jobs if job not in there]
        wanted = [{**USUAL, **POINTS[point]} for point, _, _ in jobs]
        ways = {self.way(one): one for one in wanted if one["cut"] != "ours"}
        failed = 0
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self.answers, ways.values()))
            for done in concurrent.futures.as_completed(pool.submit(self._one, job) for job in jobs):
                failed += done.result()
        return failed

    def _one(self, job: tuple[str, str, int]) -> bool:
        if time.monotonic() > self.until:
            return True
        try:
            line = self.train(*job)
        except (Unfit, OSError, KeyError) as error:
            say(f"{job}: {type(error).__name__}: {error}")
            self.stop(self.place(*job))
            return True
        with self.lock, self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        last = line["checkpoints"][-1]
        say(f"{job}: {last} ({line['train_seconds']:.0f} s, with the score {line['seconds']:.0f} s)")
        return False


def cut(kept: dict[str, Any], what: str) -> dict[str, Any]:
    """Return stored answers with truncated ones left open (`open`), as if they ended there, or removed."""
    replies = kept["replies"]
    if what == "ended":
        replies = [[question, answer, True] for question, answer, _ in replies]
    if what == "dropped":
        replies = [reply for reply in replies if reply[2]]
    return {**kept, "replies": replies}


def figures(scored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures to store from a checkpoint's scores."""
    return {
        "checkpoint": scored["checkpoint"],
        "identity": {one: round(rates["tuned"], 4) for one, rates in scored["identity"]["by_language"].items()},
        "facts": scored["facts"]["kept"],
        "base_right": scored["facts"]["base_right"],
        "agreement": scored["manner"]["agreement"],
        "nats": scored["manner"]["nats"],
        "parrot": scored["parrot"]["tuned"],
        "leak": scored["leak"],
        "verdict": scored["verdict"],
    }


def read(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the lines of results."""
    return [
        json.loads(line) for file in files if file.exists() for line in file.read_text(encoding="utf-8").splitlines()
    ]


def table(lines: list[dict[str, Any]]) -> list[str]:
    """Return a row per model, point and version of the code, for the last checkpoint: mean and worst (in brackets)."""
    rows = [
        "| model | settings | code | trainings | updates | identity | facts kept | agreement | parrot | leak | nats | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        # The oldest lines do not state the version of the code.
        groups.setdefault((line["model"], line["point"], line.get("code") or ""), []).append(line)

    def order(key: tuple[str, str, str]) -> tuple[str, int, str]:
        return key[0], list(POINTS).index(key[1]), key[2]

    for model, point, code in sorted(groups, key=order):
        many = groups[model, point, code]
        last = [one["checkpoints"][-1] for one in many]
        taught = {language for one in last for language in one["identity"]} - (
            {"zh"} if "smol" in model.lower() else set()
        )
        identity = [min(one["identity"][language] for language in taught) for one in last]
        cells = [spread(identity, "identity", most=False)]
        cells += [
            spread([one[name] for one in last if one[name] is not None], name, most=name in ("parrot", "leak"))
            for name in ("facts", "agreement", "parrot", "leak")
        ]
        nats = [one["nats"] for one in last if one["nats"] is not None]
        seconds = statistics.median(one["train_seconds"] for one in many)
        updates = "/".join(sorted({str(one["updates"]) for one in many}))
        rows.append(
            f"| {model} | {point} | {code} | {len(many)} | {updates} | {' | '.join(cells)} | {statistics.mean(nats) if nats else 0:+.3f} | {seconds:.0f} |"
        )
    return rows


def spread(values: list[float], name: str, *, most: bool) -> str:
    """Return the mean and the worst; bold if the worst reaches the goal."""
    if not values:
        return "–"
    worst, goal = (max if most else min)(values), GOALS[name]
    text = f"{statistics.mean(values):.3f} ({worst:.3f})"
    return f"**{text}**" if (worst <= goal if most else worst >= goal) else text


def write(files: list[Path]) -> None:
    """Write the table into the page."""
    between(PAGE, "sweep", "\n".join(table(read(files))))


def main() -> int:
    """Train and score everything without results, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="the model's directory")
    parser.add_argument("--out", type=Path, help="where the results and the model's answers go")
    parser.add_argument("--work", type=Path, help="where the workspaces go, which are thrown away; default: in --out")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1440, help="then no more is begun, and what runs is stopped")
    parser.add_argument("--names", type=int, default=1, help=f"how many of {', '.join(NICKNAMES)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="though there is a GPU")
    parser.add_argument("--only", nargs="+", metavar="POINT", help=f"of {', '.join(POINTS)}")
    parser.add_argument("--table", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.table:
        write(options.table)
        return 0
    if not options.model or not options.out:
        parser.error("--model and --out are needed")
    points = options.only or list(POINTS)
    if unknown := [point for point in points if point not in POINTS]:
        parser.error(f"there is no point {unknown[0]}")
    jobs = [
        (point, nickname, seed)
        for seed in range(1, options.seeds + 1)
        for nickname in NICKNAMES[: options.names]
        for point in points
    ]
    sweep = Sweep(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "machine.json").write_text(json.dumps(machine(), indent=2), encoding="utf-8")
    return sweep.go(jobs, options.jobs)


if __name__ == "__main__":
    raise SystemExit(main())
