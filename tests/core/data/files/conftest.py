"""Reads a file like the product: by importing it into a workspace."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.data import intake
from core.data.row import Row
from core.ground.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: format, rows, and the skipped ones by number and reason."""

    format: str
    rows: list[Row]
    skipped: list[dict[str, Any]]


@pytest.fixture
def read(workspace: Workspace) -> Callable[..., Imported]:
    """Import a file: `read(path)`, `read(path, "alpaca")`."""

    def imported(path: Path, format_: str = "auto") -> Imported:
        made, report = intake.import_file(workspace, path, format_)
        return Imported(report.format, made.load(), report.skipped)

    return imported
