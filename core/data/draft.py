"""Edits of a dataset that are not yet a version: each kept on disk the moment it is made, and each undone again.

`drafts/<dataset>.jsonl` has one edit a line. A row is known by its number in the dataset (from 1), an added one by a
negative number. Shows the edited rows; making a version of them is for `versions`.
"""

import bisect
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.data.checks import CONTROL
from core.data.messages import Row, problem
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.text import Text
from core.ground.workspace import Workspace

Part = Literal["all", "input", "output", "system"]
_PARTS = ("system", "input", "output")


@dataclass(slots=True)
class Draft:
    """The edits of one dataset in their order, and what they come to."""

    dataset: Dataset
    path: Path
    edits: list[dict[str, Any]] = field(default_factory=list)
    _of_row: dict[int, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    _of_all: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _deleted: list[int] = field(default_factory=list)
    _added: list[int] = field(default_factory=list)

    @classmethod
    def open(cls, workspace: Workspace, dataset: Dataset) -> "Draft":
        """The draft of a dataset; empty where nothing was edited."""
        draft = cls(dataset, workspace.drafts / f"{dataset.name}.jsonl")
        try:
            lines = draft.path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            lines = []
        # A line that was cut off when the machine went down is no edit.
        draft.edits = [edit for line in lines if line.strip() and (edit := _edit(line)) is not None]
        draft._sort()
        return draft

    def __len__(self) -> int:
        return len(self.edits)

    @property
    def rows(self) -> int:
        """How many rows the edited dataset has."""
        return self.dataset.rows - len(self._deleted) + len(self._added)

    @property
    def stamp(self) -> str:
        """Changes with every edit."""
        return f"{self.dataset.sha256}-{len(self.edits)}-{hash(json.dumps(self.edits[-1:]))}"

    def page(self, first: int, count: int) -> list[tuple[int, Row]]:
        """`count` of the edited rows from the place `first` on (0 is the first), each with its number."""
        found: list[tuple[int, Row]] = []
        kept = self.dataset.rows - len(self._deleted)
        if first < kept:
            number = self._number_at(first)
            for row in self.dataset.each(number - 1):
                if not self._is_deleted(number):
                    found.append((number, self._edited(number, row)))
                    if len(found) == count:
                        return found
                number += 1
        for number in self._added[max(0, first - kept) :][: count - len(found)]:
            found.append((number, self._edited(number, None)))
        return found

    def each(self) -> Iterator[tuple[int, Row]]:
        """All the edited rows, each with its number."""
        for number, row in enumerate(self.dataset.each(), 1):
            if not self._is_deleted(number):
                yield number, self._edited(number, row)
        for number in self._added:
            yield number, self._edited(number, None)

    def place_of(self, number: int) -> int | None:
        """The place of a row among the edited ones, from 0; None where it was deleted."""
        if number < 0:
            kept = self.dataset.rows - len(self._deleted)
            return kept + self._added.index(number) if number in self._added else None
        return None if self._is_deleted(number) else number - 1 - bisect.bisect_left(self._deleted, number)

    def row(self, number: int) -> Row:
        """One edited row. Raises BadInput where there is none of that number."""
        place = self.place_of(number)
        if place is None or not 0 <= place < self.rows:
            raise BadInput(f"没有第 {number} 行", f"there is no row {number}")
        return self.page(place, 1)[0][1]

    def set(self, number: int, row: Row) -> None:
        """Put `row` in the place of another; one that cannot be trained on yet is kept too, and told at the end."""
        if self.row(number) != row:
            self._note({"edit": "set", "row": number, "value": row})

    def add(self, row: Row) -> int:
        """Add a row at the end; its number."""
        number = -1 - sum(edit["edit"] == "add" for edit in self.edits)
        self._note({"edit": "add", "row": number, "value": row})
        return number

    def delete(self, numbers: list[int]) -> None:
        """Take rows out."""
        there = [number for number in numbers if self.place_of(number) is not None]
        if there:
            self._note({"edit": "delete", "rows": there})

    def replace(self, find: str, put: str, part: Part = "all", *, case: bool = True) -> int:
        """Replace a text in all rows; in how many rows it was. Raises BadInput for nothing to find."""
        if not find:
            raise BadInput("要查找的文字是空的", "there is nothing to find")
        edit = {"edit": "replace", "find": find, "put": put, "part": part, "case": case}
        count = self.matches(find, part, case=case)
        if count:
            self._note(edit)
        return count

    def matches(self, find: str, part: Part = "all", *, case: bool = True) -> int:
        """How many rows hold a text."""
        pattern = _pattern({"find": find, "case": case})
        parts = _PARTS if part == "all" else (part,)
        return sum(
            any(pattern.search(turn.get(part) or "") for turn in row["conversation"] for part in parts)
            for _, row in self.each()
        )

    def clean(self) -> tuple[int, int]:
        """Remove control characters and repeated rows; how many rows had some, and how many were repeats."""
        seen: set[int] = set()
        repeats, marked = [], 0
        for number, row in self.each():
            texts = [turn.get(part) or "" for turn in row["conversation"] for part in _PARTS]
            marked += any(CONTROL.search(text) for text in texts)
            key = hash(CONTROL.sub("", "\0".join(texts)))
            if key in seen:
                repeats.append(number)
            seen.add(key)
        if marked:
            self._note({"edit": "clean"})
        self.delete(repeats)
        return marked, len(repeats)

    def undo(self) -> bool:
        """Take the last edit back; whether there was one."""
        if not self.edits:
            return False
        self.edits.pop()
        self._write()
        return True

    def discard(self) -> None:
        """Take all edits back."""
        self.edits.clear()
        self._write()

    def problems(self, most: int = 20) -> list[tuple[int, Text]]:
        """The edited rows that cannot be trained on, by number and reason."""
        touched = {edit["row"] for edit in self.edits if "row" in edit}
        of_all = bool(self._of_all)
        found = []
        rows = self.each() if of_all else ((n, self.row(n)) for n in sorted(touched) if self.place_of(n) is not None)
        for number, row in rows:
            reason = problem(row)
            if reason:
                found.append((number, reason))
                if len(found) == most:
                    break
        return found

    def _note(self, edit: dict[str, Any]) -> None:
        self.edits.append(edit)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(edit, ensure_ascii=False) + "\n")
        self._sort()

    def _write(self) -> None:
        if self.edits:
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in self.edits), encoding="utf-8")
            os.replace(partial, self.path)
        else:
            self.path.unlink(missing_ok=True)
        self._sort()

    def _sort(self) -> None:
        of_row: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        deleted: set[int] = set()
        added: list[int] = []
        self._of_all = []
        for when, edit in enumerate(self.edits):
            if edit["edit"] == "delete":
                deleted.update(edit["rows"])
            elif "row" in edit:
                of_row[edit["row"]].append((when, edit))
                if edit["edit"] == "add":
                    added.append(edit["row"])
            else:
                self._of_all.append((when, edit))
        self._of_row = dict(of_row)
        self._deleted = sorted(number for number in deleted if number > 0)
        self._added = [number for number in added if number not in deleted]

    def _is_deleted(self, number: int) -> bool:
        place = bisect.bisect_left(self._deleted, number)
        return place < len(self._deleted) and self._deleted[place] == number

    def _number_at(self, place: int) -> int:
        """The number of the row at a place of those that are left: as many more as were deleted before it."""
        number = place + 1
        while True:
            shifted = place + 1 + bisect.bisect_right(self._deleted, number)
            if shifted == number:
                return number
            number = shifted

    def _edited(self, number: int, row: Row | None) -> Row:
        own = self._of_row.get(number)
        for _, edit in sorted([*own, *self._of_all], key=lambda pair: pair[0]) if own else self._of_all:
            if "value" in edit:
                row = edit["value"]
            elif row is not None:
                row = _changed(row, edit)
        return row


def _changed(row: Row, edit: dict[str, Any]) -> Row:
    """A row after an edit of all rows."""
    if edit["edit"] == "clean":
        pattern, put, parts = CONTROL, "", _PARTS
    else:
        pattern, put = _pattern(edit), edit["put"].replace("\\", "\\\\")
        parts = _PARTS if edit["part"] == "all" else (edit["part"],)
    turns = [
        {key: pattern.sub(put, value) if key in parts else value for key, value in turn.items()}
        for turn in row["conversation"]
    ]
    return {"conversation": turns}


def _pattern(edit: dict[str, Any]) -> re.Pattern[str]:
    return re.compile(re.escape(edit["find"]), 0 if edit["case"] else re.IGNORECASE)


def _edit(line: str) -> dict[str, Any] | None:
    try:
        edit = json.loads(line)
    except ValueError:
        return None
    return edit if isinstance(edit, dict) and "edit" in edit else None
