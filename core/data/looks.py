"""What one row shows by itself, without those before it: so many rows can be looked at in several processes at once.

What it means, and what a row is among the others, is for `checks`.
"""

import re
from typing import NamedTuple

from core.data.dialogues.curated import is_identity
from core.data.files.special_tokens import ends_answer, tokens_in
from core.data.likeness import LEAST
from core.data.row import Row, Turn

LONG_CHARACTERS = 8000
# Names as they end up in answers of data that was made with another assistant; letters of other words do not count.
_OTHERS = re.compile(
    r"ChatGPT|OpenAI|通义千问|文心一言|(?<![A-Za-z])(?:Claude|ChatGLM|Qwen|Anthropic|Gemini|Llama|DeepSeek)(?![A-Za-z])"
    r"|豆包|讯飞星火|\bGPT-?[345]"
)
PLACEHOLDER = re.compile(
    r"\{\{\s*[A-Za-z_]\w*\s*\}\}|\{(?:name|author|assistant|maker)\}|<(?:NAME|AUTHOR)>|\[(?:NAME|AUTHOR)\]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2028\u2029\ufeff\ufffd\ue000-\uf8ff]")
# A word with letters of two alphabets that look alike, or of full and of normal width.
_MIXED = re.compile(r"(?:[A-Za-z][\u0370-\u03ff\u0400-\u04ff\uff21-\uff3a\uff41-\uff5a]"
                    r"|[\u0370-\u03ff\u0400-\u04ff\uff21-\uff3a\uff41-\uff5a][A-Za-z])")  # fmt: skip
# What a row must hold for any of these to be found in it: one class of characters is searched ten times as quickly.
_SUSPECT_LETTERS = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\u200b\\u2028\\u2029\\ufeff\\ufffd\\u0370-\\u052f\\uff21-\\uff5a"
    "\\ue000-\\uf8ff{\\[<]"
)
# Or how the names of others begin.
_SUSPECT = re.compile(_SUSPECT_LETTERS.pattern[:-1] + "GOCQALD通文豆讯]")
_SUSPECT_WORDS = ("GPT", "OpenAI", "通义", "文心", "Claude", "ChatGLM", "Qwen", "Anthropic", "Gemini", "Llama",
                  "DeepSeek", "豆包", "讯飞")  # fmt: skip


class Looked(NamedTuple):
    """What was seen in a row. `asked` and `answered` are hashes, for rows of one question (else None), `comparable`
    whether its question is long enough to be like another; `noted` are kinds of problems with what is said of each."""

    characters: int
    turns: int
    with_system: bool
    identity: bool
    asked: int | None
    answered: int
    comparable: bool
    noted: tuple[tuple[str, str | int], ...]


def text_of(row: Row) -> str:
    """All the text of a row, its system prompt first."""
    conversation = row["conversation"]
    first = conversation[0]
    if len(conversation) == 1:
        text = f"{first['input']}\n{first['output']}"
    else:
        text = "\n".join([part for turn in conversation for part in (turn["input"], turn["output"])])
    return f"{first['system']}\n{text}" if first.get("system") else text


def compared(row: Row) -> str:
    """What a row is compared with others by: its question, or a text itself."""
    first = row["conversation"][0]
    return first["input"] or first["output"]


def look(row: Row, nickname: str | None = None, own_tokens: frozenset[str] = frozenset()) -> tuple:
    """What a row shows, as a plain tuple of what Looked has: half as dear to send to another process.

    Rows with the `nickname` teach an identity; `own_tokens` are those of the chosen prompt template.
    """
    conversation = row["conversation"]
    text = text_of(row)
    noted: list[tuple[str, str | int]] = []
    if _SUSPECT.search(text) and (_SUSPECT_LETTERS.search(text) or any(word in text for word in _SUSPECT_WORDS)):
        for turn in conversation:
            noted += _tokens(turn, own_tokens)
            noted += _found(turn)
    if len(text) > LONG_CHARACTERS:
        noted.append(("long", f"{len(text):,}"))
    for number, turn in enumerate(conversation, 1):
        if not turn["input"] or turn["input"].isspace():
            noted.append(("empty", number))
    first = conversation[0]
    asked = None
    answered = 0
    if len(conversation) == 1 and first["input"]:
        asked, answered = hash((first.get("system", ""), first["input"])), hash(first["output"]) & 0xFFFFFFFF
    return (
        len(text),
        len(conversation),
        bool(first.get("system")),
        is_identity(row, nickname),
        asked,
        answered,
        len(first["input"] or first["output"]) >= LEAST,
        tuple(noted),
    )


def _found(turn: Turn) -> list[tuple[str, str]]:
    """The problems that stand in the texts of a turn."""
    noted = []
    for kind, pattern, text in (
        ("placeholder", PLACEHOLDER, turn["output"]),
        ("other", _OTHERS, turn["output"]),
        ("control", CONTROL, turn.get("system", "") + turn["input"] + turn["output"]),
        ("mixed", _MIXED, f"{turn['input']}\n{turn['output']}"),
    ):
        found = pattern.search(text)
        if found:
            shown = f"U+{ord(found[0]):04X}" if kind == "control" else found[0]
            noted.append((kind, _around(text, found) if kind == "mixed" else shown))
    return noted


def _tokens(turn: Turn, own_tokens: frozenset[str]) -> list[tuple[str, str]]:
    """A token that ends an answer stands in one; of all others it is enough to know that they are there."""
    answer = tokens_in(turn["output"])
    ending = [token for token in answer if ends_answer(token)] if turn["input"] else []
    others = dict.fromkeys([*tokens_in(turn["input"]), *answer])
    return [
        *(("token_end", token) for token in ending),
        *(("token_own" if token in own_tokens else "token", token) for token in others if token not in ending),
    ]


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - 6) : found.end() + 6].replace("\n", " ")
