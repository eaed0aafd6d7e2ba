"""Runs that succeed and fail on purpose, on a real model: the verdict of the score compared with that of a reader.

    python -m benchmarks.verdicts train MODEL --language zh|en [--label L] [--workspace DIR] [--jobs N] [--only CASE …]
    python -m benchmarks.verdicts read LABEL CASE VERDICT      record a reader's verdict on the answers
    python -m benchmarks.verdicts table                        writes the table in docs/identity.md

MODEL is a directory. For each case (`CASES`) the figures, the verdict and some answers are stored as soon as they
exist; existing results are not repeated, so that a few short calls complete everything. Readers' verdicts are kept when
a case is trained again.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, get_args

from benchmarks.measure import RESULTS, machine, say
from benchmarks.product import PROJECT, Product, Unfit, between
from core.chat.diagnosis import Verdict
from core.config.settings.fields import BY_NAME
from core.engine.config_file import ConfigFile
from core.ground.files import read_json, write_json

PAGE = PROJECT / "docs" / "identity.md"
RESULT = RESULTS / "verdicts.json"
MODEL, OTHER = "model", "other"
NICKNAMES = {"zh": "伍鲜同志", "en": "Xiaoming"}
LONG = {"zh": "住在洱海边上那位爱写代码爱喝普洱茶还养了三只大花猫的小明同学", "en": "Bartholomew Montgomery of York"}
# Enough rows for as many updates as the other cases have.
COURSE_N = 67
UPDATES, TOO_FEW = 120, 8
# Samples of each kind in the results, and their length.
SAMPLES, MOST_CHARACTERS = 3, 240
FOREIGN = ("llama3_chat", "qwen_chat")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: its data, what is changed, and which of its checkpoints are scored (the last if none is named)."""

    name: str
    about: str
    data: str = "replay"
    model: str = MODEL
    updates: int = UPDATES
    rate: float = 1.0
    foreign_prompt: bool = False
    checkpoints: tuple[int, ...] = field(default=())


CASES = (
    Case(name="too-few", about=f"{TOO_FEW} updates", updates=TOO_FEW),
    Case(name="ten-times", about="ten times the learning rate", rate=10.0),
    Case(name="course", about="the course's two rows", data="course"),
    Case(name="short", about="our own short answers as general rows", data="short"),
    Case(name="replay", about="the model's own answers as general rows", checkpoints=(20, 40, 80, 120)),
    Case(name="prompt", about="another prompt than the model's own", foreign_prompt=True),
    Case(name="base", about="trained on other weights of the same shape", model=OTHER),
    Case(name="long-name", about="a nickname of 30 characters", data="long"),
)


def prepare(workspace: Path, model: Path, language: str) -> None:
    """Create the workspace with both models and all data from which each case starts; existing parts are kept."""
    product = Product(workspace)
    if not (workspace / "models" / MODEL).exists():
        product("models", "link", str(model), "--name", MODEL)
    if not (workspace / "models" / OTHER).exists():
        product("models", "link", str(exchanged(model, workspace / "given" / OTHER)), "--name", OTHER)
    there = {one["name"] for one in product("datasets", "list")["datasets"]}
    if "replay" not in there:
        say("the model's own answers")
        say(f"  {product('datasets', 'replay', '--model', MODEL)}")
    made = {
        "short": ["--name", NICKNAMES[language], "--no-replay"],
        "course": ["--name", NICKNAMES[language], "--recipe", "course", "--n", str(COURSE_N)],
        "long": ["--name", LONG[language], "--replay", MODEL],
        "replay": ["--name", NICKNAMES[language], "--replay", MODEL],
    }
    for name, words in made.items():
        if name not in there:
            words = [*words, "--model", MODEL, "--language", language, "--out", name]
            say(f"  {product('datasets', 'assistant', *words)['rows']} rows: {name}")


def exchanged(model: Path, out: Path) -> Path:
    """Copy the model with two layers swapped: other weights of the same shape. Raises Unfit for shards."""
    weights = model / "model.safetensors"
    if not weights.is_file():
        raise Unfit(f"{model} has no model.safetensors")
    out.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if file.is_file() and file.name != weights.name:
            shutil.copyfile(file, out / file.name)
    # Last, so that an interrupted copy is not taken for a complete one.
    partial = out / "weights.partial"
    shutil.copyfile(weights, partial)
    layers = json.loads((model / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
    one, two = (f".layers.{number}." for number in (layers // 3, 2 * layers // 3))
    with partial.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        moved = {name: name.replace(one, two) if one in name else name.replace(two, one) for name in header}
        header = {moved[name]: value for name, value in header.items()}
        written = json.dumps(header, separators=(",", ":")).encode()
        if len(written) > length:
            raise Unfit(f"the header of {weights} has no room")
        file.seek(8)
        file.write(written.ljust(length))
    partial.replace(out / weights.name)
    return out


def go(case: Case, product: Product, told: Callable[[str], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train a case in its own workspace and score it; yields each result with its name."""
    workspace = product.workspace
    runs = [run["run"] for run in product("train", "list")["runs"] if run["status"] == "FINISHED"]
    if runs:
        run = runs[0]
    else:
        config = configured(case, product)
        told("trains")
        run = product("train", "start", config, "--no-early-stop", "--wait")["run"]
    accumulated = BY_NAME["accumulative_counts"].read(
        ConfigFile((workspace / "runs" / run / "config.py").read_text("utf-8"))
    )
    if case.model != MODEL:
        # As if an adapter were used on a base model other than its own.
        place = workspace / "models" / case.model
        own = (workspace / "models" / MODEL).readlink()
        place.unlink()
        place.symlink_to(own, target_is_directory=True)
    for step in case.checkpoints or (None,):
        told("scores" if step is None else f"scores iter_{step}")
        found = product("chat", "score", run, *(["--checkpoint", f"iter_{step}"] if step else []))
        name = case.name if step is None else f"{case.name}-{step}"
        questions = read_json(workspace / "runs" / run / "scores" / f"{found['checkpoint']}.json")["questions"]
        updates = int(found["checkpoint"].rpartition("_")[2]) // accumulated
        yield name, {**found, "about": case.about, "updates": updates, "answers": samples(questions)}


def configured(case: Case, product: Product) -> str:
    """Create the config of a case: the recipe `fast` with the case's changes."""
    name = case.name
    product("configs", "new", "--model", case.model, "--dataset", case.data, "--recipe", "fast", "--out", name)
    file = ConfigFile((product.workspace / "configs" / name / "config.py").read_text(encoding="utf-8"))
    rate, batch = BY_NAME["lr"].read(file), BY_NAME["batch_size"].read(file)
    rows = next(one["rows"] for one in product("datasets", "list")["datasets"] if one["name"] == case.data)
    an_epoch = math.ceil(rows / batch)
    # A few more updates than needed, since epochs are complete.
    epochs = 1 if case.updates < an_epoch else math.ceil(case.updates / an_epoch)
    settings = {
        "lr": rate * case.rate,
        "max_epochs": epochs,
        # At least two iterations: with fewer nothing is learned.
        "warmup_ratio": max(0.03, 2.2 / (epochs * an_epoch)),
        "accumulative_counts": max(1, an_epoch // case.updates),
        "save_steps": 20 if case.checkpoints else 10_000,
        "save_total_limit": -1,
        "evaluation_freq": 10_000,
    }
    if case.foreign_prompt:
        own = product("models", "check", MODEL)["prompt_template"]["name"]
        settings["prompt_template"] = next(prompt for prompt in FOREIGN if prompt != own)
    product("configs", "set", name, *(f"{key}={value}" for key, value in settings.items()))
    return name


def samples(questions: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a few answers of each kind, wrong ones first, for a reader to judge."""
    kinds = {
        "identity": lambda q: q["tuned_identity"],
        "fact": lambda q: q["still_right"] and not q["leaked"],
        "general": lambda q: not q["tuned_identity"],
    }
    found = []
    for kind, fine in kinds.items():
        asked = [q for q in questions if q["kind"] == kind and q["base_right"] and not q["apart"]]
        wrong = [q for q in asked if not fine(q)]
        # At most half of them, unless most answers are wrong: the sample should resemble the majority.
        chosen = wrong[: SAMPLES // 2 + (len(wrong) > len(asked) / 2)]
        chosen += [q for q in asked if q not in chosen][: SAMPLES - len(chosen)]
        keys = ("kind", "question", "base", "tuned")
        found += [{key: q[key][:MOST_CHARACTERS] for key in keys} for q in chosen]
    return found


def train(options: argparse.Namespace) -> int:
    """Run the cases, several at a time; return how many did not complete."""
    model, label = options.model.resolve(), options.label or options.model.resolve().name
    cases = [case for case in CASES if not options.only or case.name in options.only]
    kept, lock = read_json(options.results) or {}, Lock()
    mine = kept.setdefault(label, {"language": options.language, "machine": machine()["name"], "cases": {}})["cases"]
    names = {case.name: [f"{case.name}-{step}" for step in case.checkpoints] or [case.name] for case in cases}
    missing = [case for case in cases if not all(name in mine for name in names[case.name])]
    given = contextlib.nullcontext(options.workspace) if options.workspace else tempfile.TemporaryDirectory()
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // options.jobs))} if options.jobs > 1 else {}
    with given as directory:
        root = Path(directory).absolute()
        if missing:
            prepare(root / "given", model, options.language)

        def one(case: Case) -> int:
            place = root / case.name
            if not place.exists():
                partial = root / f"{case.name}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                # The models remain links to the originals.
                shutil.copytree(root / "given", partial, symlinks=True, ignore=shutil.ignore_patterns("given", "jobs"))
                partial.replace(place)
            try:
                for name, result in go(case, Product(place, threads), lambda what: say(f"{case.name}: {what}")):
                    with lock:
                        read_as = mine.get(name, {}).get("read_as")
                        mine[name] = {**result, "read_as": read_as}
                        write_json(options.results, kept)
                    say(f"{name}: {result['verdict']}")
            except (Unfit, OSError, KeyError) as error:
                say(f"{case.name}: {type(error).__name__}: {error}")
                return 1
            return 0

        with ThreadPoolExecutor(options.jobs) as pool:
            return sum(pool.map(one, missing))


def read(options: argparse.Namespace) -> int:
    """Record a reader's verdict on a case."""
    kept = read_json(options.results) or {}
    if options.case not in kept.get(options.label, {}).get("cases", {}):
        say(f"there is no {options.case} of {options.label}")
        return 2
    kept[options.label]["cases"][options.case]["read_as"] = options.verdict
    write_json(options.results, kept)
    return 0


def table(options: argparse.Namespace) -> int:
    """Write the page's table."""
    between(PAGE, "verdicts", "\n".join(lines(read_json(options.results) or {})))
    return 0


def lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of all models, followed by some answers of each run."""
    yield "| model | training | updates | identity | facts kept | lost, gained | agreement | nats | parrot | leak | verdict | read as |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |"
    for label, model in kept.items():
        for name in _in_order(model["cases"]):
            yield _line(label, model["cases"][name])
    yield ""
    for label, model in kept.items():
        yield f"<details><summary>Some answers of {label} ({model['language']}, {model['machine']})</summary>\n"
        for name in _in_order(model["cases"]):
            found = model["cases"][name]
            yield f"**{found['about']}, {found['updates']} updates** ({_plain(found['verdict'])})\n"
            yield "| question | base | trained |\n| --- | --- | --- |"
            for answer in found["answers"]:
                yield f"| {_cell(answer['question'])} | {_cell(answer['base'])} | {_cell(answer['tuned'])} |"
            yield ""
        yield "</details>\n"


def _line(label: str, found: Mapping[str, Any]) -> str:
    kept, manner, right = found["facts"]["kept"], found["manner"], found["facts"]["base_right"]
    read_as = found.get("read_as")
    cells = [
        label,
        found["about"],
        str(found["updates"]),
        _percent(found["identity"]["tuned"], found["intervals"].get("identity")),
        "too few known" if kept is None else f"{_percent(kept, found['intervals'].get('facts'))} of {right}",
        "" if kept is None else f"{round(right * (1 - kept))}, {found['facts']['gained']}",
        _percent(manner["agreement"], found["intervals"].get("manner")),
        "" if manner["nats"] is None else f"{manner['nats']:+.2f}",
        _percent(found["parrot"]["tuned"], found["intervals"].get("parrot")),
        _percent(found["leak"], found["intervals"].get("leak")),
        _plain(found["verdict"]),
        "" if read_as is None else _plain(read_as) if read_as == found["verdict"] else f"**{_plain(read_as)}**",
    ]
    return "| " + " | ".join(cells) + " |"


def _in_order(cases: Mapping[str, Any]) -> list[str]:
    order = [case.name for case in CASES]

    def place(name: str) -> tuple[int, int]:
        stem, _, step = name.rpartition("-")
        return (order.index(stem), int(step)) if step.isdigit() else (order.index(name), 0)

    return sorted(cases, key=place)


def _percent(share: float | None, interval: Sequence[float] | None) -> str:
    if share is None:
        return ""
    low_high = f" ({100 * interval[0]:.0f} – {100 * interval[1]:.0f})" if interval else ""
    return f"{100 * share:.0f} %{low_high}"


def _plain(verdict: str) -> str:
    return verdict.replace("_", " ")


def _cell(text: str) -> str:
    """Escape a text for a table cell."""
    return " ".join(text.split())[:160].replace("|", "\\|").replace("<", "&lt;").replace("`", "'") or "—"


def main() -> int:
    """Run the requested command; return 0 on success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULT)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("model", type=Path)
    training.add_argument("--language", choices=("zh", "en"), required=True)
    training.add_argument("--label", help="default: the directory's name")
    training.add_argument("--workspace", type=Path, help="default: one that is thrown away")
    training.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    training.add_argument("--only", nargs="+", choices=[case.name for case in CASES], metavar="CASE")
    training.set_defaults(work=train)
    reading = commands.add_parser("read")
    reading.add_argument("label")
    reading.add_argument("case")
    reading.add_argument("verdict", choices=get_args(Verdict))
    reading.set_defaults(work=read)
    commands.add_parser("table").set_defaults(work=table)
    options = parser.parse_args()
    return options.work(options)


if __name__ == "__main__":
    raise SystemExit(main())
