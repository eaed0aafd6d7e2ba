"""A base model's own answers to general questions, kept to be trained on again: so that nothing it knew is unlearned.

Strings data and chat together, which do not know each other. What becomes of the answers is for `data.assistant`.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.chat import worker_client
from core.chat.worker_client import Ask, Sampling
from core.data.dialogues.curated import plain, replay_questions
from core.engine.commands import module_command
from core.ground.errors import WorkFailed
from core.ground.files import read_json, write_json
from core.ground.text import Language, speaking
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.jobs.single import live, starting
from core.models import model as models

MOST_TOKENS = 256
# Asked together, so that progress can be told.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Questions with the base model's answers; `dropped` were cut off or empty and are not among them."""

    model: str
    pairs: tuple[tuple[str, str], ...]
    dropped: int
    made: float


def stored(workspace: Workspace, model: str) -> Replay | None:
    """The answers of a model that were generated before, None if none were."""
    kept = read_json(workspace.replays / f"{workspace.model(model).name}.json")
    if kept is None:
        return None
    pairs = tuple((question, answer) for question, answer in kept["pairs"])
    return Replay(model=model, pairs=pairs, dropped=kept["dropped"], made=kept["made"])


def generate(
    workspace: Workspace, model: str, count: int | None = None, tell: Callable[[float, float], None] | None = None
) -> Replay:
    """Ask the base model `count` of our general questions, greedily, and keep its answers. Raises StudioError."""
    questions = [question["question"] for question in replay_questions()]
    # The same ones whatever the count, well mixed.
    questions.sort(key=lambda question: hashlib.sha256(plain(question).encode()).digest())
    questions = questions[:count]
    there = {job.name for job in worker_client.jobs_in(workspace.jobs, "chat") if job.status().live}
    worker = worker_client.worker_for(workspace, model=model, own=True)
    pairs, dropped, began = [], 0, time.monotonic()
    try:
        worker.wait_ready()
        for start in range(0, len(questions), _AT_ONCE):
            block = questions[start : start + _AT_ONCE]
            asks = [Ask(side="base", turns=[(question, None)]) for question in block]
            for question, line in zip(block, worker.ask(asks, Sampling(max_new_tokens=MOST_TOKENS)), strict=True):
                # One that was cut off would teach to stop in the middle.
                if line["finish"] == "stop" and line["answer"].strip():
                    pairs.append((question, line["answer"].strip()))
                else:
                    dropped += 1
            if tell:
                done = (start + len(block)) / len(questions)
                tell(done, (time.monotonic() - began) * (1 - done) / done)
    finally:
        if worker.job.name not in there:
            worker.stop()
    if not pairs:
        raise WorkFailed(
            f"模型 {model} 没有给出一个完整的回答，无法重放", f"the model {model} finished no answer: nothing to replay"
        )
    made = time.time()
    write_json(
        workspace.replays / f"{model}.json",
        {"model": model, "pairs": pairs, "dropped": dropped, "made": made, "max_new_tokens": MOST_TOKENS},
    )
    return Replay(model=model, pairs=tuple(pairs), dropped=dropped, made=made)


def start(workspace: Workspace, model: str, language: Language | None = None) -> Job:
    """Generate as a job, which says in `language` why it fails; one that runs already goes on. Raises BadInput where the model cannot be used."""
    models.usable(workspace, model)
    argv = module_command("core", "datasets", "replay", f"--model={model}", "--workspace", workspace.root, "--json")
    with starting(workspace.jobs, "replay"):
        return live(workspace.jobs, "replay") or Job.start(
            workspace.jobs, "replay", argv, env=speaking(language), facts={"model": model}
        )
