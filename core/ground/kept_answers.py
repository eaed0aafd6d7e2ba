"""What a base model answered, kept by a digest of its files, so that no run, dataset or score asks it the same again.

A file for each state of a model, `<digest>.json`: other weights, another tokenizer or template have another. Standard
library and Python 3.10 only, so that the engine's workers may keep theirs too. Knows nothing of what is asked.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.ground.files import locked, read_json, write_text

# Beyond this a model's file is begun again: somebody asks it ever new questions.
MOST_ANSWERS = 20_000


def key(*asked: Any) -> str:
    """What stands for a question: the prompt, how an answer ends, how long it may be, the precision, all that matters."""
    return hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()[:32]


class KeptAnswers:
    """The answers of one state of a model; of none (`path` is None) nothing is known and nothing is kept."""

    def __init__(self, path: "Path | None") -> None:
        self.path = path
        self.known: dict[str, Any] = self._read()

    def get(self, asked: str) -> Any:
        """What is kept under a key; None where nothing is."""
        return self.known.get(asked)

    def keep(self, more: Mapping[str, Any]) -> None:
        """Add answers to those that others have added meanwhile."""
        self.known.update(more)
        if self.path is None or not more:
            return
        with locked(self.path.with_suffix(".lock")):
            there = {**self._read(), **more}
            if len(there) > MOST_ANSWERS:
                there = dict(more)
            write_text(self.path, json.dumps({"answers": there}, ensure_ascii=False))

    def _read(self) -> "dict[str, Any]":
        found = read_json(self.path) if self.path else None
        answers = found.get("answers") if isinstance(found, dict) else None
        return answers if isinstance(answers, dict) else {}
