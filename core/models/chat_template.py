"""A model's own chat template: reads it from the model's files and renders exchanges as transformers would.

A template is a program from an untrusted source: it runs in `template_sandbox`, with limits on time, memory and output.
`prompt` interprets the renderings.
"""

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.ground.files import read_json, read_start
from core.ground.inherited import inherited
from core.ground.model_code import MOST_BYTES
from core.models import template_sandbox

# The sandbox ends by its own limit of CPU seconds; a busy machine may give it few of them.
MOST_SECONDS = 60.0
# The largest known tokenizer.json, Gemma's, has 35 MB.
_MOST_TOKENIZER = 64 << 20
# The longest templates, with tools and images, have 20 kB; anything longer is not a template.
_MOST_TEMPLATE = 1 << 20
TODAY = template_sandbox.TODAY
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
# Defaults of the tokenizer classes, for files that do not state the tokens.
_DEFAULTS = {
    "Llama": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "Qwen2": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "GPT2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "Gemma": {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
}

Turn = tuple[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """`text` is None if the model has no template; `special`: the tokens it may use; `tokens`: all added tokens."""

    text: str | None
    special: dict[str, Any]
    tokens: frozenset[str]

    @property
    def bos(self) -> str:
        return self.special.get("bos_token") or ""

    @property
    def eos(self) -> str:
        return self.special.get("eos_token") or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Questions with their answers and a system prompt; the last answer is None if it is the model's turn."""

    turns: Sequence[Turn]
    system: str = ""

    def to_json(self) -> dict[str, Any]:
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for question, answer in self.turns:
            messages.append({"role": "user", "content": question})
            if answer is not None:
                messages.append({"role": "assistant", "content": answer})
        return {"messages": messages, "generation": self.turns[-1][1] is None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The text of an exchange, or the template's own error message."""

    text: str | None = None
    error: str = ""


def read(path: Path) -> ChatTemplate:
    """Read the chat template of the model directory at `path`, in the order in which transformers looks for it."""
    settings = _dict(path / "tokenizer_config.json")
    special, tokens = _special(path, settings)
    text = _file(path / "chat_template.jinja")
    if text is None:
        text = _text(settings.get("chat_template"))
    if text is None:
        text = _text(_dict(path / "chat_template.json").get("chat_template"))
    if text and len(text) > _MOST_TEMPLATE:
        text = None
    return ChatTemplate(text=text or None, special=special, tokens=tokens)


def stamp(path: Path) -> str:
    """Return a digest of everything that `read` reads; the large tokenizer.json counts by size and time."""
    digest = hashlib.sha256()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json"):
        with contextlib.suppress(OSError):
            digest.update(name.encode() + read_start(path / name, MOST_BYTES))
    file = path / "tokenizer.json"
    if file.is_file():
        digest.update(f"{file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def render(own: ChatTemplate, exchanges: Sequence[Exchange]) -> list[Rendered]:
    """Render each exchange with the model's template. If the template does not terminate, each gets an error."""
    asked = {
        "template": own.text or "",
        "special": own.special,
        "exchanges": [exchange.to_json() for exchange in exchanges],
    }
    try:
        found = json.loads(_answer(json.dumps(asked)))
    except (subprocess.SubprocessError, ValueError):
        return [Rendered(error="it does not come to an end, or needs too much memory")] * len(exchanges)
    return [Rendered(text=one.get("text"), error=one.get("error", "")) for one in found]


@lru_cache(maxsize=16)
def _answer(asked: str) -> str:
    """Return the sandbox's output; identical templates, of any number of models, are rendered once per process.

    Raises SubprocessError if there is no output; that is not cached, because the machine may just have been busy.
    """
    return subprocess.run(
        [sys.executable, "-I", template_sandbox.__file__],
        env=inherited(),
        input=asked,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=True,
    ).stdout


def _special(path: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the special tokens by role, and every token added to the vocabulary."""
    mapped = _dict(path / "special_tokens_map.json")
    kind = str(settings.get("tokenizer_class") or "")
    defaults = next((tokens for name, tokens in _DEFAULTS.items() if kind.startswith(name)), {})
    special: dict[str, Any] = {}
    for role in _ROLES:
        # An explicit null means that the token does not exist.
        value = settings[role] if role in settings else mapped.get(role, defaults.get(role))
        if token := _token(value):
            special[role] = token
    more = settings.get("additional_special_tokens") or mapped.get("additional_special_tokens") or []
    more = [token for value in (more if isinstance(more, list) else []) if (token := _token(value))]
    if more:
        special["additional_special_tokens"] = more
    decoder = settings.get("added_tokens_decoder")
    added = [*(decoder.values() if isinstance(decoder, dict) else ()), *_added(path / "tokenizer.json")]
    tokens = {token for value in added if (token := _token(value))}
    return special, frozenset({*tokens, *more, *(special[role] for role in _ROLES if role in special)})


def _added(path: Path) -> list[Any]:
    """Return the added tokens of a tokenizer.json."""
    found = _dict(path).get("added_tokens")
    return found if isinstance(found, list) else []


def _token(value: Any) -> str:
    """Return the text of a token, given as a string or as an object; empty if there is none."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _text(value: Any) -> str | None:
    """Return a template's text; of a list of named templates, the default one."""
    if isinstance(value, list):
        named = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
        value = named.get("default") or (next(iter(named.values())) if len(named) == 1 else None)
    elif isinstance(value, dict):
        value = value.get("default")
    return value if isinstance(value, str) and value.strip() else None


def _file(path: Path) -> str | None:
    try:
        return read_start(path, _MOST_TEMPLATE + 1).decode("utf-8").strip("\ufeff") or None
    except (OSError, ValueError):
        return None


def _dict(path: Path) -> dict[str, Any]:
    found = read_json(path, _MOST_TOKENIZER)
    return found if isinstance(found, dict) else {}
