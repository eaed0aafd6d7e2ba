"""`datasets …`: make, import, check and measure datasets."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from core.data import assistant, intake, rendering, statistics
from core.data import dataset as datasets
from core.data.assistant import COURSE_N, Assistant
from core.data.formats import FORMATS
from core.data.placeholders import Fill
from core.data.shapes import Columns
from core.demo import progress_writer
from core.engine import model as models
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table, show_progress

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
    """Progress of what takes a while: into the job's file where we are a job, else a line on stderr after two seconds."""
    write, began, last = progress_writer(), time.monotonic(), [0.0]

    def tell(done: float, eta: float) -> None:
        now = time.monotonic()
        if now - last[0] < 0.5:
            return
        last[0] = now
        if write:
            write({"done": done, "note": what, "eta_s": eta})
        elif now - began > QUIET_SECONDS and sys.stderr.isatty():
            show_progress.show(f"{what} {100 * done:.0f} %, {eta:.0f} s left", last=done >= 1)

    return tell


def datasets_assistant(workspace: Workspace, options: Options) -> Answer:
    wanted = Assistant(
        nickname=options.name,
        recipe=options.recipe,
        n=options.n,
        assistant_name=options.assistant_name,
        maker=options.maker,
        language=options.language,
        style=options.style,
        general=options.general,
        repeat=options.repeat,
    )
    return dataset_answer(assistant.make(workspace, wanted, options.out))


def datasets_import(workspace: Workspace, options: Options) -> Answer:
    if bool(options.question) != bool(options.answer):
        raise BadInput("--question 和 --answer 要一起给", "--question and --answer are given together")
    columns = None
    if options.question:
        columns = Columns(question=options.question, answer=options.answer, system=options.system)
    wanted = intake.Wanted(
        format=options.format, columns=columns, fill=Fill(name=options.assistant_name, author=options.author)
    )
    made, report = intake.import_file(
        workspace,
        Path(options.file).expanduser(),
        name=options.out,
        wanted=wanted,
        tell=telling("import"),
        keep=options.keep,
    )
    return {
        **dataset_answer(made),
        "format": report.format,
        "encoding": report.encoding,
        "skipped": [{**left_out, "reason": str(left_out["reason"])} for left_out in report.skipped],
        "skipped_count": report.skipped_count,
        "problems": [problem.to_json() for problem in report.problems],
    }


def datasets_check(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    problems = [problem.to_json() for problem in datasets.check(dataset)]
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
    return {"name": dataset.name, "row": options.row, "template": template, **shown.to_json()}


def datasets_list(workspace: Workspace, _: Options) -> Answer:
    return {"datasets": [dataset_answer(dataset) for dataset in datasets.every(workspace)]}


FILL = (
    (("--assistant-name",), {"default": "", "help": "the assistant's own name, for {{name}}"}),
    (("--author",), {"default": "", "help": "its maker, for {{author}}"}),
)
COMMANDS: Table = {
    "datasets assistant": (
        datasets_assistant,
        [
            (("--name",), {"required": True, "help": "the nickname"}),
            (("--recipe",), {"choices": ("course", "balanced"), "default": "balanced"}),
            (("--n",), {"type": int, "default": COURSE_N}),
            (("--assistant-name",), {"default": "", "help": "the assistant's own name"}),
            (("--maker",), {"default": "", "help": "who made the model"}),
            (("--language",), {"choices": ("zh", "en", "both"), "default": "both"}),
            (("--style",), {"choices": ("course", "formal", "lively"), "default": "course"}),
            (("--general",), {"type": float, "help": "general rows for each identity row; default: all"}),
            (
                ("--repeat",),
                {"type": int, "default": 1, "help": "balanced: how many times each row stands in the file"},
            ),
            OUT,
        ],
    ),
    "datasets import": (
        datasets_import,
        [
            (("file",), {}),
            (("--format",), {"choices": ("auto", *FORMATS), "default": "auto"}),
            (("--question",), {"help": "the column of the question, where it cannot be told from its name"}),
            (("--answer",), {"help": "the column of the answer"}),
            (("--system",), {"help": "the column of the system prompt"}),
            *FILL,
            (("--keep",), {"action": "store_true", "help": "move the file into the dataset"}),
            OUT,
        ],
    ),
    "datasets check": (datasets_check, [(("dataset",), {})]),
    "datasets stats": (
        datasets_stats,
        [
            (("dataset",), {}),
            (("--model",), {"required": True}),
            (("--max-length",), {"type": int, "default": 2048}),
            (("--exact",), {"action": "store_true", "help": "count every row of more than 200,000 too"}),
        ],
    ),
    "datasets render": (
        datasets_render,
        [
            (("dataset",), {}),
            (("--row",), {"type": int, "default": 1}),
            (("--model",), {"required": True}),
            (("--system",), {"default": "", "help": "the system prompt of evaluation and chat"}),
            (("--max-length",), {"type": int, "default": 2048}),
        ],
    ),
    "datasets list": (datasets_list, []),
}
