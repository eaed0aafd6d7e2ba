"""Runs a GGUF file in llama.cpp's own server, in this process and on loopback only: tokens, prompts, greedy answers."""

import json
import secrets
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ground import cores

# Requests to loopback bypass any proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer: its tokens, whether an end token ended it, and its text."""

    tokens: list[int]
    ended: bool
    text: str


class LlamaCpp:
    """A loaded model. It answers as for everybody who opens the file, with llama.cpp's own defaults."""

    def __init__(self, file: Path, place: Path, context: int) -> None:
        """Load `file` with the llama.cpp at `place`. Raises RuntimeError if llama.cpp cannot load it."""
        sys.path.insert(0, str(place))
        import xllamacpp

        options = xllamacpp.CommonParams()
        options.model.path = str(file)
        options.n_ctx = context
        options.n_parallel = 1
        options.cpuparams.n_threads = cores.usable()
        options.warmup = False
        # It would spend a minute measuring this machine's memory.
        options.fit_params = False
        self._key = secrets.token_urlsafe(16)
        options.api_keys = [self._key]
        self._server = xllamacpp.Server(options)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a prompt as llama.cpp reads it: with BOS if the file says so."""
        asked = {"content": text, "add_special": True, "parse_special": True}
        return self._post("/tokenize", asked)["tokens"]

    def rendered(self, messages: list[dict[str, str]]) -> str:
        """Return a conversation rendered with the chat template in the file."""
        return self._post("/apply-template", {"messages": messages})["prompt"]

    def answer(self, prompt: list[int], most: int) -> Said:
        """Return the greedy answer to a prompt's tokens, of at most `most` tokens."""
        found = self._post(
            "/completion", {"prompt": prompt, "n_predict": most, "temperature": 0, "return_tokens": True}
        )
        return Said(tokens=found["tokens"], ended=found["stop_type"] == "eos", text=found["content"])

    def leans(self, prompt: list[int], tokens: list[int], by: float, *, ends: bool) -> bool:
        """Return whether the next token would be one of `tokens` if their logits were raised by `by`.

        `ends`: whether these tokens end an answer.
        """
        bias = [[token, by] for token in tokens]
        asked = {"prompt": prompt, "n_predict": 1, "temperature": 0, "return_tokens": True, "logit_bias": bias}
        found = self._post("/completion", asked)
        return found["stop_type"] == "eos" if ends else found["tokens"][:1] == tokens[:1]

    def _post(self, path: str, asked: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        request = urllib.request.Request(
            f"{self._server.listening_address}{path}", json.dumps(asked).encode(), headers=headers
        )
        with _OPENER.open(request, timeout=_SECONDS) as answer:
            return json.load(answer)
