"""The datasets of a workspace: `datasets/<name>/` with dataset.json (how it was made) and data.json (XTuner's rows).

A dataset is made once and not changed. Makes, lists and reads them; what rows are good is for `assistant` and `checks`.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data import formats
from core.data.assistant import COURSE_N, Recipe, balanced_rows, check_nickname, course_rows, file_text
from core.data.messages import Row
from core.engine.measure import token_lengths
from core.engine.model import Model
from core.engine.presets import prompt_templates
from core.ground.errors import BadInput
from core.ground.files import new_directory, read_json, sha256, write_json, write_text
from core.ground.workspace import Workspace, directories_with, free_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset on disk. `made` says how: its recipe and nickname, or the file it was imported from."""

    name: str
    path: Path
    rows: int
    unique_rows: int
    sha256: str
    made: dict[str, Any]

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def nickname(self) -> str | None:
        return self.made.get("nickname")

    def load(self) -> list[Row]:
        """All its rows."""
        return json.loads(self.data.read_text(encoding="utf-8"))


def make_assistant(
    workspace: Workspace, nickname: str, recipe: Recipe = "balanced", *, n: int = COURSE_N, name: str | None = None
) -> Dataset:
    """Make the dataset that teaches `nickname`'s assistant. Raises BadInput; then nothing is written."""
    nickname = check_nickname(nickname)
    if recipe not in ("course", "balanced"):
        raise BadInput(
            f"没有配方 {recipe}：可用 course、balanced", f"there is no recipe {recipe}: use course or balanced"
        )
    rows = course_rows(nickname, n) if recipe == "course" else balanced_rows(nickname)
    made = {"kind": "assistant", "recipe": recipe, "nickname": nickname, **({"n": n} if recipe == "course" else {})}
    return _store(workspace, name or free_name(workspace.datasets, "assistant"), rows, made)


def import_file(
    workspace: Workspace, file: Path, format_: str = "auto", *, name: str | None = None
) -> tuple[Dataset, formats.Reading]:
    """Make a dataset of a file. Raises BadInput where nothing in it can be used; then nothing is written."""
    reading = formats.read(file, format_)
    made = {"kind": "import", "file": file.name, "format": reading.format, "skipped": len(reading.skipped)}
    return _store(workspace, name or free_name(workspace.datasets, "imported"), reading.rows, made), reading


def token_statistics(workspace: Workspace, dataset: Dataset, model: Model) -> dict[str, float]:
    """Tokens of all rows and of the median, 95th percentile and longest row, with the model's own tokenizer."""
    template = prompt_templates()[model.prompt_template]
    lengths = sorted(token_lengths(workspace, model.path, dataset.data, template))
    at = lambda share: lengths[min(len(lengths) - 1, round(share * (len(lengths) - 1)))]  # noqa: E731
    return {"total": sum(lengths), "p50": at(0.5), "p95": at(0.95), "max": lengths[-1]}


def find(workspace: Workspace, name: str) -> Dataset:
    """The dataset `name`. Raises BadInput where there is none."""
    path = workspace.dataset(name)
    facts = read_json(path / "dataset.json")
    if facts is None:
        raise BadInput(
            f"没有数据集 {name}：先用 datasets assistant 或 datasets import 建一个",
            f"there is no dataset {name}: make one with datasets assistant or datasets import",
        )
    return Dataset(
        name=name,
        path=path,
        rows=facts["rows"],
        unique_rows=facts["unique_rows"],
        sha256=facts["sha256"],
        made=facts["made"],
    )


def every(workspace: Workspace) -> list[Dataset]:
    """All datasets, by name."""
    return [find(workspace, path.name) for path in directories_with(workspace.datasets, "dataset.json")]


def _store(workspace: Workspace, name: str, rows: list[Row], made: dict[str, Any]) -> Dataset:
    """Write the dataset beside its place, then move it there: it exists whole or not at all."""
    path = workspace.dataset(name)
    try:
        with new_directory(path) as partial:
            write_text(partial / "data.json", file_text(rows))
            write_json(
                partial / "dataset.json",
                {
                    "name": name,
                    "created": time.time(),
                    "rows": len(rows),
                    "unique_rows": len({json.dumps(row, sort_keys=True) for row in rows}),
                    "sha256": sha256(partial / "data.json"),
                    "made": made,
                },
            )
    except FileExistsError:
        raise BadInput(
            f"数据集 {name} 已存在：请换一个名称", f"the dataset {name} is there already: choose another name"
        ) from None
    return find(workspace, name)
