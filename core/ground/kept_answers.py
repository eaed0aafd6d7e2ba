"""A cache of a base model's answers, keyed by a digest of its files, so that the same question is asked only once.

Shared by runs, datasets and scores. One file per state of a model, `<digest>.jsonl`: other weights, another tokenizer
or template use another. Append-only, so that several processes may write concurrently. Standard library and Python 3.10
only, so that the engine's workers can use it too. Knows nothing about the questions.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A larger file is started over: someone keeps asking new questions.
MOST_BYTES = 64 << 20


def key(*asked: Any) -> str:
    """Return a question's key, from everything that matters: prompt, end of the answer, its length, precision."""
    return hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()[:32]


class KeptAnswers:
    """The answers of one state of a model; without a `path` nothing is known and nothing is stored."""

    def __init__(self, path: "Path | None") -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            lines = path.read_bytes().splitlines() if path else []
            for line in lines:
                # A line that is truncated or not JSON is asked again.
                with contextlib.suppress(ValueError, TypeError):
                    name, answer = json.loads(line)
                    self.known[str(name)] = answer

    def get(self, asked: str) -> Any:
        """Return the answer stored under a key; None if there is none."""
        return self.known.get(asked)

    def keep(self, more: Mapping[str, Any]) -> None:
        """Add answers. If they cannot be written, they will be asked again."""
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
                # A single write, so that other writers' lines do not interleave. The leading newline ends a truncated
                # last line.
                os.write(descriptor, b"\n" + lines.encode())
            finally:
                os.close(descriptor)
