"""`datasets …`: make, import, check and measure datasets."""

from pathlib import Path

from core.data import checks
from core.data import dataset as datasets
from core.data.assistant import COURSE_N
from core.data.formats import FORMATS
from core.engine import model as models
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table


def dataset_answer(dataset: datasets.Dataset) -> Answer:
    return {
        "name": dataset.name,
        "path": str(dataset.data),
        "rows": dataset.rows,
        "unique_rows": dataset.unique_rows,
        "sha256": dataset.sha256,
    }


def datasets_assistant(workspace: Workspace, options: Options) -> Answer:
    made = datasets.make_assistant(workspace, options.name, options.recipe, n=options.n, name=options.out)
    return dataset_answer(made)


def datasets_import(workspace: Workspace, options: Options) -> Answer:
    made, reading = datasets.import_file(workspace, Path(options.file), options.format, name=options.out)
    problems = [problem.to_json() for problem in checks.check(reading.rows)]
    skipped = [{**left_out, "reason": str(left_out["reason"])} for left_out in reading.skipped]
    return {**dataset_answer(made), "format": reading.format, "skipped": skipped, "problems": problems}


def datasets_check(workspace: Workspace, options: Options) -> Answer:
    dataset = datasets.find(workspace, options.dataset)
    problems = [problem.to_json() for problem in checks.check(dataset.load())]
    return {**dataset_answer(dataset), "format": "xtuner", "skipped": [], "problems": problems}


def datasets_stats(workspace: Workspace, options: Options) -> Answer:
    dataset, model = datasets.find(workspace, options.dataset), models.usable(workspace, options.model)
    return {**dataset_answer(dataset), "tokens": datasets.token_statistics(workspace, dataset, model)}


def datasets_list(workspace: Workspace, _: Options) -> Answer:
    return {"datasets": [dataset_answer(dataset) for dataset in datasets.every(workspace)]}


COMMANDS: Table = {
    "datasets assistant": (
        datasets_assistant,
        [
            (("--name",), {"required": True, "help": "the nickname"}),
            (("--recipe",), {"choices": ("course", "balanced"), "default": "balanced"}),
            (("--n",), {"type": int, "default": COURSE_N}),
            OUT,
        ],
    ),
    "datasets import": (
        datasets_import,
        [(("file",), {}), (("--format",), {"choices": ("auto", *FORMATS), "default": "auto"}), OUT],
    ),
    "datasets check": (datasets_check, [(("dataset",), {})]),
    "datasets stats": (datasets_stats, [(("dataset",), {}), (("--model",), {"required": True})]),
    "datasets list": (datasets_list, []),
}
