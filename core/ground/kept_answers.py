"""What a base model answered, kept by a digest of its files, so that no run, dataset or score asks it the same again.

A file for each state of a model, `<digest>.jsonl`: other weights, another tokenizer or template have another. Lines are
added and never changed, so that several processes may keep theirs at a time. Standard library and Python 3.10 only, so
that the engine's workers may keep theirs too. Knows nothing of what is asked.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Beyond this a model's file is begun again: somebody asks it ever new questions.
MOST_BYTES = 64 << 20


def key(*asked: Any) -> str:
    """What stands for a question: the prompt, how an answer ends, how long it may be, the precision, all that matters."""
    return hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()[:32]


class KeptAnswers:
    """The answers of one state of a model; of none (`path` is None) nothing is known and nothing is kept."""

    def __init__(self, path: "Path | None") -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            lines = path.read_bytes().splitlines() if path else []
            for line in lines:
                # One that was broken off, or is no JSON, is asked again.
                with contextlib.suppress(ValueError, TypeError):
                    name, answer = json.loads(line)
                    self.known[str(name)] = answer

    def get(self, asked: str) -> Any:
        """What is kept under a key; None where nothing is."""
        return self.known.get(asked)

    def keep(self, more: Mapping[str, Any]) -> None:
        """Add answers. Where they cannot be written they are asked again some day."""
        self.known.update(more)
        if self.path is None or not more:
            return
        lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in more.items())
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            full = self.path.exists() and self.path.stat().st_size > MOST_BYTES
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if full else os.O_APPEND)
            descriptor = os.open(self.path, flags, 0o600)
            try:
                # In one go, so that nobody else's stand in between. The line before may have been broken off.
                os.write(descriptor, b"\n" + lines.encode())
            finally:
                os.close(descriptor)
