"""Our part of the comparison, by the product's own commands: the rows that all train on, a run, and the scores of all."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.goal import wrong
from benchmarks.measure import say
from benchmarks.peers.peer import Turn
from benchmarks.peers.seen import noting, read
from benchmarks.product import Product, Unfit
from core.chat import worker_client
from core.chat.asked import Extent
from core.chat.diagnosis import diagnose
from core.chat.score import score_sides
from core.chat.scoring import remembering
from core.chat.side import Side
from core.config.settings.fields import BY_NAME
from core.engine.config_file import ConfigFile
from core.ground.files import read_json
from core.ground.workspace import Workspace
from core.training import run as runs

# With fewer updates, a tenth is not enough warmup.
FEWEST_WARM = 25
# What is asked and saved during training, per run: as the recipe `fast` does it for fewer than 60 iterations.
LOOKS, SAVES = 3, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """The rows that all train on, and our config for them: its name, its values and the number of its updates."""

    config: str
    turns: list[Turn]
    values: Mapping[str, Any]
    updates: int


def same(product: Product, model: Path, nickname: str, *, epochs: int, small: bool) -> Same:
    """Create the dataset, with built-in answers, and the config of the recipe `fast` for so many epochs of it.

    The model's own answers would come with the loss that keeps them, which no peer has.
    """
    name = product("models", "link", str(model))["name"]
    fewer = ("--phrasings", "usual", "--general", "1") if small else ()
    words = ("--name", nickname, "--model", name, "--no-replay", *fewer)
    data = product("datasets", "assistant", *words, "--out", "same")
    made = product("configs", "new", "--model", name, "--dataset", "same", "--recipe", "fast", "--out", "same")
    config = ConfigFile(Path(made["path"]).read_text(encoding="utf-8"))
    values = {key: field.read(config) for key, field in BY_NAME.items()}
    updates = epochs * math.ceil(data["rows"] / values["batch_size"])
    edits = {
        "max_epochs": epochs,
        "evaluation_freq": math.ceil(updates / LOOKS),
        "save_steps": math.ceil(updates / SAVES),
        "warmup_ratio": 0.1 if updates >= FEWEST_WARM else 0.3,
    }
    product("configs", "set", "same", *(f"{key}={value}" for key, value in edits.items()))
    turns = [row["conversation"][0] for row in json.loads(Path(data["path"]).read_text(encoding="utf-8"))]
    return Same(
        config="same",
        turns=[Turn(question=one["input"], answer=one["output"], system=one.get("system", "")) for one in turns],
        values={**values, **edits},
        updates=updates,
    )


def start(product: Product, config: str, seen: Path, *words: str) -> dict[str, Any]:
    """Start a run as a job and return at once; `finished` tells the rest."""
    noted = Product(product.workspace, {**product.more, **noting(seen)})
    return {"run": noted("train", "start", config, *words)["run"]}


def finished(product: Product, run: str, seen: Path) -> dict[str, Any]:
    """Return what an ended run was made with and what it spent on questions. Raises Unfit if it did not finish."""
    state = product("train", "status", run)
    if state["status"] != "FINISHED":
        raise Unfit(f"{state['status']}: {state['reason']}")
    jobs = sorted((Workspace(product.workspace).runs / run / "jobs").glob("train-*/progress.json"))
    told = read_json(jobs[-1]) or {}
    phases, spent = told.get("phases") or {}, told.get("spent") or {}
    stopped = (state["early_stop"] or {}).get("why")
    return {
        **read(seen),
        "phases": phases,
        "answers_seconds": round(spent.get("answers", 0.0), 1),
        "early_stop": stopped,
    }


def score(workspace: Workspace, trained: Mapping[str, dict[str, Any]], extent: Extent, run: str | None) -> None:
    """Ask and judge each adapter as our run is, or the run named: adds the scores to what was trained."""
    named = run or trained.get("ours", {}).get("run")
    if named is None or not trained:
        say("not scored: there is no run of ours, or no adapter")
        return
    ours = runs.find(workspace, named)
    worker = worker_client.worker_for(workspace, ours, own=True)
    sides = {"ours": replace(worker.sides["tuned"], key="ours")} if "run" in trained.get("ours", {}) else {}
    for name, found in trained.items():
        if found.get("adapter"):
            sides[name] = Side(key=name, adapter=Path(found["adapter"]), template=ours.template)
    worker = worker_client.Worker(worker.job, worker.template, {**worker.sides, **sides})
    try:
        worker.wait_ready()
        told = score_sides(ours, remembering(workspace, ours, worker), list(sides.values()), extent)
    finally:
        worker.stop()
    for name, scores in told.items():
        answers = [asdict(one) for one in scores.questions]
        taught = {one["language"] for one in answers if one["kind"] == "identity" and not one["apart"]}
        trained[name]["scores"] = {
            "extent": extent,
            "identity": {one: scores.by_language[one]["tuned"] for one in sorted(taught)},
            "facts": scores.facts,
            "agreement": scores.manner["agreement"],
            "nats": scores.manner["nats"],
            "parrot": scores.parrot["tuned"],
            "leak": scores.leak,
            "verdict": diagnose(scores).verdict,
            "questions": scores.counts,
            "wrong": wrong(answers),
        }
