"""`datasets import`: a file from elsewhere, with all choices about it."""

from argparse import BooleanOptionalAction
from pathlib import Path

from core.data import intake
from core.data.files.choices import PAUSE_HOURS, Choices
from core.data.files.formats import FORMATS
from core.data.files.placeholders import Fill
from core.data.files.shapes import Columns
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table
from core.headless.datasets import dataset_answer, telling


def datasets_import(workspace: Workspace, options: Options) -> Answer:
    if bool(options.question) != bool(options.answer):
        raise BadInput("--question 和 --answer 要一起给", "--question and --answer must be given together")
    columns = None
    if options.question:
        columns = Columns(question=options.question, answer=options.answer, system=options.system)
    choices = Choices(
        thinking=options.thinking,
        bad=options.bad_answers,
        speaker=options.speaker,
        pause_hours=options.pause_hours,
        mask=options.mask,
        strip=options.strip_tokens,
        sheets=tuple(options.sheet),
    )
    wanted = intake.Wanted(
        format=options.format,
        columns=columns,
        choices=choices,
        fill=Fill(name=options.assistant_name, author=options.author),
    )
    made, report = intake.import_file(
        workspace,
        Path(options.file).expanduser(),
        name=options.out,
        wanted=wanted,
        tell=telling("rows"),
        keep=options.keep,
    )
    return {
        **dataset_answer(made),
        "format": report.format,
        "encoding": report.encoding,
        "skipped": [{**left_out, "reason": str(left_out["reason"])} for left_out in report.skipped],
        "skipped_count": report.skipped_count,
        "unused": made.made.get("unused", {}),
        "problems": [problem.to_json() for problem in report.problems],
    }


FILL = (
    (("--assistant-name",), {"default": "", "help": "the assistant's name, for {{name}}"}),
    (("--author",), {"default": "", "help": "its developer, for {{author}}"}),
)
CHOICES = (
    (
        ("--thinking",),
        {"choices": ("keep", "drop"), "default": "keep", "help": "thinking, as <think>…</think> before the answer"},
    ),
    (("--bad-answers",), {"choices": ("drop", "keep"), "default": "drop", "help": "rows with a false label"}),
    (("--speaker",), {"default": "", "help": "the speaker of a chat log who is the assistant"}),
    (
        ("--pause-hours",),
        {"type": float, "default": PAUSE_HOURS, "help": "hours of silence in a chat log that end a conversation"},
    ),
    (
        ("--mask",),
        {
            "action": BooleanOptionalAction,
            "help": "mask names, numbers and links in a chat log; default: on for chats between people",
        },
    ),
    (
        ("--strip-tokens",),
        {"action": "store_true", "help": "remove prompt template tokens from the start and end of texts"},
    ),
    (("--sheet",), {"action": "append", "default": [], "help": "a sheet of an Excel file; repeat for several"}),
)
COMMANDS: Table = {
    "datasets import": (
        datasets_import,
        [
            (("file",), {}),
            (("--format",), {"choices": ("auto", *FORMATS), "default": "auto"}),
            (("--question",), {"help": "the question column, if its name does not tell"}),
            (("--answer",), {"help": "the answer column"}),
            (("--system",), {"help": "the system prompt column"}),
            *FILL,
            *CHOICES,
            (("--keep",), {"action": "store_true", "help": "move the file into the dataset"}),
            OUT,
        ],
    ),
}
