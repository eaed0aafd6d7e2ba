"""Which model a dataset teaches to claim to be, by the answers of its identity rows. Judges nothing else of them."""

from core.data.dialogues.curated import is_identity
from core.data.storage import Dataset
from core.models.family import Family, named_in

# Where identity rows stand in a dataset, they stand among the first.
_MOST_ROWS = 2000


def foreign_claim(dataset: Dataset, own: Family | None) -> tuple[Family, str] | None:
    """The first family other than `own` that an identity answer of `dataset` claims to be of, and that answer; else None."""
    nickname = dataset.made.get("nickname")
    for row in dataset.page(0, _MOST_ROWS):
        if is_identity(row, nickname):
            for turn in row["conversation"]:
                claimed = named_in(turn["output"], own)
                if claimed is not None:
                    return claimed, turn["output"]
    return None
