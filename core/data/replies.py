"""A base model's own answers as training rows: which are usable, and where to end a truncated one.

Asks no model. An answer that loops, is in another language than its question or says who the model is would teach
exactly that, so it is rejected. One that is only too long is kept up to its last sentence, without an end token.
"""

import re
from typing import Literal, NamedTuple

from core.data.row import Row
from core.engine.presets import PromptTemplate
from core.models.family import named_in

Flaw = Literal["empty", "loop", "language", "name"]
# A shorter remainder is too small a part of an answer to represent it.
_LEAST_CHARACTERS = 24
_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[A-Za-z\u3400-\u9fff]")
# The same words three times in a row, and the same line or sentence three times anywhere.
_ROUND = re.compile(r"(\S.{2,79}?)\1\1", re.S)
_PARTS = re.compile(r"[\n。！？!?]+|\.\s")
# The period after a list number does not end a sentence.
_SENTENCE_END = re.compile(r"(?<!^\d)(?<!\n\d)(?<!\n\d\d)[.!?][\"')\]*]*(?=\s)|[。！？][”’」』）]*|\n")
_OF_ITSELF = re.compile(r"\b(?:I am|I'm|my name is|call me)\b|我是|我叫", re.I)


class Reply(NamedTuple):
    """A question with the base model's answer; if not `whole`, it was truncated and its end must not be learned."""

    question: str
    answer: str
    whole: bool = True


def flaw(question: str, answer: str, language: str) -> Flaw | None:
    """Return why an answer is not suitable for training; None if it is."""
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
    """Return a truncated answer up to its last complete sentence or line, or to its last word if that is too short."""
    answer = answer.rstrip()
    ends = [found.end() for found in _SENTENCE_END.finditer(answer)]
    last = answer[: ends[-1]].rstrip() if ends else ""
    if len(last) >= min(_LEAST_CHARACTERS, len(answer) // 2):
        return last
    return answer if _HAN.search(answer[-1:]) else answer.rpartition(" ")[0] or answer


def as_text(reply: Reply, template: PromptTemplate) -> Row:
    """Return a question and its answer as a text row in the prompt template; the question itself is not trained on."""
    output = reply.answer + (template.suffix if reply.whole else "")
    asked = template.prompt([(reply.question, None)])
    return {"conversation": [{"input": asked, "output": output, "need_eos_token": False}]}


def _said_thrice(answer: str) -> bool:
    parts = [re.sub(r"^\W*\d*\W*|\W+$", "", part).casefold() for part in _PARTS.split(answer)]
    return any(len(part) > 3 and parts.count(part) > 2 for part in set(parts))
