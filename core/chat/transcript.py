"""A conversation to hand on: as Markdown, as JSON, as a picture (SVG, which a browser makes a PNG of with its fonts)."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from xml.sax.saxutils import escape

from core.chat.conversation import Conversation
from core.chat.difference import pieces
from core.ground.text import Language, Text

_WIDTH, _MARGIN, _GAP, _SIZE, _LINE = 1080, 32, 20, 20, 30


def markdown(talk: Conversation, names: Mapping[str, str], language: Language) -> str:
    """Each question as a heading, each side's answer below its name as quoted text, with its figures."""
    lines = [f"# {Text('对话', 'Conversation').in_(language)} {talk.id}", ""]
    if talk.system:
        lines += [f"{Text('系统提示', 'System prompt').in_(language)}: {talk.system}", ""]
    for number, exchange in enumerate(talk.exchanges, 1):
        lines += [f"## {number}. {' '.join(exchange.question.split())}", ""]
        for side, said in exchange.answers.items():
            lines += [f"**{names.get(side, side)}**", "", *(f"> {line}" for line in said["answer"].split("\n")), ""]
            if said.get("tokens"):
                speed = f", {said['tokens_per_s']:.0f} tokens/s" if said.get("tokens_per_s") else ""
                lines += [f"`{said['tokens']} tokens, {said['ttft_ms']:.0f} ms{speed}`", ""]
    return "\n".join(lines)


def as_json(talk: Conversation, names: Mapping[str, str]) -> str:
    """All of it, with the names of the sides."""
    return json.dumps({**asdict(talk), "names": dict(names)}, ensure_ascii=False, indent=2) + "\n"


def picture(talk: Conversation, names: Mapping[str, str]) -> str:
    """An SVG of the whole conversation: questions over their answers side by side; what differs from the base is marked."""
    sides = talk.sides
    columns = max(1, len(sides))
    width = (_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    parts: list[str] = []
    y = float(_MARGIN)
    for exchange in talk.exchanges:
        rows = _wrapped([(exchange.question, False)], _WIDTH - 2 * _MARGIN - 32)
        parts.append(_box(_MARGIN, y, _WIDTH - 2 * _MARGIN, len(rows), "#eef2f7"))
        parts += _lines(rows, _MARGIN + 16, y, bold=True)
        y += _height(len(rows)) + 12
        base = exchange.answers.get("base", {}).get("answer", "")
        columns_rows = []
        for side in sides:
            said = exchange.answers.get(side, {}).get("answer", "–")
            marked = [(said, False)] if side == "base" or not base else pieces(said, base)
            columns_rows.append(_wrapped(marked, width - 32))
        most = max(len(rows) for rows in columns_rows) + 1
        for column, (side, rows) in enumerate(zip(sides, columns_rows, strict=True)):
            x = _MARGIN + column * (width + _GAP)
            parts.append(_box(x, y, width, most, "#ffffff" if side == "base" else "#f1f8f4"))
            parts += _lines([[(names.get(side, side), False)]], x + 16, y, colour="#667085")
            parts += _lines(rows, x + 16, y + _LINE)
        y += _height(most) + 28
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y:.0f}" viewBox="0 0 {_WIDTH} {y:.0f}" '
        f'font-family="system-ui, sans-serif" font-size="{_SIZE}"><rect width="100%" height="100%" fill="#ffffff"/>'
        + "".join(parts)
        + "</svg>"
    )


def _height(lines: int) -> float:
    return lines * _LINE + 24


def _box(x: float, y: float, width: float, lines: int, fill: str) -> str:
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_height(lines):.0f}" rx="10" fill="{fill}" '
        'stroke="#d0d5dd"/>'
    )


def _lines(
    rows: list[list[tuple[str, bool]]],
    x: float,
    y: float,
    *,
    bold: bool = False,
    colour: str = "#101828",
) -> list[str]:
    """Text elements, a line each; what differs is green."""
    found = []
    for number, row in enumerate(rows):
        spans = "".join(
            f'<tspan fill="#067647" font-weight="600">{escape(text)}</tspan>' if differs else escape(text)
            for text, differs in row
        )
        weight = ' font-weight="600"' if bold else ""
        found.append(
            f'<text xml:space="preserve" x="{x:.0f}" y="{y + 12 + _LINE * (number + 0.72):.0f}" fill="{colour}"{weight}>'
            f"{spans}</text>"
        )
    return found


def _wrapped(marked: list[tuple[str, bool]], width: float) -> list[list[tuple[str, bool]]]:
    """Lines no wider than `width`: signs of East Asia are as wide as the letters are high, others about half."""
    rows: list[list[tuple[str, bool]]] = [[]]
    used = 0.0
    for text, differs in marked:
        for sign in text:
            if sign == "\n":
                rows.append([])
                used = 0.0
                continue
            if unicodedata.category(sign) in ("Cc", "Cs"):
                continue
            wide = _SIZE * (1.0 if unicodedata.east_asian_width(sign) in "WF" else 0.58)
            if used + wide > width and unicodedata.category(sign) not in ("Mn", "Me", "Cf"):
                rows.append([])
                used = 0.0
            used += wide
            if rows[-1] and rows[-1][-1][1] == differs:
                rows[-1][-1] = (rows[-1][-1][0] + sign, differs)
            else:
                rows[-1].append((sign, differs))
    return rows
