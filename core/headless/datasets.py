"""`datasets …`: create, check and measure datasets; `import` is in `imports`, `assistant` in `assistant`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from core import replay, teaching
from core.data import corpus, intake, origin, rendering, split, statistics, versions
from core.data import dataset as datasets
from core.data.files.special_tokens import tokens_of
from core.ground.errors import BadInput
from core.ground.figures import duration, share
from core.ground.progress import progress_file, write_progress
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table, show_progress
from core.models import model as models

QUIET_SECONDS = 2.0


def dataset_answer(dataset: datasets.Dataset) -> Answer:
    return {
        "name": dataset.name,
        "path": str(dataset.data),
        "rows": dataset.rows,
        "unique_rows": dataset.unique_rows,
        "sha256": dataset.sha256,
    }


def telling(what: str) -> Callable[[float, float], None]:
    """Return a progress callback: writes the job's file if we are a job, else a line on stderr after two seconds."""
    began, last = time.monotonic(), [0.0]

    def tell(done: float, eta: float) -> None:
        now = time.monotonic()
        if now - last[0] < 0.5:
            return
        last[0] = now
        if progress_file():
            write_progress(done=done, note=what, eta_s=eta)
        elif now - began > QUIET_SECONDS and sys.stderr.isatty():
            show_progress.show(f"{what} {share(done)}, {duration(eta)}", last=done >= 1)

    return tell


def datasets_corpus(workspace: Workspace, options: Options) -> Answer:
    wanted = corpus.Wanted(
        chunk=options.chunk,
        overlap=options.overlap,
        deduplicate=not options.raw,
        boilerplate=not options.raw,
        held_out=options.held_out,
    )
    files = [Path(file).expanduser() for file in options.files]
    model = models.usable(workspace, options.model) if options.model else origin.model_to_teach(workspace)
    asked = model if not options.no_replay and replay.by_default(model) else None
    made, told, problems, why = teaching.make_corpus(
        workspace, files, wanted, asked, options.out, telling("documents"), keep=options.keep
    )
    if why:
        print(why, file=sys.stderr)
        write_progress(done=1.0, note="documents", why=str(why))
    return {
        **dataset_answer(made),
        **told.to_json(),
        "format": "text",
        "answers_of": made.made.get("replay_model"),
        "why": why and str(why),
        "problems": [p.to_json() for p in problems],
    }


def datasets_split(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    train, held_out = split.split(workspace, dataset, options.share, options.seed, options.out)
    return {"train": dataset_answer(train), "held_out": dataset_answer(held_out)}


def datasets_replace(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    count, edits = versions.replaced(dataset, options.find, options.put, options.part)
    if not count:
        raise BadInput(f"{dataset.name} 里没有 {options.find!r}", f"{options.find!r} does not occur in {dataset.name}")
    made = versions.of_edits(workspace, dataset, edits, options.out)
    return {**dataset_answer(made), "changed_rows": count, "made": versions.told(made)}


def datasets_show(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    first = max(1, options.first)
    return {
        **dataset_answer(dataset),
        "made": versions.told(dataset),
        "versions": [version.name for version in versions.lineage(workspace, dataset)],
        "page": dataset.page(first - 1, max(0, min(options.count, 1000))),
    }


def datasets_remake(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    made, same = versions.remake(workspace, dataset, options.out)
    return {**dataset_answer(made), "same": same}


def datasets_check(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    tokens: frozenset[str] = frozenset()
    if options.model:
        template = statistics.template_of(models.usable(workspace, options.model), statistics.is_text(dataset))
        tokens = tokens_of(template) if template else tokens
    problems = [problem.to_json() for problem in datasets.check(dataset, tokens)]
    skipped, _ = intake.stored_report(dataset)
    return {
        **dataset_answer(dataset),
        "format": dataset.made.get("format", "xtuner"),
        "skipped": [{"row": left["row"], "reason": str(left["reason"])} for left in skipped],
        "problems": problems,
    }


def datasets_stats(workspace: Workspace, options: Options) -> Answer:
    dataset, model = datasets.find(workspace, options.dataset), models.usable(workspace, options.model)
    found = statistics.count(workspace, dataset, model, exact=options.exact)
    cut_rows, cut_tokens = found.cut(options.max_length)
    return {
        **dataset_answer(dataset),
        "identity_rows": dataset.identity_rows,
        "tokens": found.to_json(),
        "counted_rows": found.counted,
        "cut": {"max_length": options.max_length, "rows": cut_rows, "tokens": cut_tokens},
    }


def datasets_render(workspace: Workspace, options: Options) -> Answer:
    dataset, model = datasets.find(workspace, options.dataset), models.usable(workspace, options.model)
    if not 1 <= options.row <= dataset.rows:
        raise BadInput(
            f"没有第 {options.row} 行：{dataset.name} 有 {dataset.rows} 行",
            f"there is no row {options.row}: {dataset.name} has {dataset.rows}",
        )
    rows = dataset.page(options.row - 1, 1)
    template = statistics.template_of(model, statistics.is_text(dataset))
    (shown,) = rendering.render(workspace, model, rows, template, system=options.system, max_length=options.max_length)
    return {"name": dataset.name, "row": options.row, "template": template.title if template else "", **shown.to_json()}


def datasets_list(workspace: Workspace, _: Options) -> Answer:
    return {"datasets": [dataset_answer(dataset) for dataset in datasets.every(workspace)]}


COMMANDS: Table = {
    "datasets check": (
        datasets_check,
        [(("dataset",), {}), (("--model",), {"help": "check for its prompt template tokens"})],
    ),
    "datasets stats": (
        datasets_stats,
        [
            (("dataset",), {}),
            (("--model",), {"required": True}),
            (("--max-length",), {"type": int, "default": 2048}),
            (("--exact",), {"action": "store_true", "help": "count every row even above 60,000"}),
        ],
    ),
    "datasets render": (
        datasets_render,
        [
            (("dataset",), {}),
            (("--row",), {"type": int, "default": 1}),
            (("--model",), {"required": True}),
            (("--system",), {"default": "", "help": "the system prompt used in evaluation and chat"}),
            (("--max-length",), {"type": int, "default": 2048}),
        ],
    ),
    "datasets show": (
        datasets_show,
        [(("dataset",), {}), (("--first",), {"type": int, "default": 1}), (("--count",), {"type": int, "default": 10})],
    ),
    "datasets replace": (
        datasets_replace,
        [
            (("dataset",), {}),
            (("--find",), {"required": True}),
            (("--put",), {"required": True}),
            (("--part",), {"choices": ("all", "input", "output", "system"), "default": "all"}),
            OUT,
        ],
    ),
    "datasets split": (
        datasets_split,
        [
            (("dataset",), {}),
            (("--share",), {"type": float, "default": 0.1, "help": "share of unique questions to hold out"}),
            (("--seed",), {"type": int, "default": 0}),
            OUT,
        ],
    ),
    "datasets remake": (datasets_remake, [(("dataset",), {}), OUT]),
    "datasets corpus": (
        datasets_corpus,
        [
            (("files",), {"nargs": "+"}),
            (("--chunk",), {"type": int, "default": 1000, "help": "characters per chunk"}),
            (("--overlap",), {"type": int, "default": 100, "help": "characters repeated from the previous chunk"}),
            (("--raw",), {"action": "store_true", "help": "keep duplicates, headers and footers"}),
            (
                ("--held-out",),
                {
                    "type": float,
                    "default": corpus.HELD_OUT,
                    "metavar": "SHARE",
                    "help": "share of the chunks to hold out from training, for the score (0: none)",
                },
            ),
            (
                ("--model",),
                {
                    "help": "the model to train: its own answers are mixed in, so that it keeps them; default: the newest"
                },
            ),
            (("--no-replay",), {"action": "store_true", "help": "do not mix in a model's own answers"}),
            (("--keep",), {"action": "store_true", "help": "move the files into the dataset"}),
            OUT,
        ],
    ),
    "datasets list": (datasets_list, []),
}
