"""Template tokens within texts: to the model they mean something that no text should.

XTuner's templates provide their own tokens; those that other tools leave in data are recognized by their form.
"""

import re

from core.data.row import Row
from core.engine.presets import PromptTemplate

# <|im_end|>, <｜User｜>, </s>, <eoa>, [INST], <<SYS>>, <start_of_turn>, <reserved_106>, <bos>
TOKEN = re.compile(
    r"<[|｜][A-Za-z][\w▁ ]{0,30}[|｜]>|</?s>|<eo[a-z]>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<reserved_\d{1,3}>"
    r"|<(?:bos|eos|unk|pad|用户|AI)>|\[(?:UNUSED_TOKEN_\d+|EOS|BOS)\]"
)
# Tokens that end an answer and have no <|…|> form.
_ENDS = frozenset(("</s>", "<eos>", "[EOS]", "<end_of_turn>"))
_BEGINNING = re.compile(r"\A\s*(?:<\|im_start\|>(?:user|assistant|system)?|<\|start_header_id\|>\w*<\|end_header_id\|>"
                        rf"|{TOKEN.pattern})\s*")  # fmt: skip
_END = re.compile(rf"\s*(?:{TOKEN.pattern})\s*\Z")
_PARTS = ("system", "input", "output")


def tokens_in(text: str) -> list[str]:
    """Return the unique tokens in a text; <s>…</s> as HTML strikethrough does not count."""
    found = list(dict.fromkeys(TOKEN.findall(text))) if "<" in text or "[" in text else []
    if "<s>" in found and "</s>" in found and "INST]" not in text and not text.rstrip().endswith("</s>"):
        found = [token for token in found if token not in ("<s>", "</s>")]
    return found


def ends_answer(token: str) -> bool:
    """Return whether a token ends an answer in a known template."""
    inner = token.strip("<>|｜").lower()
    return token in _ENDS or token.startswith("<eo") or inner in (
        "im_end", "endoftext", "end", "eot_id", "eom_id", "end_of_turn_token", "end_of_text", "end▁of▁sentence", "end_of_sentence", "eos"
    )  # fmt: skip


def tokens_of(template: PromptTemplate) -> frozenset[str]:
    """Return the tokens of one of XTuner's templates."""
    parts = (template.system, template.instruction, template.suffix, template.sep, *template.stop_words)
    return frozenset(token for part in parts for token in TOKEN.findall(part or ""))


def stripped(text: str) -> str:
    """Return `text` without tokens at its beginning and end."""
    if "<" not in text and "[" not in text:
        return text
    while (shorter := _BEGINNING.sub("", text, count=1)) != text:
        text = shorter
    while (shorter := _END.sub("", text)) != text:
        text = shorter
    return text


def stripped_row(row: Row) -> Row:
    """Return the row without tokens at the beginning and end of its texts."""
    turns = [{key: stripped(value) if key in _PARTS else value for key, value in turn.items()}
             for turn in row["conversation"]]  # fmt: skip
    return {"conversation": turns}
