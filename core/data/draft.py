"""Edits of a dataset that are not saved as a version yet: each is written to disk immediately and can be undone.

`drafts/<dataset>.jsonl` has one edit per line. A row is identified by its number in the dataset (from 1), an added row
by a negative number. Each edit first rereads the file, because another tab may have added edits. Shows the edited rows;
`versions` saves them as a version.
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
    """The edits of one dataset in order, and the rows that result."""

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
        """Open the draft of a dataset; it is empty if nothing was edited."""
        draft = cls(dataset, workspace.drafts / f"{dataset.name}.jsonl")
        draft._read()
        return draft

    def __len__(self) -> int:
        return len(self.edits)

    @property
    def rows(self) -> int:
        """The number of rows of the edited dataset."""
        return self.dataset.rows - len(self._deleted) + len(self._added)

    @property
    def stamp(self) -> str:
        """A value that changes with every edit."""
        return f"{self.dataset.sha256}-{len(self.edits)}-{hash(json.dumps(self.edits))}"

    def page(self, first: int, count: int) -> list[tuple[int, Row]]:
        """Return `count` edited rows from index `first` (from 0), each with its number."""
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
        """Iterate over all edited rows, each with its number."""
        for number, row in enumerate(self.dataset.each(), 1):
            if not self._is_deleted(number):
                yield number, self._edited(number, row)
        for number in self._added:
            yield number, self._edited(number, None)

    def place_of(self, number: int) -> int | None:
        """Return the index of a row among the edited ones (from 0); None if it was deleted."""
        if number < 0:
            kept = self.dataset.rows - len(self._deleted)
            return kept + self._added.index(number) if number in self._added else None
        return None if self._is_deleted(number) else number - 1 - bisect.bisect_left(self._deleted, number)

    def row(self, number: int) -> Row:
        """Return one edited row. Raises BadInput if there is no row with this number."""
        place = self.place_of(number)
        if place is None or not 0 <= place < self.rows:
            raise BadInput(f"没有第 {number} 行", f"there is no row {number}")
        return self.page(place, 1)[0][1]

    def set(self, number: int, row: Row) -> None:
        """Replace a row. A row that cannot be trained on yet is accepted too; `problems` reports it."""
        self.change(number, lambda _: row)

    def change(self, number: int, how: Callable[[Row], Row]) -> None:
        """Replace a row by what `how` makes of its current state. Raises BadInput if the row was deleted."""
        with self._latest():
            before = self.row(number)
            after = how(before)
            if after != before:
                self._note({"edit": "set", "row": number, "value": after})

    def add(self, row: Row) -> int:
        """Add a row at the end and return its number."""
        with self._latest():
            used = [number for edit in self.edits for number in (edit.get("row", 0), *edit.get("rows", ()))]
            number = min([0, *used]) - 1
            self._note({"edit": "add", "row": number, "value": row})
        return number

    def delete(self, numbers: list[int]) -> None:
        """Delete rows."""
        with self._latest():
            self._delete(numbers)

    def replace(self, find: str, put: str, part: Part = "all", *, case: bool = True) -> int:
        """Replace a text in all rows; return the number of rows changed. Raises BadInput if `find` is empty."""
        if not find:
            raise BadInput("要查找的文字是空的", "enter the text to find")
        edit = {"edit": "replace", "find": find, "put": put, "part": part, "case": case}
        with self._latest():
            count = self.matches(find, part, case=case)
            if count:
                self._note(edit)
        return count

    def matches(self, find: str, part: Part = "all", *, case: bool = True) -> int:
        """Return the number of rows that contain a text."""
        pattern = pattern_of({"find": find, "case": case})
        parts = PARTS if part == "all" else (part,)
        return sum(
            any(pattern.search(turn.get(part) or "") for turn in row["conversation"] for part in parts)
            for _, row in self.each()
        )

    def clean(self) -> tuple[int, int]:
        """Remove control characters and repeated rows; return how many had some and how many repeated."""
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
        """Remove template tokens from the ends of all texts; return the number of rows changed."""
        with self._latest():
            count = sum(stripped_row(row) != row for _, row in self.each())
            if count:
                self._note({"edit": "strip"})
        return count

    def undo(self) -> bool:
        """Undo the last edit known to this object; return whether there was one."""
        known = self.edits[-1:]
        self._take_back(known)
        return bool(known)

    def discard(self) -> None:
        """Undo the edits known to this object; edits made in another tab in the meantime remain."""
        self._take_back(self.edits)

    def problems(self, most: int = 20, *, everywhere: bool = True) -> list[tuple[int, Text]]:
        """Return the edited rows that cannot be trained on, as (number, reason).

        Without `everywhere`, only rows edited individually are checked, which is fast for any dataset size.
        """
        if everywhere and any(may_empty(edit) for _, edit in self._of_all):
            rows = self.each()
        else:
            # The values of these rows are in the edits, so no row is read from disk.
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
        """Reread the draft and keep it locked for the duration of the block."""
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            self._read()
            yield

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            lines = []
        # A line cut short by a power failure is not an edit.
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
        """Return the number of the row at an index among the remaining rows, which deletions before it shift."""
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
