"""What a run on texts is asked to tell whether the book is in: cloze questions of its pieces, and pieces that it was not given.

Made of the corpus itself, so nobody need write them. Of the pieces that were trained (`cloze`), and of those that were
kept apart (`cloze_apart`), there only terms that stand in the trained ones too: what was never said, nobody knows.
`reading` are the held-out pieces as a whole: how likely each side finds them. Asks nobody.
"""

from typing import Any

from core.chat.asked import Extent, Question
from core.data import apart, cloze, storage
from core.data.cloze import Cloze
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.training.run import Run

# Of each, in a full score and in a quick one.
MOST = {
    "full": {"cloze": 80, "cloze_apart": 40, "reading": 40},
    "quick": {"cloze": 24, "cloze_apart": 12, "reading": 12},
}
# Characters of a piece that is read: one may be as long as a chapter.
MOST_READ = 2000
# Tokens of a continuation, within which a term is said or not.
TOKENS = 16


def questions(workspace: Workspace, run: Run, extent: Extent = "full") -> list[Question]:
    """What is asked of a run's corpus, always the same; nothing where it was trained on no texts, or they are gone."""
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
    """The texts that the run was trained on, as they were; None where they are gone or no texts."""
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
