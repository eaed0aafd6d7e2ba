"""Dialogues written as text: 问/答, Q/A, ### Human, Human:, <|im_start|>, [INST], MOSS and similar.

`recognise` extracts the turns of a text; prose is left alone. Knows nothing about files and rows: `source` and `shapes`
do.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# A longer turn is not a turn of a dialogue, however the text begins.
MOST_TURN = 20_000
MOST_PREFACE = 1500
_ASK_WORDS = (
    "human user question prompt instruction query client customer student q 问题 提问 问 用户 客户 顾客 学生 访客 买家 网友 咨询"
).split()
_ANSWER_WORDS = (
    "assistant answer response reply chatgpt gpt chatbot bot ai moss model output a 答案 回答 答复 回复 答 助手 客服 机器人 助理"
).split()
_SYSTEM_WORDS = ("system", "系统", "context", "input")
# With these words each question stands alone; with others it continues a conversation.
_SINGLE = {"q", "a", "question", "answer", "问", "答", "问题", "提问", "回答", "答案", "答复", "咨询"}
_ROLES = {
    **dict.fromkeys(_ASK_WORDS, "user"),
    **dict.fromkeys(("observation", "tool", "ipython", "results", "prompter", "106", "102"), "user"),
    **dict.fromkeys(_ANSWER_WORDS, "assistant"),
    **dict.fromkeys(("commands", "107", "103"), "assistant"),
    **dict.fromkeys(("system", "系统", "developer"), "system"),
    **dict.fromkeys(("input", "context"), "more"),
    "innerthoughts": "thought",
}
_WORDS = "|".join(sorted({*_ASK_WORDS, *_ANSWER_WORDS, *_SYSTEM_WORDS}, key=len, reverse=True))
_LONG_WORDS = "|".join(
    w for w in sorted({*_ASK_WORDS, *_ANSWER_WORDS, *_SYSTEM_WORDS}, key=len, reverse=True) if len(w) > 2
)
_COLON = r"[:：]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A way to write a dialogue: the pattern that begins a turn (role in group 1) and the one that ends it."""

    name: str
    mark: re.Pattern[str]
    end: re.Pattern[str] | None = None
    tokens: bool = False
    shown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """The turns of a text as (system, user or assistant; text), and the family they were written in."""

    family: str
    turns: tuple[tuple[str, str], ...]


_ENDS = re.compile(
    r"\s*(?:<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<\|endoftext\|>|<end_of_turn>|<eo[a-z]>|<\|end\|>|</?s>|<bos>|<eos>"
    r"|<[|｜]end▁of▁sentence[|｜]>|<sep>|\[/?INST\])\s*\Z"
)
FAMILIES = (
    Family(name="chatml", tokens=True, shown="<|im_start|>user … <|im_end|>",
           mark=re.compile(r"<\|im_start\|>[ \t]*(\w+)[^\n]{0,80}\n?")),
    Family(name="llama3", tokens=True, shown="<|start_header_id|>user<|end_header_id|>",
           mark=re.compile(r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>\s*")),
    Family(name="gemma", tokens=True, shown="<start_of_turn>user",
           mark=re.compile(r"<start_of_turn>[ \t]*(\w+)[ \t]*\n?")),
    Family(name="bars", tokens=True, shown="<|User|>: … <|Bot|>:、<|user|>、<｜User｜>、<|Human|>: … <|MOSS|>:",
           mark=re.compile(
               r"<[|｜](human|user|prompter|bot|moss|assistant|system|observation|inner thoughts|commands|results)[|｜]>"
               r"[ \t]*[:：]?[ \t]*\n?", re.IGNORECASE)),
    Family(name="baichuan", tokens=True, shown="<reserved_106> … <reserved_107>",
           mark=re.compile(r"<reserved_(106|107|102|103)>\s*")),
    Family(name="angles", tokens=True, shown="<human>: … <bot>:",
           mark=re.compile(r"<(human|user|bot|assistant|system)>[ \t]*[:：]?[ \t]*\n?", re.IGNORECASE)),
    Family(name="brackets", tokens=True, shown="[Human]: … [MOSS]:",
           mark=re.compile(r"\[(Human|User|MOSS|Assistant|Bot|System|问题?|答案?|用户|助手)\][ \t]*[:：]?[ \t]*", re.IGNORECASE)),
    Family(name="hashes", tokens=True, shown="### Human: … ### Assistant:",
           mark=re.compile(rf"#{{2,4}}[ \t]*({_WORDS})[ \t]*(?:{_COLON}|(?=\n))[ \t]*\n?", re.IGNORECASE)),
    Family(name="names", shown="Human: … Assistant:、User:、Q: … A:、问： … 答：、客户： … 客服：",
           mark=re.compile(
               r"(?:^|(?<=\n))[ \t>\-•·]*(?:\d{1,4}[.、)）][ \t]*)?[*_]*[【\[(（「]?"
               rf"({_WORDS})[ \t]*(?:\d{{1,4}}|[一二三四五六七八九十]{{1,3}})?[】\])）」]?[*_]*[ \t]*{_COLON}[ \t]*[*_]*[ \t]*",
               re.IGNORECASE)),
    Family(name="bracketed", shown="【问】… 【答】…",
           mark=re.compile(rf"(?:^|(?<=\n))[ \t]*[【\[「]({_WORDS})[ \t]*\d{{0,4}}[】\]」][ \t]*", re.IGNORECASE)),
    Family(name="inline", shown="USER: … ASSISTANT:、问：…？答：…（在一行里 / on one line）",
           mark=re.compile(rf"(?:(?<=^)|(?<=[\s。！？.!?；;>]))({_LONG_WORDS}|问|答|Q|A)[ \t]*{_COLON}[ \t]*",
                           re.IGNORECASE)),
)  # fmt: skip
_INST = re.compile(r"(?:<s>\s*)?\[INST\]\s*(?:<<SYS>>\s*(.*?)\s*<</SYS>>\s*)?(.*?)\s*\[/INST\]\s*(.*?)\s*(?=(?:</s>\s*)?(?:<s>\s*)?\[INST\]|</s>\s*\Z|\Z)", re.DOTALL)  # fmt: skip
_HEADING = re.compile(r"(?:^|(?<=\n))(#{1,6})[ \t]+(?:\d+[.、][ \t]*)?([^\n]*)(?:\n|$)")
_OPTION = re.compile(r"(?:^|(?<=\n))[ \t]*[BCbc][ \t]*[:：.、]")
_RULE = re.compile(r"[ \t]*(?:[-=*_]{3,}|#{3,})[ \t]*")
# A prefilter of characters that every family contains: a text without them is not searched eleven times.
_ANY = re.compile(rf"<[|｜]|\[INST\]|<start_of_turn>|<reserved_|<human>|<user>|[#【\[「]|{_COLON}", re.IGNORECASE)


def recognise(text: str) -> Dialogue | None:
    """Return the turns of a text that is a dialogue; None for prose."""
    if not _ANY.search(text):
        return None
    if "[INST]" in text:
        return _llama2(text)
    for family in FAMILIES:
        found = _of_family(text, family)
        if found:
            return found
    return _headings(text)


def dialogues(lines: Iterable[str], family: str, single: bool, apart: bool) -> Iterator[Dialogue | str]:
    """Yield the dialogues of a file, read line by line, or the text of a part that is not a dialogue.

    `single`: each question stands alone; `apart`: an empty line before a question ends a conversation.
    """
    mark = next((known.mark for known in FAMILIES if known.name == family), None)
    held: list[str] = []
    answered = empty = False

    def ended() -> Iterator[Dialogue | str]:
        text = "".join(held).strip()
        if text:
            yield recognise(text) or text

    for line in lines:
        if _RULE.fullmatch(line.rstrip("\r\n")):
            yield from ended()
            held, answered = [], False
            continue
        role = _role_of(line, mark)
        if role == "user" and answered and (single or (apart and empty)):
            yield from ended()
            held, answered = [], False
        answered = answered or role == "assistant" or (mark is None and role is None and bool(line.strip()))
        empty = not line.strip()
        held.append(line)
    yield from ended()


def layout_of(text: str) -> tuple[str, bool, bool] | None:
    """Return the layout of a file of dialogues from its beginning, as arguments of `dialogues`; None for prose."""
    found = recognise(text)
    if found is None:
        return None
    mark = next((known.mark for known in FAMILIES if known.name == found.family), None)
    if mark is None:
        return found.family, True, True
    words = {match[1].lower() for match in mark.finditer(text)}
    lines = text.split("\n")
    asks = [place for place, line in enumerate(lines) if _role_of(line, mark) == "user"]
    answers = [place for place, line in enumerate(lines) if _role_of(line, mark) == "assistant"]
    apart = all(not lines[place - 1].strip() for place in asks[1:]) and not any(
        not lines[place - 1].strip() for place in answers if place
    )
    return found.family, words <= _SINGLE, apart


def _role_of(line: str, mark: re.Pattern[str] | None) -> str | None:
    """Return the role whose turn begins with a line; None if the line continues a turn."""
    if mark is None:
        return "user" if _HEADING.match(line) else None
    match = mark.match(line)
    return _ROLES.get(_plain(match[1])) if match else None


def _of_family(text: str, family: Family) -> Dialogue | None:
    marks = [match for match in family.mark.finditer(text) if _plain(match[1]) in _ROLES]
    if len(marks) < 2:
        return None
    preface = text[: marks[0].start()].strip()
    if len(preface) > (MOST_PREFACE if family.tokens else min(MOST_PREFACE, max(200, len(text) // 3))):
        return None
    if family.name in ("names", "inline") and _OPTION.search(text) and {_plain(m[1]) for m in marks} & {"a"}:
        # A: … B: … C: … are the options of a question.
        return None
    if family.name == "inline" and (preface or _ROLES[_plain(marks[0][1])] != "user"):
        if not all(match[1].isupper() and len(match[1]) > 1 for match in marks):
            return None
    turns: list[tuple[str, str]] = [("system", _ended(preface))] if _ended(preface) else []
    for match, after in zip(marks, [*marks[1:], None], strict=True):
        role = _ROLES[_plain(match[1])]
        said = _ended(text[match.end() : after.start() if after else len(text)])
        if not family.tokens and len(said) > MOST_TURN:
            return None
        if role == "thought":
            continue
        if role == "more":
            if turns and turns[-1][0] == "user" and said:
                turns[-1] = ("user", f"{turns[-1][1]}\n{said}" if turns[-1][1] else said)
            continue
        if said and not (_plain(match[1]) in ("commands", "results") and said == "None"):
            turns.append((role, said))
    return _sound(family.name, turns)


def _sound(name: str, turns: list[tuple[str, str]]) -> Dialogue | None:
    """Return a dialogue if the turns alternate as in one; None otherwise."""
    roles = [role for role, _ in turns if role != "system"]
    asks, answers = roles.count("user"), roles.count("assistant")
    changes = sum(a == "user" and b == "assistant" for a, b in zip(roles, roles[1:], strict=False))
    if not changes or changes < 0.7 * max(asks, answers) - 1:
        return None
    return Dialogue(family=name, turns=tuple(turns))


def _llama2(text: str) -> Dialogue | None:
    turns: list[tuple[str, str]] = []
    for match in _INST.finditer(text):
        if match[1]:
            turns.append(("system", match[1]))
        turns.append(("user", match[2]))
        if _ended(match[3]):
            turns.append(("assistant", _ended(match[3])))
    return _sound("llama2", turns)


def _headings(text: str) -> Dialogue | None:
    """Headings that are questions, each with its answer below."""
    marks = list(_HEADING.finditer(text))
    asking = [match for match in marks if match[2].strip().rstrip("*").endswith(("?", "？"))]
    if not asking:
        return None
    level = asking[0][1]
    peers = [match for match in marks if match[1] == level]
    if len(asking) < 0.8 * len(peers) or text[: marks[0].start()].strip():
        return None
    turns: list[tuple[str, str]] = []
    for match, after in zip(peers, [*peers[1:], None], strict=True):
        said = text[match.end() : after.start() if after else len(text)].strip()
        if len(said) > MOST_TURN:
            return None
        if said and match in asking:
            turns += [("user", match[2].strip().strip("*")), ("assistant", said)]
    return _sound("headings", turns)


def _ended(text: str) -> str:
    """Return a turn without the tokens that end it."""
    text = text.strip()
    while (shorter := _ENDS.sub("", text)) != text:
        text = shorter.strip()
    return re.sub(r"\A(?:<s>|<bos>|<\|begin_of_text\|>|<[|｜]begin▁of▁sentence[|｜]>)\s*", "", text).strip()


def _plain(word: str) -> str:
    return re.sub(r"\s", "", word).lower()
