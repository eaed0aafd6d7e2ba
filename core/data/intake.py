"""A file becomes a dataset: read, converted, checked and written a row at a time, so that a million fit in little memory.

`peek` looks at the beginning; `import_file` does it. A row that cannot be used is noted with its number and reason.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from core.data import storage
from core.data.checks import Finding
from core.data.files import formats
from core.data.files.encoding import showable
from core.data.files.json_records import Unreadable
from core.data.files.placeholders import Fill, placeholders
from core.data.files.shapes import Columns
from core.data.files.source import Source, open_source
from core.data.row import Row
from core.data.storage import Dataset
from core.ground.files import sha256, write_json
from core.ground.text import Text
from core.ground.workspace import Workspace

# Of the rows that cannot be used, so many are kept with their text; the others are counted.
MOST_SKIPPED = 1000
_SHOWN_TEXT = 4000
_EVERY = 2000
Tell = Callable[[float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a file is to be read: its format, which columns hold what, and what stands for placeholders."""

    format: str = "auto"
    columns: Columns | None = None
    fill: Fill = field(default_factory=Fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an import gave: `skipped` are `{row, reason: Text}`, the first thousand; `skipped_count` are all."""

    format: str
    encoding: str | None
    rows: int
    skipped: list[dict[str, Any]]
    skipped_count: int
    problems: list[Finding]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """The beginning of a file: the format found (None: none), its columns, some rows, what is wrong with others.

    `left_out` are the sheets of an Excel file that are not read.
    """

    format: str | None
    encoding: str | None
    columns: list[str]
    guessed: Columns | None
    rows: list[Row]
    skipped: list[dict[str, Any]]
    placeholders: list[str]
    left_out: list[str]


def peek(file: Path, wanted: Wanted | None = None) -> Peek:
    """Look at the first records of a file. Raises BadInput where it cannot be read at all."""
    wanted = wanted or Wanted()
    source = open_source(file)
    head = list(islice(source.records(), formats.LOOKED_AT))
    names, guessed = formats.guessed_columns(head)
    chosen = "qa" if wanted.columns else wanted.format if wanted.format != "auto" else formats.detect(head)
    rows: list[Row] = []
    skipped: list[dict[str, Any]] = []
    if chosen:
        convert = formats.converter(chosen, head, wanted.columns)
        for number, record in enumerate(head, 1):
            row, reason = convert(record)
            if row is None:
                skipped.append({"row": number, "reason": reason})
            else:
                rows.append(row)
    return Peek(
        format=chosen,
        encoding=source.encoding.name if source.encoding else None,
        columns=names,
        guessed=guessed,
        rows=[wanted.fill.row(row) for row in rows] if wanted.fill else rows,
        skipped=skipped,
        placeholders=placeholders(rows),
        left_out=source.table.left_out,
    )


def import_file(
    workspace: Workspace,
    file: Path,
    format_: str = "auto",
    *,
    name: str | None = None,
    wanted: Wanted | None = None,
    tell: Tell | None = None,
    keep: bool = False,
) -> tuple[Dataset, Report]:
    """Make a dataset of a file; `tell(done, seconds left)` is called on the way.

    With `keep`, the file itself is moved into the dataset, so that it can be made again.
    Raises BadInput where nothing in it can be used; then nothing is written.
    """
    wanted = wanted or Wanted(format=format_)
    formats.check_format(wanted.format)
    if name is not None:
        workspace.dataset(name)
    began = time.monotonic()
    source = open_source(file)
    records = source.records()
    head = list(islice(records, formats.LOOKED_AT))
    chosen = formats.chosen_format(source, head, wanted.format, wanted.columns)
    convert = formats.converter(chosen, head, wanted.columns)
    skipped: list[dict[str, Any]] = []
    count = 0
    with storage.making(workspace, name, "imported") as new:
        for number, record in enumerate(chain(head, records), 1):
            row, told = convert(record)
            if row is None:
                count += 1
                if len(skipped) < MOST_SKIPPED:
                    skipped.append({"row": number, "reason": told, "text": _text(record)})
            else:
                new.add(wanted.fill.row(row) if wanted.fill else row, told)
            if tell and number % _EVERY == 0:
                _tell(tell, source, began)
        if new.checks.rows == 0:
            raise formats.none_usable(file, count, skipped[0])
        made = {
            "kind": "import",
            "file": file.name,
            "format": chosen,
            "skipped": count,
            **({"columns": asdict(wanted.columns)} if wanted.columns else {}),
            **({"fill": asdict(wanted.fill)} if wanted.fill else {}),
            "source": f"source/{file.name}" if keep else str(file.absolute()),
            "source_sha256": sha256(file),
        }
        problems = [*new.finish(made), *_of_sheets(source.table.left_out)]
        report = Report(
            format=chosen,
            encoding=source.encoding.name if source.encoding else None,
            rows=new.checks.rows,
            skipped=[{"row": left["row"], "reason": left["reason"]} for left in skipped],
            skipped_count=count,
            problems=problems,
            seconds=round(time.monotonic() - began, 2),
        )
        write_json(
            new.directory / "report.json",
            {
                "format": chosen,
                "encoding": report.encoding,
                "skipped_count": count,
                "skipped": [{**left, "reason": asdict(left["reason"])} for left in skipped],
                "problems": [asdict(problem) for problem in problems],
                "seconds": report.seconds,
            },
        )
        if keep:
            new.take_in(file, file.name)
    return storage.find(workspace, new.made["name"]), report


def stored_report(dataset: Dataset) -> tuple[list[dict[str, Any]], list[Finding] | None]:
    """What the making of a dataset told: the rows that were skipped, and the problems found (None: not kept)."""
    kept = dataset.report()
    if not kept:
        return [], None
    skipped = [{**left, "reason": Text(**left["reason"])} for left in kept["skipped"]]
    problems = [
        Finding(**{**found, "message": Text(**found["message"]), "hint": Text(**found["hint"])})
        for found in kept["problems"]
    ]
    return skipped, problems


def _of_sheets(left_out: list[str]) -> list[Finding]:
    """That sheets of an Excel file were not read."""
    if not left_out:
        return []
    names = [name[:40] for name in left_out[:10]]
    message = Text(
        f"只读了第一个有内容的工作表，没有读：{'、'.join(names)}",
        f"only the first sheet that holds anything was read; not read: {', '.join(names)}",
    )
    hint = Text("要用它们，就各存成一个文件再导入", "to use them, save each as a file of its own and import it")
    return [Finding(kind="sheets", severity="warning", where="rows", message=message, hint=hint)]


def _tell(tell: Tell, source: Source, began: float) -> None:
    done = source.done
    spent = time.monotonic() - began
    tell(done, spent * (1 - done) / done if done > 0.01 else 0.0)


def _text(record: Any) -> str:
    """The text of a record that cannot be used, for the person who mends it."""
    if isinstance(record, Unreadable):
        return showable(record.text[:_SHOWN_TEXT])
    try:
        return showable(json.dumps(record, ensure_ascii=False, default=str)[:_SHOWN_TEXT])
    except (ValueError, RecursionError):
        return ""
