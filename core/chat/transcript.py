"""Exports a conversation as Markdown or JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict

from core.chat.conversation import Conversation
from core.ground.text import Language, Text


def markdown(talk: Conversation, names: Mapping[str, str], language: Language) -> str:
    """Format each question as a heading, followed by the name, the answer (quoted) and the figures of each side."""
    lines = [f"# {Text('对话', 'Conversation').in_(language)} {talk.id}", ""]
    if talk.system:
        lines += [f"{Text('系统提示词', 'System prompt').in_(language)}: {talk.system}", ""]
    for number, exchange in enumerate(talk.exchanges, 1):
        lines += [f"## {number}. {' '.join(exchange.question.split())}", ""]
        for side, said in exchange.answers.items():
            lines += [
                f"**{names.get(side, side)}**",
                "",
                *(f"> {line}" for line in _no_picture(said["answer"]).split("\n")),
                "",
            ]
            if said.get("tokens"):
                speed = f", {said['tokens_per_s']:.0f} tokens/s" if said.get("tokens_per_s") else ""
                lines += [f"`{said['tokens']} tokens, {said['ttft_ms']:.0f} ms{speed}`", ""]
    return "\n".join(lines)


def _no_picture(answer: str) -> str:
    """Escape an answer so that no image is loaded from an address given by a model."""
    return re.sub(r"!(?=\[)|<(?=/?[A-Za-z])", r"\\\g<0>", answer)


def as_json(talk: Conversation, names: Mapping[str, str]) -> str:
    """Return the entire conversation, with the names of the sides."""
    return json.dumps({**asdict(talk), "names": dict(names)}, ensure_ascii=False, indent=2) + "\n"
