"""Imports a file as a dataset: reads, converts, checks and writes row by row, so that a million rows need little
memory. `peek` previews the beginning; `import_file` imports. Unusable rows are reported with number and reason.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from core.data import storage
from core.data.blocks import Item, OtherEncoding, lines_in_blocks, looked_at
from core.data.checks import Checks, Finding
from core.data.files import chatlog, formats
from core.data.files.choices import Choices
from core.data.files.json_records import Unreadable
from core.data.files.notes import Notes, not_read
from core.data.files.placeholders import Fill, placeholders
from core.data.files.shapes import Columns
from core.data.files.source import Source, open_source
from core.data.files.tables import Table
from core.data.read_ahead import Hashing, is_worth_it, read_ahead
from core.data.row import Row
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.text import Text
from core.ground.workspace import Workspace

# The number of unusable rows kept with their text; the others are only counted.
MOST_SKIPPED = 1000
_EVERY = 2000
Tell = Callable[[float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How to read a file: its format, the role of each column, and the handling of fields and placeholders."""

    format: str = "auto"
    columns: Columns | None = None
    choices: Choices = field(default_factory=Choices)
    fill: Fill = field(default_factory=Fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an import. `skipped` are `{row, reason: Text}`, the first thousand; `skipped_count` counts all."""

    format: str
    encoding: str | None
    rows: int
    skipped: list[dict[str, Any]]
    skipped_count: int
    problems: list[Finding]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """The beginning of a file: its format (None: unknown), columns, some rows, and problems of others.

    `guessed` was inferred from the names of the columns if `sure`, else from their order. `problems` are notices about
    the records read. `speakers` are those of a chat log, or roles not recognized, with their counts; `speaker` is the
    one who answers in `rows`. `sheets` are those of an Excel file, `left_out` what is not read.
    """

    format: str | None
    encoding: str | None
    columns: list[str]
    guessed: Columns | None
    sure: bool
    rows: list[Row]
    skipped: list[dict[str, Any]]
    placeholders: list[str]
    left_out: list[str]
    sheets: list[str] = field(default_factory=list)
    speakers: list[tuple[str, int]] = field(default_factory=list)
    speaker: str | None = None
    problems: list[Finding] = field(default_factory=list)


def peek(file: Path, wanted: Wanted | None = None) -> Peek:
    """Preview the first records of a file. Raises BadInput if it cannot be read at all."""
    wanted = wanted or Wanted()
    source = open_source(file, wanted.choices.sheets)
    records = source.records(wanted.format)
    head = list(islice(records, formats.LOOKED_AT))
    names, guessed = formats.guessed_columns(head)
    chosen = "qa" if wanted.columns else wanted.format if wanted.format != "auto" else formats.detect(head)
    rows: list[Row] = []
    skipped: list[dict[str, Any]] = []
    notes, choices, speakers = Notes(), wanted.choices, []
    if chosen == "log":
        first, _ = formats.log_of(head, islice(records, formats.LOOKED_AT_MESSAGES))
        speakers = chatlog.speakers(first)
        choices = replace(choices, speaker=choices.speaker or chatlog.guessed_speaker(first) or "")
        found = formats.log_results(first, choices.speaker, choices, notes)
    elif chosen:
        found = formats.results(chosen, head, (), choices, notes, columns=wanted.columns)
    else:
        found = ((n, left, None, left.reason) for n, left in enumerate(head, 1) if isinstance(left, Unreadable))
    for number, _, row, reason in found:
        if row is None:
            skipped.append({"row": number, "reason": reason})
        else:
            rows.append(row)
    _note_table(source.table, notes)
    return Peek(
        format=chosen,
        encoding=source.encoding.name if source.encoding else None,
        columns=names,
        guessed=guessed,
        sure=formats.names_tell(names),
        rows=[wanted.fill.row(row) for row in rows] if wanted.fill else rows,
        skipped=skipped,
        placeholders=placeholders(rows),
        left_out=source.table.left_out,
        sheets=source.table.sheets,
        speakers=speakers or notes.speakers.most_common(20),
        speaker=choices.speaker or None,
        problems=[*notes.findings(), *_tokens_in(rows)],
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
    """Create a dataset from a file; `tell(done, seconds left)` is called regularly.

    With `keep`, the file itself is moved into the dataset, so that the dataset can be recreated. Raises BadInput if
    nothing in the file is usable; nothing is written in that case.
    """
    wanted = wanted or Wanted(format=format_)
    formats.check_format(wanted.format)
    if name is not None:
        workspace.dataset(name)
    began, loss, whole = time.monotonic(), False, False
    while True:
        try:
            return _import(workspace, file, wanted, name, tell, keep, began, loss=loss, whole=whole)
        except formats.LateLoss:
            loss = True
        except OtherEncoding:
            if whole:
                raise
            whole = True


def _import(
    workspace: Workspace,
    file: Path,
    wanted: Wanted,
    name: str | None,
    tell: Tell | None,
    keep: bool,
    began: float,
    *,
    loss: bool,
    whole: bool,
) -> tuple[Dataset, Report]:
    source = open_source(file, wanted.choices.sheets, whole=whole)
    records = source.records(wanted.format)
    sure = source.encoding is None or source.encoding.sure
    try:
        head = list(islice(records, formats.LOOKED_AT))
        chosen = formats.chosen_format(source, head, wanted.format, wanted.columns)
    except (UnicodeDecodeError, BadInput) as error:
        # The rest of the file may show that it is not UTF-8; that must be reported, not this error.
        if sure:
            raise
        raise OtherEncoding from error
    shared = source.by_lines and chosen not in ("log", "dialogue") and is_worth_it(source.size)
    if not (sure or shared):
        raise OtherEncoding
    notes, choices = Notes(), wanted.choices
    if chosen == "log":
        first, messages = formats.log_of(head, records)
        choices = replace(choices, speaker=formats.speaker_of(file, first, choices))
        found = formats.log_results(messages, choices.speaker, choices, notes)
    else:
        found = formats.results(chosen, head, records, choices, notes, columns=wanted.columns, loss=loss)
    if shared:
        loss = loss or formats.says_loss(head)

        def convert(records: Iterator[Any], notes: Notes) -> Iterator[Item]:
            found = formats.results(chosen, [], records, choices, notes, columns=wanted.columns, loss=loss)
            return looked_at(found, wanted.fill)

        found = lines_in_blocks(source, convert, notes)
    elif not (source.encoding and is_worth_it(source.size)):
        found = looked_at(found, wanted.fill, with_rows=True)
    else:

        def take(reached: tuple[Notes, Table, float]) -> None:
            nonlocal notes
            notes, source.table, source.ahead = reached

        found = read_ahead(looked_at(found, wanted.fill), lambda: (notes, source.table, source.done), take)
    skipped: list[dict[str, Any]] = []
    count = 0
    with storage.making(workspace, name, "imported") as new, closing(found), Hashing(file) as hashing:
        for number, text, looked, told, row in found:
            if looked is None:
                count += 1
                if len(skipped) < MOST_SKIPPED:
                    skipped.append({"row": number, "reason": told, "text": text})
            else:
                new.take(text, looked, told, row)
            if number == 1:
                # Only after the other processes were forked: they would inherit locks held by this thread.
                hashing.begin()
            if tell and number % _EVERY == 0:
                _tell(tell, source, began)
        if new.checks.rows == 0:
            raise formats.none_usable(file, count, (skipped[0]["row"], skipped[0]["reason"]) if skipped else None)
        _note_table(source.table, notes)
        made = {
            "kind": "import",
            "file": file.name,
            "format": chosen,
            "skipped": count,
            **({"columns": asdict(wanted.columns)} if wanted.columns else {}),
            **({"fill": asdict(wanted.fill)} if wanted.fill else {}),
            **({"choices": choices.facts()} if choices.facts() else {}),
            **{fact: value for fact, value in notes.facts().items() if value},
            "source": f"source/{file.name}" if keep else str(file.absolute()),
            "source_sha256": hashing.result(),
        }
        problems = [*new.finish(made), *notes.findings(), *not_read(source.table.left_out)]
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
    """Return the skipped rows and the problems that creating a dataset reported (None: not recorded)."""
    kept = dataset.report()
    if not kept:
        return [], None
    skipped = [{**left, "reason": Text(**left["reason"])} for left in kept["skipped"]]
    problems = [
        Finding(**{**found, "message": Text(**found["message"]), "hint": Text(**found["hint"])})
        for found in kept["problems"]
    ]
    return skipped, problems


def _note_table(table: Table, notes: Notes) -> None:
    """Add notices about the layout of a table."""
    notes.number = 0
    if table.header > 1:
        notes.note("header", table.header)
    if table.no_header:
        notes.note("no_header")
    if table.merged:
        notes.note("merged", table.merged)


def _tokens_in(rows: list[Row]) -> list[Finding]:
    """Find template tokens in the first rows."""
    checks = Checks()
    for row in rows:
        checks.add(row)
    return [finding for finding in checks.findings() if finding.kind.startswith("token")]


def _tell(tell: Tell, source: Source, began: float) -> None:
    done = source.done
    spent = time.monotonic() - began
    tell(done, spent * (1 - done) / done if done > 0.01 else 0.0)
