"""Splits a dataset into a part to train on and one held out for scoring.

Rows with the same question go to the same part, so that nothing leaks.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from core.data import storage
from core.data.dialogues.curated import plain
from core.data.row import Row
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.workspace import Workspace

PARTS = ("train", "held_out")


def split(
    workspace: Workspace, dataset: Dataset, share: float = 0.1, seed: int = 0, name: str | None = None
) -> tuple[Dataset, Dataset]:
    """Split a dataset in two: to train on, and held out with about `share` of the unique questions.

    Raises BadInput if one part would be empty or a name is taken.
    """
    if not 0 < share < 1:
        raise BadInput(f"比例 {share} 不在 0 和 1 之间", f"the share {share} is not between 0 and 1")
    names = [f"{name or dataset.name}-{part.replace('_', '')}" for part in PARTS]
    for wanted in names:
        if workspace.dataset(wanted).exists():
            raise BadInput(
                f"数据集 {wanted} 已存在：请换一个名称", f"the dataset {wanted} already exists: choose another"
            )
    train = part(workspace, dataset, "train", share, seed, names[0])
    return train, part(workspace, dataset, "held_out", share, seed, names[1])


def held_out_of(workspace: Workspace, made: Mapping[str, Any]) -> Dataset | None:
    """Return the held-out part that belongs to the training part recorded in `made`; None if there is none."""
    if made.get("kind") != "split" or made.get("part") != "train":
        return None
    wanted = {name: made.get(name) for name in ("of", "of_sha256", "share", "seed")}
    return next(
        (
            found
            for found in storage.every(workspace)
            if found.made.get("part") == "held_out" and wanted.items() <= found.made.items()
        ),
        None,
    )


def part(workspace: Workspace, dataset: Dataset, which: str, share: float, seed: int, name: str) -> Dataset:
    """Create one part of the split."""
    if sum(_held(row, share, seed) for row in dataset.each()) in (0, dataset.rows):
        raise BadInput(
            f"{dataset.name} 只有 {dataset.unique_rows} 行不同，按 {share} 分不出两份：增大比例或换一个种子",
            f"{dataset.name} has only {dataset.unique_rows} unique rows: a share of {share} leaves one part empty; use a larger share or another seed",
        )
    made = {
        "kind": "split",
        "of": dataset.name,
        "of_sha256": dataset.sha256,
        "part": which,
        "share": share,
        "seed": seed,
        **{key: dataset.made[key] for key in ("nickname", "format") if key in dataset.made},
    }
    rows = (row for row in dataset.each() if _held(row, share, seed) == (which == "held_out"))
    return storage.store(workspace, name, dataset.name, rows, made)


def _held(row: Row, share: float, seed: int) -> bool:
    turn = row["conversation"][0]
    asked = plain(turn["input"]) or turn["output"]
    return int.from_bytes(hashlib.sha256(f"{seed}:{asked}".encode()).digest()[:6]) < share * 2**48
