"""Finds the model that a dataset teaches the assistant to claim to be, from the answers of its identity rows.

Nothing else about the rows is judged.
"""

from core.data.dialogues.curated import is_identity
from core.data.storage import Dataset
from core.models.family import Family, named_in

# If a dataset has identity rows, some are among the first.
_MOST_ROWS = 2000


def foreign_claim(dataset: Dataset, own: Family | None) -> tuple[Family, str] | None:
    """Return the first family other than `own` that an identity answer claims, with that answer; else None."""
    nickname = dataset.made.get("nickname")
    for row in dataset.page(0, _MOST_ROWS):
        if is_identity(row, nickname):
            for turn in row["conversation"]:
                claimed = named_in(turn["output"], own)
                if claimed is not None:
                    return claimed, turn["output"]
    return None
