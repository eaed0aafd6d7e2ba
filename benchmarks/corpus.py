"""Continued pre-training of a real model on a book that no model can have read, with the default recipe, and its score.

    python -m benchmarks.corpus train MODEL [--workspace DIR] [--label L] [--quick] [--set k=v …]
    python -m benchmarks.corpus read WORKSPACE RUN [--label L] [--quick]     score an existing run
    python -m benchmarks.corpus table                                        write the table in docs/corpus.md

MODEL is a directory. The book comes from `invented_book`; corpus, config and run are created by the headless commands.
For each label the results contain figures, settings and some answers.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.invented_book import book
from benchmarks.measure import RESULTS, commit, machine, say
from benchmarks.product import PROJECT, Product, between
from core.chat.answered import asked_as
from core.chat.rates import LEAST_FACTS
from core.chat.score import of_checkpoints
from core.config.settings.fields import BY_NAME
from core.engine.config_file import ConfigFile
from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace
from core.training import run as runs

PAGE, RESULT = PROJECT / "docs" / "corpus.md", RESULTS / "corpus.json"
# Target for a book that counts as learned.
AIMED_AT = {"cloze": 0.8, "net": 0.95}
SHOWN = ("lr", "r", "lora_alpha", "max_epochs", "batch_size", "max_length")
SAMPLES, MOST_CHARACTERS = 12, 200
# Every third is printed, of the last run.
STEP = 3


def train(options: argparse.Namespace) -> int:
    """Run everything from the book to the score."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch)
        product = Product(workspace)
        file = Path(scratch) / "book.txt"
        file.write_text(book(), encoding="utf-8")
        model = product("models", "link", str(options.model.resolve()))["name"]
        data = product("datasets", "corpus", str(file), "--model", model, "--keep")
        say(f"corpus: {data['rows']} rows, {data['held_out']} chunks held out")
        more = ["--set", *options.set] if options.set else []
        config = product("configs", "new", "--model", model, "--dataset", data["name"], "--recipe", "pretrain", *more)
        run = product("train", "start", config["name"], "--wait")["run"]
        _keep(workspace, run, options)
    return 0


def read(options: argparse.Namespace) -> int:
    """Score an existing run."""
    _keep(options.workspace, options.run, options)
    return 0


def _keep(workspace: Path, name: str, options: argparse.Namespace) -> None:
    scores = Product(workspace)("chat", "score", name, *(["--quick"] if options.quick else []))
    run = runs.find(Workspace(workspace), name)
    config = ConfigFile(run.config.read_text(encoding="utf-8"))
    told = run.job.progress if run.job else {}
    asked = of_checkpoints(run)[scores["checkpoint"]].questions
    kept = read_json(RESULT) or {}
    kept[options.label or run.facts.model.name] = {
        "machine": machine()["name"],
        "commit": commit(),
        "extent": "quick" if options.quick else "full",
        "bytes": len(book().encode()),
        "held_out": run.facts.dataset.made.get("held_out", 0),
        "settings": {setting: BY_NAME[setting].read(config) for setting in SHOWN},
        "updates": told.get("updates"),
        "seconds": round(run.seconds),
        **{key: value for key, value in scores.items() if key not in ("next_step", "parrot", "leak")},
        "answers": [
            {
                "question": asked_as(one)[-MOST_CHARACTERS:],
                "base": one.base,
                "tuned": one.tuned,
                "right": one.tuned_as_given,
            }
            for kind in ("cloze", "cloze_apart")
            for one in [one for one in asked if one.kind == kind][:SAMPLES]
        ],
    }
    write_json(RESULT, kept)


def table(_: argparse.Namespace) -> int:
    """Write the page's table."""
    between(PAGE, "corpus", "\n".join(lines(read_json(RESULT) or {})))
    return 0


def lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row for each run with its figures after training, their targets, and some answers of the last run."""
    if not kept:
        yield "None was trained yet."
        return
    yield "| run | updates | cloze, trained | held out | perplexity, held out | facts kept | net | agreement | verdict |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    yield f"| aimed at | | ≥ {_percent(AIMED_AT['cloze'])} | | lower | ≥ 95 % | ≥ {_percent(AIMED_AT['net'])} | | |"
    for label, found in kept.items():
        yield f"| {label} | {found['updates']} | {' | '.join(_figures(found))} | {found['diagnosis']} |"
    yield ""
    for label, found in kept.items():
        settings = ", ".join(f"{name} {value}" for name, value in found["settings"].items())
        asked = ", ".join(f"{count} {kind}" for kind, count in found["questions"].items() if count)
        yield f"- **{label}**: {settings}; {found['machine']}; {found['extent']} score; questions: {asked}."
    label, last = list(kept.items())[-1]
    yield f"\n<details><summary>Some cloze questions of {label}</summary>\n"
    yield "| text, and in brackets what stands there | before | after |\n| --- | --- | --- |"
    # First those of trained chunks, then those of held-out ones.
    for one in last["answers"][::STEP]:
        after = _cell(one["tuned"])
        yield f"| {_cell(one['question'])} | {_cell(one['base'])} | {f'**{after}**' if one['right'] else after} |"
    yield "\n</details>"


def _figures(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the cells of a run: shares with their 95 % interval, perplexity before and after."""
    for rate in ("cloze", "cloze_apart"):
        yield f"{_percent(found[rate]['tuned'])} {_span(found['intervals'][rate])}" if rate in found else ""
    read = found.get("perplexity")
    yield (
        f"{read['base']:.1f} → {read['tuned']:.1f} ({read['interval'][0]:.1f} – {read['interval'][1]:.1f})"
        if read
        else ""
    )
    facts, manner = found["facts"], found["manner"]
    enough = facts["base_right"] >= LEAST_FACTS
    yield f"{_percent(facts['kept'])} {_span(found['intervals']['facts'])} of {facts['base_right']}" if enough else ""
    yield _percent(facts["net"]) if enough else ""
    yield _percent(manner["agreement"])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _span(interval: list[float]) -> str:
    return f"({100 * interval[0]:.0f} – {100 * interval[1]:.0f})"


def _cell(text: str) -> str:
    return " ".join(text.split())[:MOST_CHARACTERS].replace("|", "\\|").replace("<", "&lt;").replace("`", "'") or "—"


def main() -> int:
    """Run the requested command; return 0 on success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training, reading = commands.add_parser("train"), commands.add_parser("read")
    training.add_argument("model", type=Path)
    training.add_argument("--workspace", type=Path, help="default: one that is thrown away")
    training.add_argument("--set", nargs="+", default=[], metavar="k=v")
    training.set_defaults(work=train)
    reading.add_argument("workspace", type=Path)
    reading.add_argument("run")
    reading.set_defaults(work=read)
    for one in (training, reading):
        one.add_argument("--label")
        one.add_argument("--quick", action="store_true")
    commands.add_parser("table").set_defaults(work=table)
    options = parser.parse_args()
    return options.work(options)


if __name__ == "__main__":
    raise SystemExit(main())
