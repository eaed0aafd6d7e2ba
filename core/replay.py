"""A base model's own answers to general questions, kept as training rows so that it does not forget what it knew.

Only in the languages that it speaks: if its family does not determine them, a few facts are asked first. Connects
`data` and `chat`, which do not import each other. `data.replies` decides which answers are good enough to train on,
`teaching` how they are used.
"""

import hashlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from core.chat import facts, worker_client
from core.chat.asked import LEAST_RIGHT, PROBES, TOKENS, fact_questions
from core.chat.worker_client import Ask, Sampling, Worker
from core.data.dialogues.curated import plain, replay_questions
from core.data.replies import Reply, flaw, shortened
from core.ground.errors import WorkFailed
from core.ground.files import read_json, write_json
from core.ground.lock import locked
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.models import model as models
from core.models.family import family_of
from core.models.fingerprint import fingerprint
from core.models.model import Model

# Tokens per answer. The beginning of an answer shows the model's style, and longer rows make slower iterations: on a
# CPU a few sentences are affordable.
MOST_TOKENS = {"cpu": 64, "cuda": 128}
# As long as another process may need to load the model and ask it.
_PATIENCE = 3600.0
# A new version makes every model be asked again.
_VERSION = 2
Tell = Callable[[float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to ask a model: `tokens` per answer (0: depends on the device), `temperature`, and samples per question."""

    tokens: int = 0
    temperature: float = 0.0
    samples: int = 1


class Stopped(WorkFailed):
    """A stop was requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Questions with the base model's answers, the number `left_out` by reason, and the languages the model speaks."""

    model: str
    replies: tuple[Reply, ...]
    left_out: Mapping[str, int]
    languages: tuple[str, ...]
    made: float

    @property
    def cut_off(self) -> int:
        """The number of answers that hit the token limit and were shortened."""
        return sum(not reply.whole for reply in self.replies)

    @property
    def why_none(self) -> Text | None:
        """Why there is nothing to replay; None if there is."""
        if self.replies:
            return None
        return Text(
            f"模型 {self.model} 自己的回答不能用：常识题几乎都答不对",
            f"the model {self.model} gives no usable answers: it gets hardly any general question right",
        )


def by_default(model: Model | None) -> bool:
    """Return whether a dataset for this model includes the model's own answers by default."""
    return model is not None and model.trainable and not model.toy


def stored(workspace: Workspace, model: str) -> Replay | None:
    """Return the model's stored answers; None if there are none, or its weights have changed since."""
    place = workspace.model(model)
    kept = read_json(workspace.replays / f"{place.name}.json")
    if kept is None or kept.get("version") != _VERSION or kept["fingerprint"] != fingerprint(place):
        return None
    return Replay(
        model=model,
        replies=tuple(Reply(*reply) for reply in kept["replies"]),
        left_out=kept["left_out"],
        languages=tuple(kept["languages"]),
        made=kept["made"],
    )


def had(workspace: Workspace, model: str, tell: Tell | None = None) -> Replay:
    """Return the stored answers of a model, else generate them. Raises as `generate`."""
    with _one_asks(workspace, model):
        return stored(workspace, model) or _generate(workspace, model, None, tell, Way())


def generate(
    workspace: Workspace, model: str, count: int | None = None, tell: Tell | None = None, way: Way | None = None
) -> Replay:
    """Ask the base model the general questions (`count` of them) and store its answers, replacing earlier ones.

    A concurrent call waits for the first. Raises StudioError if the model cannot be asked, Stopped on SIGTERM.
    """
    with _one_asks(workspace, model):
        return _generate(workspace, model, count, tell, way or Way())


@contextmanager
def _one_asks(workspace: Workspace, model: str) -> Iterator[None]:
    with _stopped_by_term(), locked(workspace.replays / f".{model}.lock", _PATIENCE):
        yield


def _generate(workspace: Workspace, model: str, count: int | None, tell: Tell | None, way: Way) -> Replay:
    chosen = models.usable(workspace, model)
    there = {job.name for job in worker_client.jobs_in(workspace.jobs, "chat") if job.status().live}
    worker = worker_client.worker_for(workspace, model=model, own=True)
    try:
        worker.wait_ready()
        languages = _spoken(worker, chosen)
        questions = [question for question in replay_questions() if question["language"] in languages]
        # A fixed, well-mixed order: a smaller count gives a subset.
        questions.sort(key=lambda question: hashlib.sha256(plain(question["question"]).encode()).digest())
        questions = questions[:count] * way.samples
        device = "cuda" if worker.job.progress.get("device") == "cuda" else "cpu"
        way = replace(way, tokens=way.tokens or MOST_TOKENS[device])
        lines = _answers(worker, [question["question"] for question in questions], way, tell)
    finally:
        if worker.job.name not in there:
            worker.stop()
    replies, left_out = [], Counter[str]()
    for question, line in zip(questions, lines, strict=True):
        whole = line["finish"] == "stop"
        answer = line["answer"].strip() if whole else shortened(line["answer"].strip())
        why = flaw(question["question"], answer, question["language"])
        if why:
            left_out[why] += 1
        else:
            replies.append(Reply(question["question"], answer, whole))
    kept = {
        "version": _VERSION,
        "model": model,
        "fingerprint": fingerprint(workspace.model(model)),
        "replies": replies,
        "left_out": dict(left_out),
        "languages": languages,
        "made": time.time(),
        "way": asdict(way),
    }
    write_json(workspace.replays / f"{model}.json", kept)
    return Replay(model=model, replies=tuple(replies), left_out=left_out, languages=tuple(languages), made=kept["made"])


def _spoken(worker: Worker, model: Model) -> list[str]:
    """Return the model's languages: its family's, or those of them in which it answers a few facts correctly."""
    family = family_of(model)
    languages = list(family.languages) if family is not None else ["zh", "en"]
    if len(languages) == 1:
        return languages
    asked = {language: fact_questions(language, "quick")[:PROBES] for language in languages}
    asks = [Ask(side="base", turns=[(one["question"], None)]) for probes in asked.values() for _, one in probes]
    answers = iter(worker.ask(asks, Sampling(max_new_tokens=TOKENS["fact"])))
    right = {
        language: sum(facts.right(next(answers)["answer"], one["fact"]) for _, one in probes)
        for language, probes in asked.items()
    }
    return [language for language in languages if right[language] >= LEAST_RIGHT * len(asked[language])]


def _answers(worker: Worker, questions: list[str], way: Way, tell: Tell | None) -> list[dict]:
    """Return an answer to each question, with one pass over the questions per sample."""
    began, lines = time.monotonic(), []
    each = len(questions) // way.samples
    for sample in range(way.samples if questions else 0):

        def answered(there: int, before: int = sample * each) -> None:
            if tell:
                done = (before + there) / len(questions)
                tell(done, (time.monotonic() - began) * (1 - done) / done)

        asks = [Ask(side="base", turns=[(question, None)]) for question in questions[:each]]
        sampling = Sampling(max_new_tokens=way.tokens, temperature=way.temperature, top_p=1.0, seed=sample)
        lines += worker.ask(asks, sampling, on_answer=answered)
    return lines


@contextmanager
def _stopped_by_term() -> Iterator[None]:
    """Raise on SIGTERM within the block, so that the worker is stopped too."""

    def stopped(*_: object) -> None:
        raise Stopped("已按要求停止：没有生成回答", "stopped on request: no answers were generated")

    before = signal.signal(signal.SIGTERM, stopped)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
