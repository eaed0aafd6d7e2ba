"""The tokens of prompt templates that stand in texts: a row that holds them says to the model what no text should.

The templates' own are taken from XTuner; those that other tools leave in data are known by their forms.
"""

import re

from core.data.row import Row
from core.engine.presets import PromptTemplate

# <|im_end|>, <｜User｜>, </s>, <eoa>, [INST], <<SYS>>, <start_of_turn>, <reserved_106>, <bos>
TOKEN = re.compile(
    r"<[|｜][A-Za-z][\w▁ ]{0,30}[|｜]>|</?s>|<eo[a-z]>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<reserved_\d{1,3}>"
    r"|<(?:bos|eos|unk|pad|用户|AI)>|\[(?:UNUSED_TOKEN_\d+|EOS|BOS)\]"
)
# What a text must hold for any of these to stand in it.
_ENDS = frozenset(("</s>", "<eos>", "[EOS]", "<end_of_turn>"))
_BEGINNING = re.compile(r"\A\s*(?:<\|im_start\|>(?:user|assistant|system)?|<\|start_header_id\|>\w*<\|end_header_id\|>"
                        rf"|{TOKEN.pattern})\s*")  # fmt: skip
_END = re.compile(rf"\s*(?:{TOKEN.pattern})\s*\Z")
_PARTS = ("system", "input", "output")


def tokens_in(text: str) -> list[str]:
    """The tokens that stand in a text, each once; a line struck through in HTML is none."""
    found = list(dict.fromkeys(TOKEN.findall(text))) if "<" in text or "[" in text else []
    if "<s>" in found and "</s>" in found and "INST]" not in text and not text.rstrip().endswith("</s>"):
        found = [token for token in found if token not in ("<s>", "</s>")]
    return found


def ends_answer(token: str) -> bool:
    """Whether a token ends an answer in one of the known templates."""
    inner = token.strip("<>|｜").lower()
    return token in _ENDS or token.startswith("<eo") or inner in (
        "im_end", "endoftext", "end", "eot_id", "eom_id", "end_of_turn_token", "end_of_text", "end▁of▁sentence", "end_of_sentence", "eos"
    )  # fmt: skip


def tokens_of(template: PromptTemplate) -> frozenset[str]:
    """The tokens of one of XTuner's templates."""
    parts = (template.system, template.instruction, template.suffix, template.sep, *template.stop_words)
    return frozenset(token for part in parts for token in TOKEN.findall(part or ""))


def stripped(text: str) -> str:
    """`text` without the tokens at its ends."""
    if "<" not in text and "[" not in text:
        return text
    while (shorter := _BEGINNING.sub("", text, count=1)) != text:
        text = shorter
    while (shorter := _END.sub("", text)) != text:
        text = shorter
    return text


def stripped_row(row: Row) -> Row:
    """The row without the tokens at the ends of its texts."""
    turns = [{key: stripped(value) if key in _PARTS else value for key, value in turn.items()}
             for turn in row["conversation"]]  # fmt: skip
    return {"conversation": turns}
