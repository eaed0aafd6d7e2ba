"""A tokenizer read from its file without transformers, whose import takes longer than an export.

Only of the kind of which transformers' own class adds nothing to `tokenizer.json`; for any other, `read` returns None.
It has the part of transformers' interface that writing a prompt takes (`published`, `beginning`). The verification
loads the published tokenizer with transformers and compares the tokens. Part of the workers.
"""

import json
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenizers import Tokenizer

# Classes that take the file as it is; the second has special tokens of its own.
_PLAIN, _SPACED = "PreTrainedTokenizerFast", ("GPT2Tokenizer", "GPT2TokenizerFast")
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


def read(directory: Path) -> "FileTokenizer | None":
    """Return the tokenizer of a model directory; None if transformers could make something else of its files."""
    file = directory / "tokenizer.json"
    said = _json(directory / "tokenizer_config.json")
    beside = ("added_tokens.json", "chat_template.jinja")
    if not file.is_file() or said.get("auto_map") or any((directory / name).is_file() for name in beside):
        return None
    kind = said.get("tokenizer_class")
    if kind != _PLAIN and kind not in _SPACED:
        return None
    content = _json(file)
    added = {one["content"]: one for one in content.get("added_tokens", ())}
    of_config = {one.get("content"): one for one in said.get("added_tokens_decoder", {}).values()}
    if any(one != {key: added.get(name, {}).get(key) for key in one} for name, one in of_config.items()):
        return None
    special = {name: _text(said.get(name)) for name in _NAMED}
    more = [_text(one) for one in said.get("additional_special_tokens") or ()]
    # transformers reads this file only without that entry.
    mapped = {} if "added_tokens_decoder" in said else _json(directory / "special_tokens_map.json")
    if any(_text(mapped[name]) != special[name] for name in _NAMED if name in mapped):
        return None
    more += [_text(one) for one in mapped.get("additional_special_tokens") or ()]
    if any(not added.get(token, {}).get("special") for token in [*filter(None, special.values()), *more]):
        return None
    # transformers sets whether a text begins with a space, to False where the config does not say.
    spaced = said.get("add_prefix_space", False)
    if (content.get("pre_tokenizer") or {}).get("add_prefix_space", spaced) != spaced:
        return None
    # Of the special tokens that are not named, this class has some of its own.
    if kind in _SPACED and any(special[name] is None for name in _NAMED[:3]):
        return None
    return FileTokenizer(file, special, said.get("chat_template"), _PLAIN if kind == _PLAIN else _SPACED[1])


class FileTokenizer:
    """The tokens of texts, and prompts by a chat template, as transformers' tokenizer of the same file gives them."""

    def __init__(self, file: Path, special: "dict[str, str | None]", chat_template: Any, kind: str) -> None:
        self._tokens = Tokenizer.from_file(str(file))
        self._tokens.no_truncation()
        self._tokens.no_padding()
        self._special, self.chat_template, self.kind = special, chat_template, kind
        self.bos_token = special["bos_token"]
        ids = {name: token and self._tokens.token_to_id(token) for name, token in special.items()}
        self.bos_token_id, self.eos_token_id, self.unk_token_id, self.pad_token_id = (ids[name] for name in _NAMED)

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any:
        return SimpleNamespace(input_ids=self._tokens.encode(text, add_special_tokens=add_special_tokens).ids)

    def convert_ids_to_tokens(self, ids: "list[int]") -> "list[str]":
        """Return the text of each token."""
        return [self._tokens.id_to_token(number) for number in ids]

    def convert_tokens_to_ids(self, token: str) -> "int | None":
        """Return a token's number; that of the unknown token if it has none."""
        number = self._tokens.token_to_id(token)
        return self.unk_token_id if number is None else number

    def apply_chat_template(
        self, messages: "list[dict[str, str]]", *, chat_template: str, **options: Any
    ) -> "list[int]":
        """Return the tokens of a conversation."""
        special = {name: token for name, token in self._special.items() if token is not None}
        text = self._jinja.from_string(chat_template).render(messages=messages, **special, **options)
        return self(text, add_special_tokens=False).input_ids

    @cached_property
    def _jinja(self) -> Any:
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise TemplateError(message)

        made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        made.globals["raise_exception"] = refuse
        return made


def _text(token: Any) -> "str | None":
    """Return the text of a special token, which may be an object with settings."""
    return token.get("content") if isinstance(token, dict) else token


def _json(file: Path) -> "dict[str, Any]":
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
