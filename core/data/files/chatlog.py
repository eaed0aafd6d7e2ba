"""Chat logs as conversations: who said what and when, from tables, exports and texts, in the order of their lines.

Consecutive messages of one speaker are joined, a pause ends a conversation, and messages without text are omitted.
`chatlog_records` and `chatlog_text` find the messages of a log.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from core.data.files.choices import Choices
from core.data.files.encoding import showable
from core.data.files.masking import Mask
from core.data.files.messages import answers, has_role, is_system
from core.data.files.notes import Notes
from core.data.row import Row

ME = "我"
# Messages per conversation: a log without timestamps would otherwise never end.
MOST_MESSAGES = 200
MOST_ROOMS = 1000
_NOTICE = re.compile(
    r"\[(?:图片|语音|视频|表情|动画表情|文件|位置|名片|链接|红包|转账|小程序|音乐|照片|聊天记录|Photo|Sticker|Voice|Video|GIF|File)[^\]]{0,40}\]"
    r"|<(?:Media omitted|媒体文件已省略|image omitted|video omitted|audio omitted)>|‎?(?:image|video|audio|sticker|GIF) omitted"
    r"|.{0,40}(?:撤回了一条消息|拍了拍.{0,30}|邀请.{0,40}加入了群聊|以上是打招呼的内容|现在可以开始聊天了)。?"
    r"|.{0,40}(?:joined the (?:group|server)|left the (?:group|server)|pinned a message).{0,20}"
    r"|.*end-to-end encrypted.*|This message was deleted\.?|You deleted this message\.?",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a log: its time in seconds (None: unknown), its room, and whether the owner of the log sent it.

    A message without text was a picture or a notice.
    """

    speaker: str
    text: str
    when: float | None = None
    room: str = ""
    own: bool = False


def speakers(messages: Iterable[Message]) -> list[tuple[str, int]]:
    """Return the speakers with their number of messages, the owner of the log first."""
    counts = Counter(message.speaker for message in messages if message.speaker)
    own = {message.speaker for message in messages if message.own}
    return sorted(counts.items(), key=lambda entry: (entry[0] not in own, -entry[1]))


def guessed_speaker(messages: list[Message]) -> str | None:
    """Guess who is the assistant: the owner of the log, else a role that answers, else the second speaker."""
    own = next((message.speaker for message in messages if message.own), None)
    if own:
        return own
    order = list(dict.fromkeys(message.speaker for message in messages if message.speaker))
    answering = [name for name in order if answers(name)]
    if answering:
        return answering[0]
    return order[1] if len(order) > 1 else None


def conversations(messages: Iterable[Message], speaker: str, choices: Choices, notes: Notes) -> Iterator[Row]:
    """Yield the conversations of a log in which `speaker` answers."""
    mask = Mask() if choices.mask or (choices.mask is None and not has_role(speaker)) else None
    open_: dict[str, list[Message]] = {}
    for message in messages:
        text = message.text.strip()
        if not text or not message.speaker or _NOTICE.fullmatch(text):
            notes.note("not_text")
            continue
        if mask:
            mask.know(message.speaker)
        held = open_.setdefault(message.room, [])
        if held and (_paused(held[-1], message, choices.pause_hours) or _full(held, message, speaker)):
            yield from _row(held, speaker, mask, notes)
            held.clear()
        held.append(Message(message.speaker, text, message.when, message.room, message.own))
        if len(open_) > MOST_ROOMS:
            yield from _row(open_.pop(next(iter(open_))), speaker, mask, notes)
    for held in open_.values():
        yield from _row(held, speaker, mask, notes)


def _paused(before: Message, after: Message, hours: float) -> bool:
    return before.when is not None and after.when is not None and abs(after.when - before.when) >= hours * 3600


def _full(held: list[Message], message: Message, speaker: str) -> bool:
    """Return whether a conversation is long enough to end before the next question."""
    return len(held) >= MOST_MESSAGES and held[-1].speaker == speaker and message.speaker != speaker


def _row(held: list[Message], speaker: str, mask: Mask | None, notes: Notes) -> Iterator[Row]:
    """Yield the row of a conversation's messages; nothing if the speaker answers nobody."""
    turns: list[dict[str, str]] = []
    asked: list[str] = []
    answered: list[str] = []

    def close() -> None:
        if asked and answered:
            turns.append({"input": "\n".join(asked), "output": "\n".join(answered)})
        answered.clear()
        asked.clear()

    system = "\n".join(message.text for message in held if is_system(message.speaker))
    for message in held:
        if is_system(message.speaker):
            continue
        if message.speaker == speaker:
            # Messages of the assistant before the first question are not answers.
            if asked:
                answered.append(message.text)
        else:
            if answered:
                close()
            asked.append(message.text)
    close()
    if not turns:
        notes.note("unanswered")
        return
    if system:
        turns[0] = {"system": system, **turns[0]}
    row: Row = {"conversation": turns}
    if mask:
        masked = mask.row(row)
        if masked != row:
            notes.note("masked")
        row = masked
    yield row


def told(found: list[tuple[str, int]], separator: str = "、") -> str:
    """Format speakers with their counts for a sentence."""
    return showable(separator.join(f"{name[:40]} ({count})" for name, count in found[:12]))


def number_of(value: Any) -> float | None:
    """Convert a timestamp in seconds, milliseconds or microseconds to seconds."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if number > 1e14:
        return number / 1e6
    if number > 1e11:
        return number / 1e3
    return number if number > 1e8 else None
