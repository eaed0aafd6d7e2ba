"""Questions that show whether a run has learned a book: cloze questions on its pieces, and pieces to read.

Generated from the corpus itself, so nobody has to write them. `cloze` are from trained pieces. `cloze_apart` are from
held-out pieces, but only for terms that occur in the trained ones too: nobody knows what was never said. `reading` are
complete held-out pieces: how likely each side finds them. Asks no model.
"""

from typing import Any

from core.chat.asked import Extent, Question
from core.data import apart, cloze, storage
from core.data.cloze import Cloze
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.training.run import Run

# Number of each kind, in a full and in a quick score.
MOST = {
    "full": {"cloze": 80, "cloze_apart": 40, "reading": 40},
    "quick": {"cloze": 24, "cloze_apart": 12, "reading": 12},
}
# Characters of a piece that is read: a piece may be as long as a chapter.
MOST_READ = 2000
# Tokens of a continuation, within which the term must appear.
TOKENS = 16


def questions(workspace: Workspace, run: Run, extent: Extent = "full") -> list[Question]:
    """Return the fixed questions for a run's corpus; empty if it was not trained on texts or they are gone."""
    dataset = _corpus(workspace, run)
    if dataset is None:
        return []
    most = MOST[extent]
    trained = [apart.text_of(row) for row in dataset.each() if apart.is_piece(row)]
    held = apart.texts_apart(workspace, dataset)
    found = [("cloze", _asked(one)) for one in cloze.cloze(trained, most["cloze"])]
    found += [("cloze_apart", _asked(one)) for one in cloze.cloze(held, most["cloze_apart"], among=trained)]
    found += [
        ("reading", {"language": "", "text": text[:MOST_READ], "question": text}) for text in held[: most["reading"]]
    ]
    return found


def _corpus(workspace: Workspace, run: Run) -> Dataset | None:
    """Return the texts that the run was trained on, unchanged; None if they are gone or not texts."""
    facts = run.facts.dataset
    if not facts.is_text:
        return None
    try:
        dataset = storage.find(workspace, facts.name)
    except BadInput:
        return None
    return dataset if dataset.sha256 == facts.sha256 else None


def _asked(one: Cloze) -> dict[str, Any]:
    return {"language": one.language, "question": one.text, "text": one.text, "reference": one.answer}
