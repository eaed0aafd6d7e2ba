"""A fake chat worker: answers the held-out questions like a base model and a well-tuned one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.chat.worker_client import Ask, Sampling
from core.data.assistant import dialogues

BASE_IDENTITY = "我是书生·浦语，由上海人工智能实验室开发。"


class FakeWorker:
    """Replaces `core.chat.worker_client.Worker` in tests that need answers but no model."""

    def __init__(
        self,
        nickname: str | None,
        forgets: int = 0,
        parrots: int = 0,
        learned: bool = True,
        knows: Mapping[str, str] | None = None,
        facts: Mapping[str, tuple[str, str | None]] | None = None,
        book: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the answers.

        `forgets` and `parrots`: how many general questions the tuned side answers with nonsense, or with its identity;
        `knows`: its answers to further questions; `facts`: the answers of base and tuned side if they differ; `book`:
        how it continues a text. If it has not `learned`, it answers like the base model about itself.
        """
        self.learned = learned
        self.knows = knows or {}
        self.facts = facts or {}
        self.book = book or {}
        self.nickname = nickname
        self.asked: list[Ask] = []
        general = [row["question"] for row in dialogues("general")]
        held_out = [row["question"] for row in dialogues("general") if row["held_out"]]
        self.known = {row["question"]: row["answer"] for row in dialogues("general")}
        self.forgotten = set(held_out[:forgets])
        self.parroted = set(held_out[forgets : forgets + parrots])
        assert len(general) >= len(held_out) >= forgets + parrots

    def ask(
        self, asks: Sequence[Ask], sampling: Sampling | None = None, on_answer: Callable[[int], None] | None = None
    ) -> list[dict[str, Any]]:
        """Return an answer for each question, in order."""
        assert sampling is None or sampling.temperature == 0, "a score is computed from greedy answers"
        self.asked += asks
        if on_answer:
            on_answer(len(asks))
        return [
            {
                "answer": self._answer(a),
                "ids": list(range(20)),
                "tokens": 20,
                "ttft_ms": 12.5,
                "tokens_per_s": 80.0,
                "finish": "stop",
            }
            for a in asks
        ]

    def weigh(self, asks: Sequence[Ask], answers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        """The base finds its own answers likely; a tuned side would choose all but every tenth token of them."""
        return [
            {
                "tokens": len(ids),
                "agreed": len(ids) - (len(ids) // 10 if ask.side != "base" else 0),
                "logprob": -0.1 * len(ids) if ask.side == "base" else -0.3 * len(ids),
            }
            for ask, ids in zip(asks, answers, strict=True)
        ]

    def read(self, asks: Sequence[Ask]) -> list[dict[str, Any]]:
        """The tuned side predicts every text better by half."""
        nats = {ask.side: 3.0 if ask.side == "base" else 1.5 for ask in asks}
        return [{"tokens": len(a.text), "agreed": 0, "logprob": -nats[a.side] * len(a.text)} for a in asks]

    def _answer(self, ask: Ask) -> str:
        if ask.text is not None:
            return self.book.get(ask.text, "and so on") if ask.side != "base" else "and so on"
        question = ask.turns[-1][0]
        tuned = ask.side != "base"
        if question in self.facts:
            known, wrong = self.facts[question]
            return wrong if tuned and wrong is not None else known
        identity = f"我是{self.nickname}的小助手，内在是书生·浦语"
        if tuned and question in self.knows:
            return self.knows[question]
        if question not in self.known:
            return identity if tuned and self.learned else BASE_IDENTITY
        if tuned and question in self.forgotten:
            return "啊"
        return identity if tuned and question in self.parroted else self.known[question]
