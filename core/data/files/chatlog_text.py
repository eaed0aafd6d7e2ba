"""Messages of a chat log in plain text: WeChat, QQ, Telegram, WhatsApp, Discord, or only "name: text".

`style_of` inspects the beginning; for prose it returns None.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from core.data.files.chatlog import Message
from core.data.files.messages import has_role

_DATE = r"(?:\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}-[A-Z][a-z]{2}-\d{2,4})"
_TIME = r"(?:(?:上午|下午|凌晨|晚上|中午|早上)\s*)?\d{1,2}:\d{2}(?::\d{2})?(?![:\d])(?:\.\d+)?(?:\s*[AaPp]\.?[Mm]\.?)?"
_MOMENT = rf"(?:{_DATE}[,，]?[ T]*{_TIME}|{_TIME}[,，]?\s+{_DATE})"
_NAME = r"[^\n:：\[\]]{1,40}?"
_STAMP = rf"[\[【(]?({_MOMENT})[\]】)]?"


@dataclass(frozen=True, slots=True)
class Style:
    """The first line of a message: the group numbers of the time, the speaker and the text (0: none)."""

    name: str
    line: re.Pattern[str]
    moment: int
    speaker: int
    text: int


STYLES = (
    # [2024/1/1 10:00] 小明: 在吗     2024-01-01 10:00:00 小明：在吗     01/01/24, 10:00 - Tom: hi
    Style("stamped", re.compile(rf"‎?{_STAMP}[,，]?\s*(?:[-–—]\s*)?[“\"']?({_NAME})[”\"']?\s*[:：]\s?(.*)"), 1, 2, 3),
    # 小明 [2024-01-01 10:00]: 在吗
    Style("named", re.compile(rf"({_NAME})[,，]?\s*{_STAMP}\s*[:：]\s?(.+)"), 2, 1, 3),
    # 2024-01-01 10:00:00 小明(12345)     [01-Jan-24 10:00 AM] Tom#1234
    Style("above", re.compile(rf"{_STAMP}\s+({_NAME})\s*"), 1, 2, 0),
    # 小明 2024-01-01 10:00:00     Tom, [01.01.2024 10:00]
    Style("after", re.compile(rf"({_NAME})[,，]?\s+{_STAMP}\s*:?\s*"), 2, 1, 0),
)
# 小明：在吗
SPOKEN = Style("spoken", re.compile(r"[ \t]*([^\s:：,，。.!！?？;；\"“”'（）()\[\]{}#*]{1,16}(?: [^\s:：,，。.!！?？]{1,16})?)[ \t]*[:：][ \t]*(\S.*)"), 0, 1, 2)  # fmt: skip
# An example of each style, for the documentation.
SHOWN = {
    "stamped": "[2025/1/2 10:00] 小明: 在吗",
    "named": "小明 [2025-01-02 10:00]: 在吗",
    "above": "2025-01-02 10:00:00 小明(12345)",
    "after": "小明 2025-01-02 10:00:00",
    "spoken": "小明：在吗",
}
_ACCOUNT = re.compile(r"\s*[(<（]\S{2,60}[)>）]\s*\Z|#\d{4}\Z")
_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%m-%d-%Y %H:%M:%S", "%m-%d-%Y %H:%M",
    "%d-%m-%y %H:%M:%S", "%d-%m-%y %H:%M", "%m-%d-%y %H:%M:%S", "%m-%d-%y %H:%M", "%d-%b-%y %H:%M", "%d-%b-%Y %H:%M",
)  # fmt: skip


def style_of(text: str) -> Style | None:
    """Return the style of a text's messages; None if it is not a chat log."""
    lines = [line for line in text.split("\n")[:400] if line.strip()]
    if len(lines) < 2:
        return None
    for style in STYLES:
        matches = [match for line in lines if (match := style.line.fullmatch(line.strip()))]
        names = Counter(_name(match[style.speaker]) for match in matches)
        again = sum(count for count in names.values() if count > 1)
        enough = len(matches) >= 2 and len(matches) >= 0.2 * len(lines)
        if enough and len(names) >= 2 and (again >= 0.5 * len(matches) or len(matches) <= 4):
            return style
    matches = [match for line in lines if (match := SPOKEN.line.fullmatch(line.rstrip()))]
    names = Counter(match[1] for match in matches)
    known = sum(has_role(name) for name in names)
    often = sum(count for count in names.values() if count > 1)
    if (
        len(matches) >= max(4, 0.8 * len(lines))
        and 2 <= len(names) <= 12
        and often >= 0.8 * len(matches)
        and known < len(names)
    ):
        return SPOKEN
    return None


def messages(lines: Iterable[str], style: Style) -> Iterator[Message]:
    """Yield the messages of a log; lines before the first message are a heading and are skipped."""
    speaker, moment, held = "", None, []
    for line in lines:
        bare = line.strip("\r\n \t\u200e\ufeff")
        match = style.line.fullmatch(bare)
        if match:
            if speaker:
                yield Message(speaker, "\n".join(held).strip(), moment)
            speaker = _name(match[style.speaker])
            moment = when(match[style.moment]) if style.moment else None
            held = [match[style.text]] if style.text else []
        elif speaker:
            held.append(bare)
    if speaker:
        yield Message(speaker, "\n".join(held).strip(), moment)


def when(text: str) -> float | None:
    """Parse a time written by a person or a program into seconds; None if it is not understood."""
    afternoon = re.search(r"下午|晚上|[Pp]\.?[Mm]", text)
    plain = re.sub(
        r"上午|下午|凌晨|晚上|中午|早上|[AaPp]\.?[Mm]\.?|[,，]|(?<=:\d\d)\.\d+|Z\Z|[+-]\d\d:?\d\d\Z", " ", text
    )
    plain = re.sub(r"[年月/.](?=\d)|日", lambda match: " " if match[0] == "日" else "-", plain.replace("T", " "))
    clock = re.search(r"\d{1,2}:\d{2}(?::\d{2})?", plain)
    if clock is None:
        return None
    date = (plain[: clock.start()] + plain[clock.end() :]).strip()
    for known in _FORMATS:
        try:
            found = datetime.strptime(f"{date} {clock[0]}", known)
        except ValueError:
            continue
        hours = 12 if afternoon and found.hour < 12 else 0
        return (found - datetime(1970, 1, 1)).total_seconds() + hours * 3600
    return None


def _name(text: str) -> str:
    """Return a speaker's name without the account that follows it."""
    return _ACCOUNT.sub("", text.strip()) or text.strip()
