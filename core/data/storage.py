"""The datasets of a workspace: `datasets/<name>/` with dataset.json (how it was created), its rows, and report.json
if it was imported (skipped rows, results of the checks).

A dataset is created once and never changed: an edit creates the next version. Stores, lists and reads them; the rows
come from `assistant`, `intake`, `corpus`, `versions` and `split`.
"""

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from core.data.checks import Checks, Finding
from core.data.row import Row
from core.data.rows_file import ARRAY, RowsWriter, line_of, read_rows, row_of
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import read_json, write_json
from core.ground.text import Text
from core.ground.workspace import Workspace, each_with, free_name

# Bytes in a file name.
MOST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset on disk. `made` records how it was created: recipe and nickname, imported file, or parent version."""

    name: str
    path: Path
    rows: int
    unique_rows: int
    sha256: str
    made: dict[str, Any]
    file: str = ARRAY
    created: float = 0.0
    identity_rows: int = 0
    with_system: int = 0

    @property
    def data(self) -> Path:
        """The file that XTuner reads."""
        return self.path / self.file

    @property
    def nickname(self) -> str | None:
        return self.made.get("nickname")

    @property
    def is_text(self) -> bool:
        """Whether its rows are texts, which are trained on as they are, without a prompt template."""
        return is_text(self.made)

    @property
    def version(self) -> int:
        """1 for an original, else the number of the version."""
        return self.made.get("version", 1)

    def each(self, first: int = 0) -> Iterator[Row]:
        """Iterate over its rows from index `first`."""
        return read_rows(self.data, first)

    def page(self, first: int, count: int) -> list[Row]:
        """`count` rows from index `first`; fast for any size."""
        return list(islice(self.each(first), count))

    def load(self) -> list[Row]:
        """All its rows at once; for small ones."""
        return list(self.each())

    def report(self) -> dict[str, Any]:
        """The import report: `format`, `skipped`, `problems`; empty if it was not imported."""
        return read_json(self.path / "report.json") or {}


class Making:
    """A dataset under construction: each added row passes through the checks."""

    def __init__(self, directory: Path, *, array_always: bool = False) -> None:
        self.directory = directory
        self.checks = Checks()
        self.made: dict[str, Any] = {}
        self._taken: list[tuple[Path, Path]] = []
        self._writer = RowsWriter(directory, array_always=array_always)

    def add(self, row: Row) -> None:
        """Add the next row."""
        self.checks.add(row, self._writer.add(line_of(row), row))

    def take(self, line: bytes, looked: tuple, mended: Text | None = None, row: Row | None = None) -> None:
        """Add the next row.

        Takes its line, what was seen in it, how its turns were reordered if that was necessary, and the row itself if
        the caller has it.
        """
        self.checks.take(looked, self._writer.add(line, row), lambda: row or row_of(line))
        if mended:
            self.checks.mended(mended)

    def take_in(self, file: Path, name: str) -> None:
        """Move a file to `source/<name>` in the dataset; if creating it fails, the file is moved back."""
        target = self.directory / "source" / name
        target.parent.mkdir(exist_ok=True)
        self._taken.append((file, target))
        shutil.move(file, target)

    def put_back(self) -> None:
        """Move the source files back to where they came from."""
        for file, target in self._taken:
            if target.exists() and not file.exists():
                shutil.move(target, file)

    def finish(self, made: dict[str, Any]) -> list[Finding]:
        """Close the files and write dataset.json; return the findings of the checks."""
        written = self._writer.finish()
        facts = {
            "created": time.time(),
            "rows": written.rows,
            "unique_rows": self.checks.unique_rows,
            "sha256": written.sha256,
            "file": written.file,
            "characters": self.checks.characters,
            "turns": self.checks.turns,
            "with_system": self.checks.with_system,
            "identity_rows": self.checks.identity_rows,
            "made": made,
        }
        write_json(self.directory / "dataset.json", facts)
        return self.checks.findings()


@contextlib.contextmanager
def making(workspace: Workspace, name: str | None, stem: str, *, array_always: bool = False) -> Iterator[Making]:
    """A new dataset to fill: complete if the block succeeds, otherwise nothing is left of it.

    Without a `name` it gets the first free one that begins with `stem`; see `making.made["name"]` afterwards.
    Raises BadInput if the name is invalid or taken, WorkFailed if the disk is full.
    """
    taken = is_taken(name)
    if name is not None and workspace.dataset(name).exists():
        raise taken
    new = not workspace.datasets.exists()
    workspace.datasets.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".making.", suffix=".partial", dir=workspace.datasets))
    begun = Making(partial, array_always=array_always)
    try:
        yield begun
        begun.made["name"] = _move(partial, workspace, name, stem, taken)
    except OSError as error:
        raise WorkFailed(
            f"数据集写不下来（{error.strerror}）：请检查磁盘空间", f"the dataset cannot be written ({error.strerror})"
        ) from error
    finally:
        # Does nothing after success: the files have moved along with the directory.
        begun.put_back()
        shutil.rmtree(partial, ignore_errors=True)
        if new:
            # If nothing was created, remove the directory that this call created.
            with contextlib.suppress(OSError):
                workspace.datasets.rmdir()


def short_name(name: str) -> str:
    """Return a file's name shortened to MOST_NAME bytes, with its suffix: file systems allow 255, prefix included."""
    ending = Path(name).suffix if len(Path(name).suffix) <= 10 else ""
    stem = name.removesuffix(ending).encode(errors="ignore")[: MOST_NAME - len(ending.encode(errors="ignore"))]
    return stem.decode(errors="ignore") + ending


def is_taken(name: str | None) -> BadInput:
    """Return the error for a name that another dataset has."""
    return BadInput(f"数据集 {name} 已存在：请换一个名称", f"the dataset {name} already exists: choose another name")


def find(workspace: Workspace, name: str) -> Dataset:
    """The dataset `name`. Raises BadInput if there is none."""
    path = workspace.dataset(name)
    facts = read_json(path / "dataset.json")
    if facts is None:
        raise BadInput(
            f"没有数据集 {name}：先用 datasets assistant 或 datasets import 建一个",
            f"there is no dataset {name}: create one with datasets assistant or datasets import",
        )
    return Dataset(
        name=name,
        path=path,
        rows=facts["rows"],
        unique_rows=facts["unique_rows"],
        sha256=facts["sha256"],
        made=facts["made"],
        file=facts.get("file", ARRAY),
        created=facts.get("created", 0.0),
        identity_rows=facts.get("identity_rows", 0),
        with_system=facts.get("with_system", 0),
    )


def is_text(made: Mapping[str, Any]) -> bool:
    """Return whether a record describes a dataset of texts."""
    return made.get("kind") == "corpus" or made.get("format") == "text"


def every(workspace: Workspace) -> list[Dataset]:
    """All datasets, by name."""
    return each_with(workspace.datasets, "dataset.json", partial(find, workspace))


def check(dataset: Dataset, own_tokens: frozenset[str] = frozenset()) -> list[Finding]:
    """Return the findings of the checks; `own_tokens` are the tokens of the chosen prompt template."""
    checks = Checks(own_tokens=own_tokens)
    for row in dataset.each():
        checks.add(row, hash(json.dumps(row, ensure_ascii=False)))
    return checks.findings()


def store(
    workspace: Workspace,
    name: str | None,
    stem: str,
    rows: Iterable[Row],
    made: dict[str, Any],
    files: Mapping[str, Any] | None = None,
) -> Dataset:
    """Create a dataset from rows, with additional JSON files by name. `course` is always written as an array."""
    with making(workspace, name, stem, array_always=made.get("recipe") == "course") as new:
        new.checks.nickname = made.get("nickname")
        for row in rows:
            new.add(row)
        for file, value in (files or {}).items():
            write_json(new.directory / file, value)
        new.finish(made)
    return find(workspace, new.made["name"])


def _move(partial: Path, workspace: Workspace, name: str | None, stem: str, taken: BadInput) -> str:
    """Rename the finished directory; if two callers want the same name, one of them gets it."""
    while True:
        chosen = name or free_name(workspace.datasets, stem)
        try:
            os.rename(partial, workspace.dataset(chosen))
            return chosen
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            if name is not None:
                raise taken from error
