"""Masks names, numbers, addresses and links in a chat log: a model may repeat to anybody what it has learned."""

import re

from core.data.row import Row

_LINK = re.compile(r"(?:https?://|www\.)[^\s，。；！？）》”’<>\"']+", re.IGNORECASE)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# Phone, card and account numbers and codes; years, prices and distances are shorter.
_NUMBER = re.compile(r"(?<![\w.])\+?\d(?:[ \-]?\d){5,24}[Xx]?(?![\w])")
_ACCOUNT = re.compile(r"\bwxid_\w+|(?<![\w])@[A-Za-z_]\w{3,31}\b")
_HAN = re.compile(r"[\u4e00-\u9fff]")
# Generic names for the owner or a role in a log.
_NO_NAMES = frozenset(("我", "me", "myself", "you", "user", "assistant", "客服", "用户", "unknown", "未知"))
_MOST_NAMES = 2000


class Mask:
    """Masks texts; the names of speakers are added as they become known."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def know(self, name: str) -> None:
        """Add a speaker's name to those that are masked."""
        name = re.sub(r"[(<（]\S*[)>）]\Z", "", name).strip()
        if name in self._names or len(name) < 2 or name.lower() in _NO_NAMES or len(self._names) >= _MOST_NAMES:
            return
        self._names[name] = None
        words = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(_word(word) for word in words))

    def text(self, text: str) -> str:
        """Return `text` with identifying parts replaced by their kind."""
        han = _HAN.search(text) is not None
        text = _LINK.sub("[链接]" if han else "[link]", text)
        text = _MAIL.sub("[邮箱]" if han else "[mail]", text)
        text = _ACCOUNT.sub("[账号]" if han else "[account]", text)
        text = _NUMBER.sub("[号码]" if han else "[number]", text)
        return self._pattern.sub("[名字]" if han else "[name]", text) if self._pattern else text

    def row(self, row: Row) -> Row:
        """Return the row with its questions and answers masked."""
        turns = [{**turn, "input": self.text(turn["input"]), "output": self.text(turn["output"])}
                 for turn in row["conversation"]]  # fmt: skip
        return {"conversation": turns}


def _word(name: str) -> str:
    """Return a pattern for a name; Latin names match whole words only."""
    start = r"(?<![A-Za-z0-9])" if name[0].isascii() and name[0].isalnum() else ""
    end = r"(?![A-Za-z0-9])" if name[-1].isascii() and name[-1].isalnum() else ""
    return f"{start}{re.escape(name)}{end}"
