"""A run as if trained on a corpus, and its score as if it had learned the book."""

from pathlib import Path

from core.chat import book
from core.chat.rates import Scores
from core.chat.score import score
from core.data import corpus
from core.ground.files import read_json, write_json
from core.ground.workspace import Workspace
from core.training import run as runs
from core.training.run import Run
from tests.fakes.chat import FakeWorker

_PLAIN = "the people of the valley went to the market and talked about the weather and the price of bread and then "
_PLACES = "Lomidale Corwick Fenholm Harstead Jordale Kelmere Marford Nevgarth".split()
_ENDINGS = "ric dis lan wen mar".split()


def trained_on_a_book(workspace: Workspace, run: Run, scratch: Path) -> Run:
    """Return the run with a small book's corpus as its dataset."""
    text = " ".join(
        f"In the year {1200 + 7 * n} {_PLAIN}somebody founded {_PLACES[n % 8]}{_ENDINGS[n % 5]} there."
        for n in range(200)
    )
    (scratch / "book.txt").write_text(text, encoding="utf-8")
    wanted = corpus.Wanted(chunk=400, overlap=0, deduplicate=False, held_out=0.2)
    made, _, _ = corpus.make(workspace, [scratch / "book.txt"], wanted)
    facts = read_json(run.path / "run.json")
    facts["dataset"] = {**made.made, "name": made.name, "sha256": made.sha256, "rows": made.rows}
    write_json(run.path / "run.json", facts)
    return runs.find(workspace, run.id)


def scored(workspace: Workspace, run: Run, wrong: int = 1) -> Scores:
    """Return the scores of a run that answers all but `wrong` cloze questions on trained pieces."""
    asked = book.questions(workspace, run)
    trained = [one for kind, one in asked if kind == "cloze"]
    known = {one["text"]: f" {one['reference']} there" for one in trained[wrong:]}
    return score(run, FakeWorker(None, book=known), texts=asked)
