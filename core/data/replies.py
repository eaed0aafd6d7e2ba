"""A base model's own answers as rows to train on: which are fit for it, and where one that was cut off ends.

Asks no model. An answer that goes round in circles, is in another language than its question or says who the model is
would teach just that; one that is only too long is kept as far as its last sentence, without an end.
"""

import re
from typing import Literal, NamedTuple

from core.data.row import Row
from core.engine.presets import PromptTemplate
from core.models.family import named_in

Flaw = Literal["empty", "loop", "language", "name"]
# Shorter than this, a sentence is too small a part of an answer to stand for it.
_LEAST_CHARACTERS = 24
_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[A-Za-z\u3400-\u9fff]")
# The same words three times in a row, and the same line or sentence three times anywhere.
_ROUND = re.compile(r"(\S.{2,79}?)\1\1", re.S)
_PARTS = re.compile(r"[\n。！？!?]+|\.\s")
# The full stop behind an item's number ends nothing.
_SENTENCE_END = re.compile(r"(?<!^\d)(?<!\n\d)(?<!\n\d\d)[.!?][\"')\]*]*(?=\s)|[。！？][”’」』）]*|\n")
_OF_ITSELF = re.compile(r"\b(?:I am|I'm|my name is|call me)\b|我是|我叫", re.I)


class Reply(NamedTuple):
    """A question with the base model's answer; not `whole`: the answer goes on, and where it ends is not to be learned."""

    question: str
    answer: str
    whole: bool = True


def flaw(question: str, answer: str, language: str) -> Flaw | None:
    """Why an answer is not fit to be trained on; None where it is."""
    if not _LETTER.search(answer) and not any(character.isdigit() for character in answer):
        return "empty"
    if any(_LETTER.search(found[1]) for found in _ROUND.finditer(answer)) or _said_thrice(answer):
        return "loop"
    letters = _LETTER.findall(answer)
    chinese = sum(bool(_HAN.match(letter)) for letter in letters)
    if letters and language == ("zh" if chinese * 10 < len(letters) else "en" if chinese * 2 > len(letters) else ""):
        return "language"
    if _OF_ITSELF.search(answer) and named_in(answer, None) and not named_in(question, None):
        return "name"
    return None


def shortened(answer: str) -> str:
    """An answer that was cut off, up to its last whole sentence or line; up to its last word where that is too little."""
    answer = answer.rstrip()
    ends = [found.end() for found in _SENTENCE_END.finditer(answer)]
    last = answer[: ends[-1]].rstrip() if ends else ""
    if len(last) >= min(_LEAST_CHARACTERS, len(answer) // 2):
        return last
    return answer if _HAN.search(answer[-1:]) else answer.rpartition(" ")[0] or answer


def as_text(reply: Reply, template: PromptTemplate) -> Row:
    """An exchange as a row of texts, wrapped as the model is spoken to; the question itself is not learned."""
    output = reply.answer + (template.suffix if reply.whole else "")
    asked = template.prompt([(reply.question, None)])
    return {"conversation": [{"input": asked, "output": output, "need_eos_token": False}]}


def _said_thrice(answer: str) -> bool:
    parts = [re.sub(r"^\W*\d*\W*|\W+$", "", part).casefold() for part in _PARTS.split(answer)]
    return any(len(part) > 3 and parts.count(part) > 2 for part in set(parts))
