"""The entire workflow with tiny models of many families: training, chat and published model use the same prompt text.

    python -m benchmarks.models [NAME…] [--workspace DIR]

Each model goes through the headless commands from link to package, on the CPU. The weights are random, so answers mean
nothing and prompt texts everything. Writes the table in docs/models.md; models that are not named keep their line.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import say
from benchmarks.product import PROJECT, Product, Unfit, between
from benchmarks.tiny_models import MAKES
from core.models.chat_template import Exchange, read, render

PAGE = PROJECT / "docs" / "models.md"
MARKER = "models"
ITERATIONS = 20
QUESTION = "你是谁？"
# One row per iteration.
SETTINGS = {
    "max_epochs": 1, "batch_size": 1, "accumulative_counts": 1, "pack_to_max_length": False, "max_length": 256, "warmup_ratio": 0.1,
    "save_steps": ITERATIONS, "evaluation_freq": ITERATIONS,
}  # fmt: skip
DATASET = "models-dataset"


@dataclass(kw_only=True)
class Way:
    """The workflow of one model: the result of each step, and where it stopped if it did not complete."""

    name: str
    architecture: str = ""
    prompt: str = ""
    trainable: bool = True
    texts: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    wrong: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the result is as expected: completed with a single text, or refused for lack of the model's code."""
        if MAKES[self.name].code:
            return not self.trainable
        return self.trainable and not self.wrong and len(set(self.texts.values())) == 1


def build(names: list[str], out: Path) -> None:
    """Create the models as directories, in one process that loads torch once."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not (out / name / "tokenizer_config.json").exists()]
    if missing:
        words = [sys.executable, "-m", "benchmarks.tiny_models", str(out), *missing]
        subprocess.run(words, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


def go(product: Product, name: str, directory: Path, told: Callable[[str], None] = say) -> Way:
    """Run the entire workflow with one model."""
    way, began = Way(name=name), time.monotonic()
    try:
        for step, work in steps(product, way, directory):
            told(f"{name}: {step}")
            work()
            way.done.append(step)
            if not way.trainable:
                break
    except (Unfit, KeyError, TypeError, OSError) as error:
        way.wrong = f"{type(error).__name__}: {error}" if not isinstance(error, Unfit) else str(error)
        told(f"  {way.wrong}")
    way.seconds = time.monotonic() - began
    return way


def steps(product: Product, way: Way, directory: Path) -> list[tuple[str, Callable[[], None]]]:
    """Return the steps of a workflow by name."""
    name, config = way.name, f"c-{way.name}"
    run = ""

    def link() -> None:
        try:
            found = product("models", "link", str(directory), "--name", name)
        except Unfit as error:
            if not (code := MAKES[name].code):
                raise
            # Like the real models if downloaded without their code.
            way.architecture, way.trainable, way.texts["why"] = code[0], False, str(error)
            return
        way.architecture, way.trainable = found["architecture"] or "?", found["trainable"]
        template = found["prompt_template"]
        way.prompt = template["name"] or repr(template["instruction"])
        if not way.trainable:
            errors = [problem for problem in found["problems"] if problem["severity"] == "error"]
            way.texts["why"] = errors[0]["message"] if errors else "?"

    def dataset() -> None:
        if (product.workspace / "datasets" / DATASET).exists():
            return
        said = [("你是谁？", "我是小明的小助手。"), ("Who are you?", "I am Xiaoming's assistant.\n")]
        said += [(f"{n} + {{{n}}} = ?\n", f" {n * 2}, 100% <b>") for n in range(ITERATIONS - len(said))]
        rows = [{"conversation": [{"input": question, "output": answer}]} for question, answer in said]
        file = product.workspace / "rows.json"
        file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        product("datasets", "import", str(file), "--out", DATASET)

    def configs() -> None:
        settings = [f"{key}={value}" for key, value in SETTINGS.items()]
        words = ["--model", name, "--dataset", DATASET, "--recipe", "fast", "--out", config]
        unproblematic(product("configs", "new", *words, "--set", *settings))

    def preflight() -> None:
        unproblematic(product("configs", "preflight", config))

    def train() -> None:
        nonlocal run
        state = product("train", "start", config, "--wait")
        run = state["run"]
        if state["status"] != "FINISHED" or state["iter"] != ITERATIONS:
            raise Unfit(f"train: {state['status']} at iteration {state['iter']}: {state['reason']}")

    def export() -> None:
        found = product("export", "all", run)
        if not found["ok"] or found["prompt"] != {"rendered_equal": True, "answers_equal": True}:
            raise Unfit(f"export: {found['verdict']}: {'; '.join(found['causes'])[:300]}")

    def ask() -> None:
        way.texts["asked"] = product("chat", "ask", "--run", run, "--prompt", QUESTION, "--max-new-tokens", "8")[
            "tuned"
        ]["prompt"]

    def package() -> None:
        place = product.workspace / "runs" / run / "package"
        product("publish", "package", run, "--target", "huggingface", "--out", str(place))
        start, way.texts["published"] = published(place, way.texts["asked"])
        way.texts["trained"] = trained(product.workspace, run, place, start, way.texts["asked"])

    return [
        ("link", link),
        ("dataset", dataset),
        ("config", configs),
        ("preflight", preflight),
        (f"{ITERATIONS} iterations", train),
        ("convert, merge, verify", export),
        ("chat", ask),
        ("package", package),
    ]


def unproblematic(found: dict[str, Any]) -> None:
    """Raise Unfit for the first error among the problems of an answer."""
    errors = [problem["message"] for problem in found["problems"] if problem["severity"] == "error"]
    if errors:
        raise Unfit(errors[0][:300])


def published(package: Path, asked: str) -> tuple[str, str]:
    """Render the question with the package's own chat template: return what it begins with, and the text after that."""
    (found,) = render(read(package), [Exchange(turns=[(QUESTION, None)])])
    if found.text is None:
        raise Unfit(f"the published chat template fails: {found.error}")
    start = found.text.removesuffix(asked)
    # BOS and the like, which XTuner adds as tokens, and the space that belongs to a token after them.
    known = re.compile("|".join(map(re.escape, sorted(read(package).tokens, key=len, reverse=True))))
    return (start, asked) if not known.sub("", start).strip() and found.text.endswith(asked) else ("", found.text)


def trained(workspace: Path, run: str, package: Path, start: str, asked: str) -> str:
    """Return the question as wrapped in training: `asked` if the first row that XTuner logs begins as published."""
    logs = sorted((workspace / "runs" / run / "work_dir").glob("*/*.log"))
    shown = logs[0].read_text(encoding="utf-8").partition("train example:")[2].partition("INFO - ")[2]
    rows = json.loads((workspace / "datasets" / DATASET / "data.json").read_text(encoding="utf-8"))
    questions = {row["conversation"][0]["input"] for row in rows}
    texts = render(read(package), [Exchange(turns=[(question, None)]) for question in questions])
    if any(one.text and shown.startswith(one.text) for one in texts):
        return asked
    return shown[: len(start) + len(asked) + 40]


def line(way: Way) -> str:
    """Return a model's line of the table."""
    if not way.trainable:
        cells = [way.name, way.architecture, f"`{way.prompt}`" if way.prompt else "", "told before: not trainable"]
        cells.append(way.texts["why"])
    elif way.wrong:
        cells = [way.name, way.architecture, f"`{way.prompt}`", f"**stops** after {way.done[-1] if way.done else '-'}"]
        cells.append(way.wrong)
    elif not way.good:
        cells = [way.name, way.architecture, f"`{way.prompt}`", "**texts differ**"]
        cells.append("; ".join(f"{stage}: `{text!r}`" for stage, text in way.texts.items()))
    else:
        cells = [way.name, way.architecture, f"`{way.prompt}`", "all the way", f"one text: `{way.texts['asked']!r}`"]
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split("\n")) for cell in cells) + " |"


def write(ways: list[Way]) -> None:
    """Replace the lines of these models on the page."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {MARKER}: begin -->\n")
    old = rest.partition(f"<!-- {MARKER}: end -->\n")[0]
    lines = {found[1]: one for one in old.splitlines() if (found := re.match(r"\| ([^ |]+) \|", one))}
    lines |= {way.name: line(way) for way in ways}
    table = [
        "| model | architecture | prompt | how far | trained, asked, published |",
        "| --- | --- | --- | --- | --- |",
        *(lines[name] for name in MAKES if name in lines),
    ]
    between(PAGE, MARKER, "\n".join(table))


def main() -> int:
    """Run all workflows, or those of the named models; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MAKES)}; all without one")
    parser.add_argument("--workspace", type=Path, help="default: one that is thrown away")
    options = parser.parse_args()
    names = options.names or list(MAKES)
    if unknown := [name for name in names if name not in MAKES]:
        parser.error(f"there is no model {unknown[0]}: one of {', '.join(MAKES)}")
    given = contextlib.nullcontext(str(options.workspace)) if options.workspace else tempfile.TemporaryDirectory()
    with given as directory:
        workspace = Path(directory).absolute()
        build(names, workspace / "given")
        bad = 0
        for name in names:
            way = go(Product(workspace), name, workspace / "given" / name)
            bad += not way.good
            write([way])
            say(f"  {line(way)}  ({way.seconds:.0f} s)")
    return bad


if __name__ == "__main__":
    raise SystemExit(main())
