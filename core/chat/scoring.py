"""Scoring of one checkpoint or all, as a job that outlives the page: the headless command, with its progress."""

import signal
import time
from collections.abc import Callable, Sequence

from core.chat import book, worker_client
from core.chat.asked import Extent
from core.chat.base_answers import Remembering
from core.chat.rates import Scores
from core.chat.score import score_sides
from core.chat.side import Side, checkpoint_side, tuned_side
from core.chat.worker_client import Worker
from core.data import split
from core.engine.commands import module_command
from core.ground.errors import BadInput, WorkFailed
from core.ground.progress import write_progress
from core.ground.text import Language, Text, speaking
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, jobs_in
from core.jobs.single import only_one
from core.models.answers import answers_of
from core.training import run as runs
from core.training.run import Run

# Base model and adapters share one process; more than these would evict each other.
MOST_AT_ONCE = 6
# The held-out part may be as long as a book.
MOST_LOOKED_AT = 1000


def start(
    workspace: Workspace,
    run: Run,
    *,
    every: bool = False,
    checkpoint: str | None = None,
    extent: Extent = "full",
    language: Language | None = None,
) -> Job:
    """Start scoring the run's export, one of its checkpoints, or all. Raises BadInput if one is in progress."""
    count = len(sides_to_score(run, every=every, checkpoint=checkpoint))
    busy = Text(f"训练 {run.id} 正在评分", f"the run {run.id} is already being scored")
    with only_one(run.jobs, "score", busy) as begin:
        words = ["--all"] if every else ["--checkpoint", checkpoint] if checkpoint else []
        words += ["--quick"] if extent == "quick" else []
        argv = module_command("core", "chat", "score", run.id, *words, "--workspace", workspace.root, "--json")
        return begin(argv, env=speaking(language), facts={"extent": extent, "sides": count})


def took(workspace: Workspace, run: Run) -> dict[Extent, float]:
    """Return the seconds per checkpoint of the last score of each extent, of this run or another of its base model."""
    found: dict[Extent, float] = {}
    others = [other for other in runs.every(workspace) if other.model_path == run.model_path]
    for one in sorted(others, key=lambda other: other.id != run.id):
        for job in reversed(jobs_in(one.jobs, "score")):
            facts = job.spec.get("facts") or {}
            if facts.get("extent") and job.status() is Status.FINISHED:
                found.setdefault(facts["extent"], job.seconds / max(1, facts.get("sides", 1)))
    return found


def can_be_scored(workspace: Workspace, run: Run) -> bool:
    """Whether there is something to look for in the answers: a nickname, a text, or a held-out part of the data."""
    return (
        bool(run.nickname)
        or run.facts.dataset.is_text
        or split.held_out_of(workspace, run.facts.dataset.made) is not None
    )


def sides_to_score(run: Run, *, every: bool = False, checkpoint: str | None = None) -> list[Side]:
    """Return the sides to score: all complete checkpoints, the named one, else the run's export.

    Raises BadInput if there are none.
    """
    if checkpoint is not None:
        return [checkpoint_side(run, run.checkpoint(checkpoint))]
    if every:
        found = [checkpoint_side(run, found) for found in run.checkpoints() if found.whole]
    else:
        found = [side for side in [tuned_side(run)] if side]
    if not found:
        raise BadInput(
            f"训练 {run.id} 没有可以评分的检查点：先完成训练（全量微调还要先导出）",
            f"the run {run.id} has no checkpoint to score: train it first (a full fine-tune must also be exported)",
        )
    return found


def remembering(workspace: Workspace, run: Run, worker: Worker) -> Worker | Remembering:
    """Wrap the run's worker in a cache of the base model's answers, once it is ready and its precision is known."""
    return Remembering(worker, answers_of(workspace, run.model_path)) if worker.precision else worker


def score_now(
    workspace: Workspace,
    run: Run,
    sides: Sequence[Side],
    on_progress: Callable[[Job], None] | None = None,
    extent: Extent = "full",
) -> dict[str, Scores]:
    """Score these sides with the loaded chat worker, or with one that is started for this and stopped afterwards."""
    tell = _progress_writer()
    there = worker_client.worker_there(workspace, run)
    worker = there or worker_client.worker_for(workspace, run, own=True)
    part = split.held_out_of(workspace, run.facts.dataset.made)
    held_out = part.page(0, MOST_LOOKED_AT) if part else []
    texts = book.questions(workspace, run, extent)
    known = {**worker.sides, **{side.key: side for side in sides}}
    worker = worker_client.Worker(worker.job, worker.template, known)
    found: dict[str, Scores] = {}
    with _stopped_by_term():
        try:
            worker.wait_ready(on_progress)
            asked = remembering(workspace, run, worker)
            began = time.monotonic()
            for start_at in range(0, len(sides), MOST_AT_ONCE):
                some = sides[start_at : start_at + MOST_AT_ONCE]

                def done_so_far(part: float, before: int = start_at, many: int = len(some)) -> None:
                    done = (before + many * part) / len(sides)
                    spent = time.monotonic() - began
                    tell(0.1 + 0.9 * done, spent / done * (1 - done) if done > 0.02 else None)

                found |= score_sides(run, asked, some, extent, done_so_far, held_out, texts)
        finally:
            if there is None:
                worker.stop()
    return found


class _stopped_by_term:  # noqa: N801
    """Within the block SIGTERM raises, so that a worker started for scoring is stopped too."""

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGTERM, self._raise)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self.before)

    @staticmethod
    def _raise(*_: object) -> None:
        raise WorkFailed("评分已按要求停止", "scoring was stopped on request")


def _progress_writer() -> Callable[[float, float | None], None]:
    last = [0.0]

    def tell(done: float, eta: float | None) -> None:
        if done >= 1 or time.monotonic() - last[0] > 0.3:
            last[0] = time.monotonic()
            write_progress(done=done, note="score", eta_s=eta)

    return tell
