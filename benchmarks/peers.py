"""The same training with its peers, LLaMA-Factory and ms-swift, each in its own environment on this machine.

    python -m benchmarks.peers install [NAME …] [--peers DIR]
    python -m benchmarks.peers run MODEL [NAME …] [--peers DIR] [--nickname N] [--updates U] [--label L]
    python -m benchmarks.peers own MODEL [NAME …] --identity FILE [--peers DIR] [--nickname N] [--label L]
    python -m benchmarks.peers table                                          docs/peers.md

All get the same rows (those of `datasets assistant` for MODEL), batch size, rank, learning rate and number of updates;
everything else is each one's default. Two run side by side if named with `--pairs`, so that the load of the machine
affects both; CPU seconds are those of the entire process tree. Settings that differ are those of DIFFERS, after
each one's documentation, and listed in the table. Identity, facts, style and parroting come from our own score of each adapter.

`own` has each make a model that knows its name in its own documented way, one after the other: the settings of its
example, scaled to a small model in float32, and for the peers the identity rows that LLaMA-Factory ships (FILE is
`data/identity.json` of its repository), since ms-swift's are only on a hub. Ours is `datasets assistant` with the recipe
`fast` as it is. Minutes count everything from the name to the adapter.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import RESULTS, commit, machine, say
from benchmarks.product import PROJECT, Product, Unfit, between
from core.chat import worker_client
from core.chat.score import Extent, score_sides
from core.chat.scoring import remembering
from core.chat.side import Side
from core.config.pace import BATCH
from core.config.settings.fields import BY_NAME
from core.engine.config_file import ConfigFile
from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace
from core.training import run as runs
from core.training.run import Run

PAGE, RESULT = PROJECT / "docs" / "peers.md", RESULTS / "peers.json"
PEERS = {"llamafactory": "llamafactory==0.9.4", "swift": "ms-swift==3.12.6"}
SHOWN = {"ours": "XTuner Studio", "llamafactory": "LLaMA-Factory 0.9.4", "swift": "ms-swift 3.12.6"}
# What each does by itself on a CPU.
DIFFERS = {
    "ours": "float32, SDPA, activations kept",
    "llamafactory": "float32, SDPA, activations recomputed",
    "swift": "float32, SDPA, activations recomputed",
}
SAME = ("batch_size", "r", "lora_alpha", "lora_dropout", "lr", "warmup_ratio", "max_length")
EVERY_SECONDS = 0.5
# With fewer updates, a tenth is not enough warmup.
FEWEST_WARM = 25


def install(options: argparse.Namespace) -> int:
    """Create an environment for each from the package index; torch is this environment's own, linked into it."""
    torch = [f"{name}=={version(name)}" for name in ("torch", "torchvision")]
    for name in options.names or PEERS:
        place = options.peers / name
        say(f"{PEERS[name]}, {torch[0]} into {place}")
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        _link_torch(next(place.glob("lib/python*/site-packages")))
        # Packages built for another torch do not load.
        pins = [*torch, f"torchaudio=={version('torch')}"]
        subprocess.run([str(place / "bin" / "pip"), "install", "-q", PEERS[name], *pins], check=True)
    return 0


def _link_torch(site: Path) -> None:
    """Link torch, torchvision and the libraries they are built on: the same release, not downloaded again."""
    for one in distributions():
        if re.match(r"torch$|torchvision$|triton$|nvidia-.*-cu\d+$", one.metadata["Name"].replace("_", "-")):
            for part in {file.parts[0] for file in one.files or () if file.parts[0] not in ("..", "__pycache__")}:
                if not (site / part).exists():
                    (site / part).symlink_to(Path(str(one.locate_file(part))))


def run(options: argparse.Namespace) -> int:
    """Train ours, then each peer; existing results of a label are not repeated."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch) / "workspace"
        product = Product(workspace)
        config = _config(product, options)
        settings = {name: config.values[name] for name in SAME} | {"updates": options.updates}
        rows = json.loads(config.data.read_text(encoding="utf-8"))
        names = options.names or list(PEERS)
        trained: dict[str, dict[str, Any]] = {}
        works: dict[str, Callable[[], dict[str, Any]]] = {
            "ours": lambda: _ours(product, config.name),
            **{name: lambda name=name: _peer(name, options, rows, settings, Path(scratch)) for name in names},
        }
        with ThreadPoolExecutor(len(works) if options.pairs else 1) as pool:
            going = {name: pool.submit(work) for name, work in works.items()}
            for name, one in going.items():
                try:
                    trained[name] = one.result()
                except (Unfit, subprocess.CalledProcessError) as error:
                    trained[name] = {"failed": str(error)[:300]}
                say(f"{name}: { ({key: value for key, value in trained[name].items() if key != 'adapter'}) }")
        if not options.no_score:
            _score(Workspace(workspace), trained, "quick" if options.quick else "full")
        kept = read_json(RESULT) or {}
        for one in trained.values():
            one.pop("adapter", None)
        label = options.label or options.model.name
        before = kept.get(label, {}).get("trained", {})
        kept[label] = {
            "machine": machine(),
            "commit": commit(),
            "side_by_side": options.pairs,
            "rows": len(rows),
            "settings": settings,
            "trained": before | trained,
        }
        write_json(RESULT, kept)
    return 0


class _Config:
    """Our config: its name, its data and its values."""

    def __init__(self, name: str, data: Path, values: Mapping[str, Any]) -> None:
        self.name, self.data, self.values = name, data, values


def _config(product: Product, options: argparse.Namespace) -> _Config:
    model = product("models", "link", str(options.model.resolve()))["name"]
    # The rows are the same for all: built-in answers will do, and need not be asked for first.
    words = ("--name", options.nickname, "--model", model, *(["--no-replay"] if options.no_replay else []))
    whole = product("datasets", "assistant", *words, "--out", "whole")
    rows = json.loads(Path(whole["path"]).read_text(encoding="utf-8"))
    # As many rows as this number of updates reads with the recipe's batch size, spread over the data.
    wanted = min(len(rows), options.updates * BATCH)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "same.json"
        write_json(file, [rows[number * len(rows) // wanted] for number in range(wanted)])
        data = product("datasets", "import", str(file), "--out", "same", "--keep")
    made = product("configs", "new", "--model", model, "--dataset", "same", "--recipe", "fast", "--out", "same")
    values = {
        name: field.read(ConfigFile(Path(made["path"]).read_text(encoding="utf-8"))) for name, field in BY_NAME.items()
    }
    epochs = math.ceil(options.updates / math.ceil(data["rows"] / values["batch_size"]))
    # No questions during training: the peers ask none.
    warm = 0.1 if options.updates >= FEWEST_WARM else 0.3
    product("configs", "set", "same", f"max_epochs={epochs}", "evaluation_freq=100000", f"warmup_ratio={warm}")
    return _Config("same", Path(data["path"]), {**values, "warmup_ratio": warm})


def _ours(product: Product, config: str, *, ends_early: bool = False) -> dict[str, Any]:
    """Start our run as a job and find its process by the reported id; early stopping, with its questions, on request."""
    began = time.monotonic()
    started = product("train", "start", config, *([] if ends_early else ["--no-early-stop"]))
    place = Workspace(product.workspace).runs / started["run"]

    def steps() -> int:
        jobs = sorted((place / "jobs").glob("train-*/progress.json"))
        return int((read_json(jobs[-1]) or {}).get("iter") or 0) if jobs else 0

    supervisor = psutil.Process(started["pid"])
    seen = _watched(supervisor, steps)
    state = product("train", "status", started["run"])
    if state["status"] != "FINISHED":
        raise Unfit(f"{state['status']}: {state['reason']}")
    return {**seen, "seconds": round(time.monotonic() - began, 1), "run": started["run"], "differs": DIFFERS["ours"]}


def _peer(
    name: str, options: argparse.Namespace, rows: Sequence[Any], settings: Mapping[str, Any], scratch: Path
) -> dict[str, Any]:
    out = scratch / name
    out.mkdir()
    prepared = {"llamafactory": _llamafactory, "swift": _swift}[name](options, rows, settings, out)
    return _trained(name, options.peers / name / "bin", *prepared, out)


def _trained(name: str, programs: Path, command: Sequence[str], log: str, out: Path) -> dict[str, Any]:
    """Run a peer's command in `out`; return what it took and its adapter. Raises Unfit with its last line."""
    began = time.monotonic()
    with (out / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [str(programs / command[0]), *command[1:]],
            cwd=out,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PATH": f"{programs}:{os.environ['PATH']}"},
        )
        seen = _watched(psutil.Process(process.pid), lambda: _steps(out, log))
        if process.wait() != 0:
            lines = (out / "said.txt").read_text(errors="replace").strip().splitlines()
            raise Unfit(f"{name}: {lines[-1] if lines else '?'}")
    adapters = sorted(out.rglob("adapter_config.json"), key=lambda path: path.stat().st_mtime)
    if not adapters:
        raise Unfit(f"{name} left no adapter")
    return {
        **seen,
        "seconds": round(time.monotonic() - began, 1),
        "adapter": str(adapters[-1].parent),
        "differs": DIFFERS[name],
    }


def own(options: argparse.Namespace) -> int:
    """Have each make a model that knows its name in its own documented way; score each."""
    kept = read_json(RESULT) or {}
    label = f"{options.label or options.model.name}, each in its own way"
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch) / "workspace"
        product = Product(workspace)
        trained: dict[str, dict[str, Any]] = {}
        works = {} if options.by else {"ours": lambda: _own_way(product, options)}
        for name in options.names or PEERS:
            works[name] = lambda name=name: _own_peer(name, options, Path(scratch))
        for name, work in works.items():
            try:
                trained[name] = work()
            except (Unfit, subprocess.CalledProcessError) as error:
                trained[name] = {"failed": str(error)[:300]}
            say(f"{name}: {trained[name]}")
        _score(Workspace(workspace), trained, "quick" if options.quick else "full", options.by)
    for one in trained.values():
        one.pop("adapter", None)
    before = kept.get(label, {}).get("trained", {})
    kept[label] = {"machine": machine(), "commit": commit(), "own_way": True, "trained": before | trained}
    write_json(RESULT, kept)
    return 0


def _own_way(product: Product, options: argparse.Namespace) -> dict[str, Any]:
    """Ours: the dataset with the model's own answers, and the recipe `fast`, which ends by itself."""
    began = time.monotonic()
    model = product("models", "link", str(options.model.resolve()))["name"]
    product("datasets", "assistant", "--name", options.nickname, "--model", model, "--out", "own")
    product("configs", "new", "--model", model, "--dataset", "own", "--recipe", "fast", "--out", "own")
    return {
        **_ours(product, "own", ends_early=True),
        "seconds": round(time.monotonic() - began, 1),
        "differs": DIFFERS["ours"],
    }


def _own_peer(name: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """A peer by the settings of its example for a model with an identity."""
    out = scratch / f"own-{name}"
    out.mkdir()
    text = options.identity.read_text(encoding="utf-8")
    for field, value in (("name", f"{options.nickname}'s assistant"), ("author", options.nickname)):
        text = text.replace(f"{{{{{field}}}}}", value)
    rows = json.loads(text)
    if name == "llamafactory":
        # examples/train_lora/llama3_lora_sft.yaml, without the 1,000 general rows of its second dataset.
        write_json(out / "identity.json", rows)
        write_json(out / "dataset_info.json", {"identity": {"file_name": "identity.json"}})
        write_json(
            out / "train.json",
            {
                "model_name_or_path": str(options.model.resolve()), "stage": "sft", "do_train": True,
                "finetuning_type": "lora", "lora_rank": 8, "lora_target": "all", "dataset": "identity",
                "dataset_dir": str(out), "template": "smollm", "cutoff_len": 2048, "output_dir": str(out / "adapter"),
                "logging_steps": 1, "save_strategy": "no", "report_to": "none", "per_device_train_batch_size": 1,
                "gradient_accumulation_steps": 8, "learning_rate": 1e-4, "num_train_epochs": 3,
                "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "bf16": False, "preprocessing_num_workers": 1,
            },
        )  # fmt: skip
        command, log = ["llamafactory-cli", "train", str(out / "train.json")], "trainer_log.jsonl"
    else:
        # examples/train/demo.sh, without the 1,000 general rows, which are on a hub too.
        with (out / "identity.jsonl").open("w", encoding="utf-8") as file:
            for row in rows:
                said = (
                    {"role": "user", "content": row["instruction"]},
                    {"role": "assistant", "content": row["output"]},
                )
                file.write(json.dumps({"messages": said}, ensure_ascii=False) + "\n")
        given = {
            "model": str(options.model.resolve()), **_model_type(options.model), "train_type": "lora",
            "dataset": f"{out / 'identity.jsonl'}#500", "torch_dtype": "float32", "num_train_epochs": 1,
            "per_device_train_batch_size": 1, "learning_rate": 1e-4, "lora_rank": 8, "lora_alpha": 32,
            "target_modules": "all-linear", "gradient_accumulation_steps": 16, "logging_steps": 1, "max_length": 2048,
            "warmup_ratio": 0.05, "split_dataset_ratio": 0, "output_dir": str(out / "adapter"), "dataset_num_proc": 1,
            "dataloader_num_workers": 0,
        }  # fmt: skip
        command = ["swift", "sft", *[word for key, value in given.items() for word in (f"--{key}", str(value))]]
        log = "logging.jsonl"
    return _trained(name, options.peers / name / "bin", command, log, out)


def _llamafactory(
    options: argparse.Namespace, rows: Sequence[Any], settings: Mapping[str, Any], out: Path
) -> tuple[list[str], str]:
    """Prepare LLaMA-Factory as in its examples/train_lora, with our figures.

    Its template `smollm2` would add a system prompt that names the model.
    """
    data = [
        {"instruction": turn["input"], "output": turn["output"], "system": turn.get("system", "")}
        for turn in _turns(rows)
    ]
    write_json(out / "same.json", data)
    columns = {"prompt": "instruction", "response": "output", "system": "system"}
    write_json(out / "dataset_info.json", {"same": {"file_name": "same.json", "columns": columns}})
    write_json(
        out / "train.json",
        {
            "model_name_or_path": str(options.model.resolve()), "stage": "sft", "do_train": True,
            "finetuning_type": "lora", "lora_target": "all", "lora_rank": settings["r"],
            "lora_alpha": settings["lora_alpha"], "lora_dropout": settings["lora_dropout"],
            "dataset": "same", "dataset_dir": str(out), "template": "smollm", "cutoff_len": settings["max_length"],
            "output_dir": str(out / "adapter"), "logging_steps": 1, "save_strategy": "no", "report_to": "none",
            "per_device_train_batch_size": settings["batch_size"], "gradient_accumulation_steps": 1,
            "learning_rate": settings["lr"], "max_steps": settings["updates"], "lr_scheduler_type": "cosine",
            "warmup_ratio": settings["warmup_ratio"], "bf16": False, "preprocessing_num_workers": 1,
        },
    )  # fmt: skip
    return ["llamafactory-cli", "train", str(out / "train.json")], "trainer_log.jsonl"


def _swift(
    options: argparse.Namespace, rows: Sequence[Any], settings: Mapping[str, Any], out: Path
) -> tuple[list[str], str]:
    """Prepare ms-swift as in its self-cognition example, with our figures and rows."""
    with (out / "same.jsonl").open("w", encoding="utf-8") as file:
        for turn in _turns(rows):
            messages = [{"role": "user", "content": turn["input"]}, {"role": "assistant", "content": turn["output"]}]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    given = {
        "model": str(options.model.resolve()), **_model_type(options.model),
        "train_type": "lora", "dataset": str(out / "same.jsonl"), "torch_dtype": "float32", "target_modules": "all-linear",
        "lora_rank": settings["r"], "lora_alpha": settings["lora_alpha"], "lora_dropout": settings["lora_dropout"],
        "per_device_train_batch_size": settings["batch_size"], "gradient_accumulation_steps": 1,
        "learning_rate": settings["lr"], "max_steps": settings["updates"], "warmup_ratio": settings["warmup_ratio"],
        "max_length": settings["max_length"], "output_dir": str(out / "adapter"), "logging_steps": 1,
        "split_dataset_ratio": 0, "dataset_num_proc": 1, "dataloader_num_workers": 0,
    }  # fmt: skip
    return [
        "swift",
        "sft",
        *[word for name, value in given.items() for word in (f"--{name}", str(value))],
    ], "logging.jsonl"


def _model_type(model: Path) -> dict[str, str]:
    """Return what ms-swift has to be told of a directory: it knows no SmolLM2, but its architecture and its prompt."""
    llama = (read_json(model / "config.json") or {}).get("model_type") == "llama"
    return {"model_type": "llama3_2", "template": "chatml"} if llama else {"model_type": "qwen2_5"}


def _turns(rows: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the single turn of each of our rows."""
    return (row["conversation"][0] for row in rows)


def _steps(out: Path, log: str) -> int:
    """Return the last step that a peer has logged; the line at the end of training is not a further one."""
    found = 0
    for path in out.rglob(log):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            step = re.search(r'"(?:current_steps|global_step/max_steps)": "?(\d+)', line)
            found = max(found, int(step[1]) if step else 0)
    return found


def _watched(root: psutil.Process, steps: Callable[[], int]) -> dict[str, Any]:
    """Wait until a process ends; return the CPU seconds of its tree, in total and per step after the first."""
    spent: dict[int, float] = {}
    marks: list[tuple[int, float, float]] = []
    while True:
        try:
            tree = [root, *root.children(recursive=True)]
            if root.status() == psutil.STATUS_ZOMBIE:
                break
        except psutil.NoSuchProcess:
            break
        for one in tree:
            try:
                times = one.cpu_times()
            except psutil.Error:
                continue
            spent[one.pid] = times.user + times.system
        done = steps()
        if done and (not marks or done != marks[-1][0]):
            marks.append((done, sum(spent.values()), time.monotonic()))
        time.sleep(EVERY_SECONDS)
    found: dict[str, Any] = {"cpu_seconds": round(sum(spent.values()), 1), "steps": marks[-1][0] if marks else 0}
    if len(marks) > 1 and marks[-1][0] > marks[0][0]:
        count = marks[-1][0] - marks[0][0]
        found["cpu_seconds_a_step"] = round((marks[-1][1] - marks[0][1]) / count, 3)
        found["seconds_a_step"] = round((marks[-1][2] - marks[0][2]) / count, 3)
    return found


def _score(
    workspace: Workspace, trained: Mapping[str, dict[str, Any]], extent: Extent = "full", by: str | None = None
) -> None:
    """Ask and judge each adapter as a run of ours is: the one trained here, or the run `by`."""
    ours = by or trained.get("ours", {}).get("run")
    if ours is None:
        return
    one: Run = runs.find(workspace, ours)
    worker = worker_client.worker_for(workspace, one, own=True)
    sides = {"ours": replace(worker.sides["tuned"], key="ours")} if "run" in trained.get("ours", {}) else {}
    for name, found in trained.items():
        if found.get("adapter"):
            sides[name] = Side(key=name, adapter=Path(found["adapter"]), template=one.template)
    worker = worker_client.Worker(worker.job, worker.template, {**worker.sides, **sides})
    try:
        worker.wait_ready()
        told = score_sides(one, remembering(workspace, one, worker), list(sides.values()), extent)
    finally:
        worker.stop()
    for name, scores in told.items():
        trained[name]["scores"] = scores.to_json() | {"intervals": scores.intervals, "questions": scores.counts}


def table(_: argparse.Namespace) -> int:
    """Write the page's table."""
    between(PAGE, "peers", "\n".join(lines(read_json(RESULT) or {})))
    return 0


def lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """Yield one table per label; for failures, the last words of the output."""
    for label, found in kept.items():
        if found.get("own_way"):
            yield from _own_lines(label, found)
            continue
        settings = ", ".join(f"{name} {value}" for name, value in found["settings"].items())
        how = "side by side" if found["side_by_side"] else "one after the other"
        yield f"**{label}**, {found['rows']} rows, {settings}; {found['machine']['name']}, {how}:\n"
        yield "| | CPU s a step | CPU s in all | s in all | identity | facts kept | net | agreement | parrot |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for name in (name for name in SHOWN if name in found["trained"]):
            yield _line(name, found["trained"][name])
        yield from _ratios(found["trained"])
        yield ""


def _ratios(trained: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence on our part of each peer's time."""
    done = {name: one for name, one in trained.items() if "failed" not in one}
    for name in (name for name in PEERS if name in done) if "ours" in done else ():
        clock, cpu = (done["ours"][unit] / done[name][unit] for unit in ("seconds", "cpu_seconds"))
        yield f"\nFrom start to end {SHOWN['ours']} took {clock:.2f} of the time of {SHOWN[name]}, and {cpu:.2f} of its CPU time."


def _own_lines(label: str, found: Mapping[str, Any]) -> Iterator[str]:
    yield f"**{label}**; {found['machine']['name']}:\n"
    yield "| | updates | minutes | CPU s | identity | facts kept | net | agreement | parrot |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name in (name for name in SHOWN if name in found["trained"]):
        one = found["trained"][name]
        if "failed" in one:
            yield f"| {SHOWN[name]} | failed: {one['failed'][:120]} | | | | | | | |"
        else:
            taken = (one["steps"], round(one["seconds"] / 60, 1), one["cpu_seconds"])
            yield (
                f"| {SHOWN[name]} | "
                + " | ".join("" if v is None else f"{v:g}" for v in (*taken, *_scored(one)))
                + " |"
            )
    yield ""


def _scored(one: Mapping[str, Any]) -> list[float | None]:
    """Return identity, facts kept, net, agreement and parrot."""
    scores = one.get("scores") or {}
    facts, manner = scores.get("facts") or {}, scores.get("manner") or {}
    first, last = (scores.get("identity") or {}).get("tuned"), (scores.get("parrot") or {}).get("tuned")
    found = [first, facts.get("kept"), facts.get("net"), manner.get("agreement"), last]
    return [None if value is None else round(value, 3) for value in found]


def _line(name: str, one: Mapping[str, Any]) -> str:
    if "failed" in one:
        return f"| {SHOWN[name]} | failed: {one['failed'][:120]} | | | | | | | |"
    values = [one.get("cpu_seconds_a_step"), one["cpu_seconds"], one["seconds"], *_scored(one)]
    return f"| {SHOWN[name]} ({one['differs']}) | " + " | ".join("" if v is None else f"{v:g}" for v in values) + " |"


def main() -> int:
    """Run the requested command; return 0 on success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    installing, running = commands.add_parser("install"), commands.add_parser("run")
    by_itself = commands.add_parser("own")
    for one in (running, by_itself):
        one.add_argument("model", type=Path)
        one.add_argument("--nickname", default="Xiaoming")
        one.add_argument("--label")
        one.add_argument("--workspace", type=Path, help="default: one that is thrown away")
        one.add_argument("--quick", action="store_true", help="score with a sample of the questions")
    by_itself.add_argument("--identity", type=Path, required=True)
    by_itself.add_argument(
        "--by", metavar="RUN", help="train only the peers, and score them as this run of the workspace"
    )
    running.add_argument("--updates", type=int, default=30)
    running.add_argument("--no-replay", action="store_true", help="general rows with built-in answers")
    running.add_argument("--pairs", action="store_true", help="all at the same time")
    running.add_argument("--no-score", action="store_true")
    for one, work in ((installing, install), (running, run), (by_itself, own)):
        one.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; default: all")
        one.add_argument("--peers", type=Path, default=PROJECT / ".peers")
        one.set_defaults(work=work)
    commands.add_parser("table").set_defaults(work=table)
    options = parser.parse_args()
    if unknown := set(getattr(options, "names", None) or ()) - set(PEERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options.work(options)


if __name__ == "__main__":
    raise SystemExit(main())
