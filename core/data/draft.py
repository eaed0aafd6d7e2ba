"""Edits of a dataset that are not yet a version: each kept on disk the moment it is made, and each undone again.

`drafts/<dataset>.jsonl` has one edit a line. A row is known by its number in the dataset (from 1), an added one by a
negative number. Every edit is made to what is in the file then: another tab may have made some of its own.
Shows the edited rows; making a version of them is for `versions`.
"""

import bisect
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.data.edits import PARTS, Part, changed, edit_of, line_of, may_empty, pattern_of
from core.data.files.special_tokens import stripped_row
from core.data.looks import CONTROL
from core.data.row import Row, problem
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.files import write_text
from core.ground.lock import locked
from core.ground.text import Text
from core.ground.workspace import Workspace


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
    _cut_off: bool = False

    @classmethod
    def open(cls, workspace: Workspace, dataset: Dataset) -> "Draft":
        """The draft of a dataset; empty where nothing was edited."""
        draft = cls(dataset, workspace.drafts / f"{dataset.name}.jsonl")
        draft._read()
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
        return f"{self.dataset.sha256}-{len(self.edits)}-{hash(json.dumps(self.edits))}"

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
        self.change(number, lambda _: row)

    def change(self, number: int, how: Callable[[Row], Row]) -> None:
        """Put what `how` makes of a row, as it is by now, in its place. Raises BadInput where the row is gone."""
        with self._latest():
            before = self.row(number)
            after = how(before)
            if after != before:
                self._note({"edit": "set", "row": number, "value": after})

    def add(self, row: Row) -> int:
        """Add a row at the end; its number."""
        with self._latest():
            used = [number for edit in self.edits for number in (edit.get("row", 0), *edit.get("rows", ()))]
            number = min([0, *used]) - 1
            self._note({"edit": "add", "row": number, "value": row})
        return number

    def delete(self, numbers: list[int]) -> None:
        """Take rows out."""
        with self._latest():
            self._delete(numbers)

    def replace(self, find: str, put: str, part: Part = "all", *, case: bool = True) -> int:
        """Replace a text in all rows; in how many rows it was. Raises BadInput for nothing to find."""
        if not find:
            raise BadInput("要查找的文字是空的", "enter the text to find")
        edit = {"edit": "replace", "find": find, "put": put, "part": part, "case": case}
        with self._latest():
            count = self.matches(find, part, case=case)
            if count:
                self._note(edit)
        return count

    def matches(self, find: str, part: Part = "all", *, case: bool = True) -> int:
        """How many rows hold a text."""
        pattern = pattern_of({"find": find, "case": case})
        parts = PARTS if part == "all" else (part,)
        return sum(
            any(pattern.search(turn.get(part) or "") for turn in row["conversation"] for part in parts)
            for _, row in self.each()
        )

    def clean(self) -> tuple[int, int]:
        """Remove control characters and repeated rows; how many rows had some, and how many were repeats."""
        seen: set[int] = set()
        repeats, marked = [], 0
        with self._latest():
            for number, row in self.each():
                texts = [turn.get(part) or "" for turn in row["conversation"] for part in PARTS]
                marked += any(CONTROL.search(text) for text in texts)
                key = hash(CONTROL.sub("", "\0".join(texts)))
                if key in seen:
                    repeats.append(number)
                seen.add(key)
            if marked:
                self._note({"edit": "clean"})
            self._delete(repeats)
        return marked, len(repeats)

    def strip(self) -> int:
        """Take the tokens of prompt templates off the ends of all texts; how many rows had some."""
        with self._latest():
            count = sum(stripped_row(row) != row for _, row in self.each())
            if count:
                self._note({"edit": "strip"})
        return count

    def undo(self) -> bool:
        """Take back the last edit that is known here; whether there was one."""
        known = self.edits[-1:]
        self._take_back(known)
        return bool(known)

    def discard(self) -> None:
        """Take back the edits that are known here; one that was made in another tab meanwhile stays."""
        self._take_back(self.edits)

    def problems(self, most: int = 20, *, everywhere: bool = True) -> list[tuple[int, Text]]:
        """The edited rows that cannot be trained on, by number and reason.

        Not `everywhere`: of those that were edited one by one, which is quick however many rows there are.
        """
        if everywhere and any(may_empty(edit) for _, edit in self._of_all):
            rows = self.each()
        else:
            # Each has its value among the edits, so that no row is read.
            rows = ((number, self._edited(number, None)) for number in sorted(self._of_row))
        found = []
        for number, row in rows:
            reason = problem(row)
            if reason and self.place_of(number) is not None:
                found.append((number, reason))
                if len(found) == most:
                    break
        return found

    @contextmanager
    def _latest(self) -> Iterator[None]:
        """For the time of the block: the draft as it is on disk, which nobody else changes."""
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            self._read()
            yield

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            lines = []
        # A line that was cut off when the machine went down is no edit.
        self.edits = [edit for line in lines if line.strip() and (edit := edit_of(line)) is not None]
        self._cut_off = bool(lines and lines[-1])
        self._sort()

    def _note(self, edit: dict[str, Any]) -> None:
        self.edits.append(edit)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._cut_off else "") + line_of(edit))
        self._cut_off = False
        self._sort()

    def _delete(self, numbers: list[int]) -> None:
        there = [number for number in numbers if self.place_of(number) is not None]
        if there:
            self._note({"edit": "delete", "rows": there})

    def _take_back(self, edits: list[dict[str, Any]]) -> None:
        gone = Counter(map(line_of, edits))
        with self._latest():
            kept = []
            for line in map(line_of, reversed(self.edits)):
                if gone[line]:
                    gone[line] -= 1
                else:
                    kept.append(line)
            if kept:
                write_text(self.path, "".join(reversed(kept)))
            else:
                self.path.unlink(missing_ok=True)
            self._read()

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
                row = changed(row, edit)
        return row
