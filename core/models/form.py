"""Derives XTuner's form of a prompt from exchanges rendered with a chat template, and proves that it is equivalent.

The exchanges contain marker words of ours, at which the text is cut. Pure functions on texts: `chat_template` renders,
`prompt` decides what to do with the result.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.engine.presets import PromptTemplate
from core.ground.text import Text
from core.models.chat_template import TODAY, ChatTemplate, Exchange, Rendered

# Words that no template contains.
_SYSTEM, _ASKED, _ANSWER, _NEXT = "Sys7Qx", "Ask7Qa", "Ans7Qb", "Ask7Qc"
# Texts as users write them, including some that trip up templates and format strings.
_ODD = "第一行：你好！\n\n{input} {} {{x}} \\n <b>“引号”</b> 100%"
PROOFS = (
    Exchange(turns=[("你是谁？", None)]),
    Exchange(turns=[(_ODD, None)]),
    Exchange(turns=[("你是谁？", None)], system="你是一个{input}助手。\nBe brief."),
    Exchange(turns=[("Who are you?", f"I am\n{_ODD}"), (_ODD, None)]),
    Exchange(turns=[("一", "甲。"), ("two", f"乙 {{}}\n{_ODD}!"), ("Три", None)]),
    Exchange(turns=[("Who?", "小明的助手"), ("再说一遍", None)], system=_ODD),
)


class NoForm(Exception):  # noqa: N818
    """Why a chat template cannot be expressed in XTuner's form."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(zh, en)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A template, with the parts of the model's own template that differ: `own_…` is the model's text."""

    template: PromptTemplate
    takes_system: bool
    default_system: str
    thinking: str
    rounds: bool
    # Text before the first question and before a system turn: in the model's template, and in ours.
    own_start: str
    own_system_start: str
    system_start: str
    # Text between a question and its answer: in earlier turns, before the next answer, and in our template.
    own_middle: str
    own_opening: str
    middle: str

    @staticmethod
    def asked() -> tuple[Exchange, ...]:
        """Return the exchanges to cut: a question; one answered; a second one; both with a system turn; the example."""
        one, two = [(_ASKED, None)], [(_ASKED, _ANSWER), (_NEXT, None)]
        return (
            Exchange(turns=one),
            Exchange(turns=[(_ASKED, _ANSWER)]),
            Exchange(turns=two),
            Exchange(turns=one, system=_SYSTEM),
            Exchange(turns=two, system=_SYSTEM),
            example(),
        )

    def prove(self, rendered: Sequence[tuple[Exchange, Rendered]]) -> None:
        """Raise NoForm unless the model's template and ours give the same text for each exchange.

        If the template trims the user's text, trimmed texts are compared: rows are trained on as they are.
        """
        for exchange, own in rendered:
            if exchange.system and not self.takes_system:
                continue
            if own.text is None:
                raise NoForm(f"渲染时出错：{own.error}", f"it fails: {own.error}")
            if self._compared(own.text, exchange) != self.template.prompt(exchange.turns, exchange.system):
                raise NoForm(
                    "按它得出的模板渲染多轮对话或特殊字符时，与它自己的结果不同",
                    "the template derived from it renders several turns, or unusual characters, differently",
                )

    def _compared(self, text: str, exchange: Exchange) -> str:
        """Return the model's rendering without the parts that the form omits."""
        start, ours = (self.own_system_start, self.system_start) if exchange.system else (self.own_start, "")
        if not text.startswith(start):
            return text
        text = ours + text[len(start) :]
        text = text.removesuffix(self.own_opening) + (self.middle if text.endswith(self.own_opening) else "")
        for _, answer in exchange.turns[:-1]:
            end = "" if self.rounds else self.template.suffix
            text = text.replace(f"{self.own_middle}{answer}", f"{self.middle}{answer}{end}", 1)
        return text


def example() -> Exchange:
    """Return the example exchange shown on pages."""
    return Exchange(turns=[("你是谁？", "我是一个小助手。"), ("What can you do?", None)])


def cut(looks: Sequence[Rendered], own: ChatTemplate) -> Form:
    """Derive the form from the renderings of `Form.asked()`. Raises NoForm."""
    asked, answered, again, told, _told_again, _ = looks
    if asked.text is None or again.text is None:
        why = asked.error or again.error
        raise NoForm(f"渲染时出错：{why}", f"it fails: {why}")
    start, opening = _pieces(asked.text, _ASKED)
    start_again, middle, between, opening_again = _pieces(again.text, _ASKED, _ANSWER, _NEXT)
    if start != start_again or opening != opening_again:
        raise NoForm("它在第二轮的写法与第一轮不同", "it writes the second turn differently from the first")
    end = _pieces(answered.text, _ASKED, _ANSWER)[-1] if answered.text is not None else ""
    head, numbered = _head(start, between, end, own)
    finish = between[: len(between) - len(head)]
    if own.bos and head.startswith(own.bos) and own.bos not in middle:
        # It begins each turn; before the first one it is added along with the tokens.
        finish, head = finish + own.bos, head[len(own.bos) :]
    ours, thinking = _answer_begins(middle, opening)
    suffix, sep, stops, ended = _ending(finish, head, own)
    own_start = start[: len(start) - len(head)]
    system = _system(told, own_start, start, head, opening, own)
    instruction = _escaped(head)
    if numbered is not None:
        instruction = _escaped(head[:numbered]) + "{round}" + _escaped(head[numbered + 1 :])
    template = PromptTemplate(
        system=system.text,
        instruction=f"{instruction}{{input}}{_escaped(ours)}",
        suffix=suffix,
        sep=sep,
        stop_words=stops,
        suffix_as_eos=True,
    )
    return Form(
        template=template,
        takes_system=system.known,
        default_system=system.default,
        thinking=thinking,
        rounds=ended,
        own_start=own_start,
        own_system_start=system.own_start,
        system_start=system.start,
        own_middle=middle,
        own_opening=opening,
        middle=ours,
    )


def _pieces(text: str, *words: str) -> list[str]:
    """Return the text before, between and after `words`. Raises NoForm unless each occurs exactly once, in order."""
    found, left = [], text
    for word in words:
        before, there, left = left.partition(word)
        if not there or word in left:
            raise NoForm(
                "它没有把每句话原样写出一次，例如改动或重复了文字",
                "it changes or repeats the texts it is given",
            )
        found.append(before)
    return [*found, left]


def _head(start: str, between: str, end: str, own: ChatTemplate) -> tuple[str, int | None]:
    """Return the text that opens a question in every turn, and the position of the turn's number in it, if any."""
    for close in dict.fromkeys((end, end.removesuffix(own.eos) if own.eos else end)):
        if between.startswith(close) and start.endswith(between[len(close) :]):
            return between[len(close) :], None
    plain = start.removeprefix(own.bos) if own.bos else start
    if plain and between.endswith(plain):
        return plain, None
    repeated = between[len(end) :] if between.startswith(end) else ""
    for place in (found.start() for found in re.finditer("1", plain)):
        at = place - (len(plain) - len(repeated))
        if at >= 0 and f"{plain[:place]}2{plain[place + 1 :]}".endswith(repeated):
            return plain[place - at :], at
    raise NoForm(
        "第一个问题之前和后面的问题之前，写法不同", "it opens the first question differently from the later ones"
    )


def _answer_begins(middle: str, opening: str) -> tuple[str, str]:
    """Return the text between a question and its answer, and the thinking that the template opens before an answer."""
    if opening == middle:
        return opening, ""
    if opening.startswith(middle):
        thinking = opening[len(middle) :]
        return (middle, thinking) if thinking.strip() else (opening, "")
    if middle.startswith(opening):
        more = middle[len(opening) :]
        # A space belongs to the first word of the answer; a newline is a token of its own.
        return (opening if not more.strip() and more.endswith(" ") else middle), ""
    raise NoForm("它引出回答的写法前后不一", "it opens an answer differently while generating and afterwards")


def _ending(finish: str, head: str, own: ChatTemplate) -> tuple[str, str, tuple[str, ...], bool]:
    """Return SUFFIX, SEP and STOP_WORDS from the text after an answer, and whether the template ends answers at all."""
    special = _first_special(finish, own)
    if special is not None:
        at, word = special
        return finish[: at + len(word)], finish[at + len(word) :], (word,), True
    if written := finish.strip():
        kept = finish.rstrip()
        return kept, finish[len(kept) :], (written,), True
    if not own.eos:
        raise NoForm("它的回答没有结束符", "it does not mark the end of an answer")
    following = _first_special(head, own)
    stops = (own.eos, following[1]) if following and following[0] == 0 else (own.eos,)
    return own.eos, finish, stops, False


def _first_special(text: str, own: ChatTemplate) -> tuple[int, str] | None:
    """Return the first special token in a text with its position."""
    known = sorted(own.tokens, key=len, reverse=True)
    found = re.search("|".join(map(re.escape, known)), text) if known else None
    return (found.start(), found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _System:
    """SYSTEM, and what the model's template has in its place."""

    text: str
    known: bool
    default: str
    own_start: str = ""
    start: str = ""


def _system(told: Rendered, own_start: str, start: str, head: str, opening: str, own: ChatTemplate) -> _System:
    """Derive the form of a system turn from a rendering with one; if none fits, SYSTEM goes before everything else."""
    before = own_start.removeprefix(own.bos) if own.bos else own_start
    none = _System(text="{system}\n", known=False, default=_prose(before, own))
    if told.text is None or _SYSTEM not in told.text:
        return none
    try:
        first, second, last = _pieces(told.text, _SYSTEM, _ASKED)
    except NoForm:
        return none
    if last != opening or not second.endswith(head):
        return none
    after = second[: len(second) - len(head)]
    fixed, default = _fixed(first, second, own_start, start, own)
    if fixed is None:
        return none
    written = first[len(fixed) :]
    role = head.replace("user", "system").replace("User", "System").replace("USER", "SYSTEM")
    added = ""
    if role != head and role in written and written.partition(role)[2].strip():
        # A date or the like that the template adds before every system prompt.
        written, _, added = written.partition(role)
        written += role
    if TODAY in written or "{" in written + after or "}" in written + after:
        # Evaluation formats a system prompt twice, so braces in it cannot be escaped.
        return none
    default = f"{added}{default}".strip()
    return _System(text=f"{written}{{system}}{after}", known=True, default=default, own_start=first, start=written)


def _fixed(first: str, second: str, own_start: str, start: str, own: ChatTemplate) -> tuple[str | None, str]:
    """Return the text at the very beginning with and without a system turn, and the default system prompt there."""
    if start.startswith(first) and start.endswith(second) and len(start) >= len(first) + len(second) and first:
        fixed = own.bos if own.bos and first.startswith(own.bos) and own.bos not in second else ""
        return fixed, start[len(first) : len(start) - len(second)]
    if first.startswith(own_start):
        return own_start, ""
    return None, ""


def _prose(text: str, own: ChatTemplate) -> str:
    """Return a text without special tokens."""
    for token in sorted(own.tokens, key=len, reverse=True):
        text = text.replace(token, "")
    return text.strip()


def _escaped(text: str) -> str:
    """Escape a text for `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")
