"""A chat worker with a cache: the base model's greedy answers are the same for every run, dataset and score.

The key is the state of the model's files, the prompt as text, the length and the device. A run's own answers are never
cached.
"""

from collections.abc import Callable, Sequence
from typing import Any

from core.chat.side import BASE
from core.chat.worker_client import Ask, Sampling, Worker
from core.ground.kept_answers import KeptAnswers, key

Line = dict[str, Any]
# Fields of a line that belong to the answer; the others are timings.
_ANSWER = ("answer", "ids", "tokens", "finish")


class Remembering:
    """Asks a worker only what is not cached, and returns cached and new answers in the order asked."""

    def __init__(self, worker: Worker, kept: KeptAnswers) -> None:
        self.worker, self.kept = worker, kept
        side = worker.sides.get(BASE)
        template = side.template if side else worker.template
        self.of_all = (list(template.stop_words), worker.precision)

    def ask(
        self,
        asks: Sequence[Ask],
        sampling: Sampling | None = None,
        on_answer: Callable[[int], None] | None = None,
    ) -> list[Line]:
        """Like `Worker.ask`; sampled answers are never cached."""
        most, greedy = (sampling or Sampling()).max_new_tokens, (sampling or Sampling()).temperature == 0
        names = [self._key(ask, "answer", most) if greedy else None for ask in asks]
        known = [self.kept.get(name) if name else None for name in names]
        missing = [place for place, line in enumerate(known) if line is None]
        before = len(asks) - len(missing)
        if on_answer and before:
            on_answer(before)
        told = (lambda there: on_answer(before + there)) if on_answer else None
        lines = self.worker.ask([asks[place] for place in missing], sampling, told) if missing else []
        fresh = dict(zip(missing, lines, strict=True))
        self.kept.keep(
            {name: {part: fresh[place].get(part) for part in _ANSWER} for place in missing if (name := names[place])}
        )
        return [fresh.get(place) or line for place, line in enumerate(known)]

    def weigh(self, asks: Sequence[Ask], answers: Sequence[Sequence[int]]) -> list[Line]:
        """Like `Worker.weigh`."""
        names = [self._key(ask, "weight", list(ids)) for ask, ids in zip(asks, answers, strict=True)]
        known = [self.kept.get(name) if name else None for name in names]
        missing = [place for place, line in enumerate(known) if line is None]
        rest = [asks[place] for place in missing], [answers[place] for place in missing]
        fresh = dict(zip(missing, self.worker.weigh(*rest) if missing else [], strict=True))
        self.kept.keep({name: fresh[place] for place in missing if (name := names[place])})
        return [fresh.get(place) or line for place, line in enumerate(known)]

    def read(self, asks: Sequence[Ask]) -> list[Line]:
        """Like `Worker.read`; each text is read once per side, so caching would not help."""
        return self.worker.read(asks)

    def _key(self, ask: Ask, *what: Any) -> str | None:
        """Return the cache key of a base model's answer; None for any other side."""
        return key("chat", self.worker.prompt(ask), *what, *self.of_all) if ask.side == BASE else None
