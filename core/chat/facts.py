"""Judges the answer to a factual question: its first claim is compared with what is accepted and what is not.

  accept   what is right: words, or a number, in digits or words (24, 1,000, twenty-four, 二十四)
  not      what is wrong: a rival that could be named before or instead (Sydney), or that contains the right one (二氧化碳, 氧)
  ignore   what says nothing either way and is skipped (鲸鱼 in an answer to “fish or mammal?”)

The first claim counts, not the best one: "Lyon, not Paris" says Lyon. If a number is asked for, every number is a
claim, except those in the question. Knows the facts of `facts.json` and no model.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from core.chat.numerals import Number, numbers
from core.data.dialogues.curated import dialogues

# Before a claim, within its clause: the answer denies it.
_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|unlike|without)\b(?! only)|n't\b|\brather than\b|\binstead of\b)"
    r"(?:(?!\bbut\b)[^,.;:!?\n]){0,24}$"
    r"|(?:不是|并非|而非|不叫|不在|不等于|不属于|没有|绝非)(?:(?!而是)[^，。；：！？、,.;\n]){0,6}$"
)
# Immediately after a claim: also denies it.
_DENIED_AFTER = re.compile(r"^[”\"』」]?\s*(?:(?:is|was|are|were) not|isn't|wasn't|aren't|不是|并不是|并非)")
# The result of a calculation follows.
_RESULT = re.compile(
    r"=|\b(?:equals?|the answer is|the result is|therefore|which is|gives|we get)\b|等于|答案是|答案为|结果是|结果为|所以|因此|得到|得出"
)
# Years and large numbers are not confused with days and counts next to them.
_LARGE, _SMALL = 1000, 100
_SIMPLE = str.maketrans(
    "國華東島車龍馬鳥魚長門間開關風飛見貝頁齊黃麥點體學書當來對會時樣動電氣氫鐵銀鈉錶視聽觀雙隻條塊鄧劉漢趙莊"
    "論語詩詞經歷爾蘇維埃亞歐羅馬達芬蘭荷盧倫頓紐約聖誕節紅綠藍顏飯麵餅葉莖葡萄腦臟臉髮鬥門們個這還後發現號萬億兩點雲廣濟瀋陽爾濱蘭貴陝遼寧"
    "滬戶澤靜樂亂禮獅貓豬雞鴨鵝羅貫孫吳湯愛因斯坦頭質鑽剛銅鉛鹽滿鄱陽龐義諾蠶絲織網鯨喚鐘錢幣圓鎊訊臺灣寶騰",
    "国华东岛车龙马鸟鱼长门间开关风飞见贝页齐黄麦点体学书当来对会时样动电气氢铁银钠表视听观双只条块邓刘汉赵庄"
    "论语诗词经历尔苏维埃亚欧罗马达芬兰荷卢伦顿纽约圣诞节红绿蓝颜饭面饼叶茎葡萄脑脏脸发斗门们个这还后发现号万亿两点云广济沈阳尔滨兰贵陕辽宁"
    "沪户泽静乐乱礼狮猫猪鸡鸭鹅罗贯孙吴汤爱因斯坦头质钻刚铜铅盐满鄱阳庞义诺蚕丝织网鲸唤钟钱币圆镑讯台湾宝腾",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A factual question, normalized for comparison."""

    language: str
    topic: str
    question: str
    accept: tuple[str, ...]
    reject: tuple[str, ...]
    ignore: tuple[str, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Fact":
        """Create a fact from an entry of facts.json."""
        accept, reject, ignore = (tuple(map(plain, entry.get(key, ()))) for key in ("accept", "not", "ignore"))
        return cls(
            language=entry["language"],
            topic=entry["topic"],
            question=entry["question"],
            accept=accept,
            reject=reject,
            ignore=ignore,
        )


@dataclass(frozen=True, slots=True)
class _Claim:
    start: int
    end: int
    # Whether the claim is right or wrong; None if it does not count.
    right: bool | None


@cache
def facts() -> tuple[Fact, ...]:
    """Return all factual questions."""
    return tuple(Fact.of(entry) for entry in dialogues("facts"))


def plain(text: str) -> str:
    """Normalize a text for comparison: width, case, simplified characters, no spaces next to Chinese ones."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SIMPLE).replace("’", "'").replace("\u2044", "/")
    return re.sub(r"(?<=[\u4e00-\u9fff·])[ \t]+|[ \t]+(?=[\u4e00-\u9fff·])", "", text)


def right(answer: str, fact: Fact) -> bool:
    """Return whether the answer's first claim is accepted."""
    text = plain(answer)
    claims = [claim for claim in _claims(text, fact) if claim.right is not None and not _denied(text, claim)]
    if any(_value(form) is not None for form in fact.accept):
        # A calculation is judged by its result.
        results = [found.end() for found in _RESULT.finditer(text)]
        for place in reversed(results):
            if after := [claim for claim in claims if claim.start >= place]:
                claims = after
                break
    return bool(claims) and bool(claims[0].right)


def _claims(text: str, fact: Fact) -> list[_Claim]:
    """Return all claims about the question in a text, in order; of overlapping ones the longest."""
    found = [_Claim(start, end, None) for form in fact.ignore for start, end in _places(text, form)]
    found += [_Claim(start, end, False) for form in fact.reject for start, end in _places(text, form)]
    words = [form for form in fact.accept if _value(form) is None]
    found += [_Claim(start, end, True) for form in words for start, end in _places(text, form)]
    found += _numbers(text, fact)
    kept: list[_Claim] = []
    for claim in sorted(found, key=lambda c: (c.start - c.end, c.start)):
        if all(claim.end <= other.start or claim.start >= other.end for other in kept):
            kept.append(claim)
    return sorted(kept, key=lambda c: c.start)


def _numbers(text: str, fact: Fact) -> Iterator[_Claim]:
    """Yield the numbers that the text claims, if a number is asked for."""
    wanted = {value for form in fact.accept if (value := _value(form)) is not None}
    if not wanted:
        return
    question = plain(fact.question)
    asked = {number.value for number in numbers(question)}
    beside = {value for form in fact.ignore if (value := _value(form)) is not None}
    for number in numbers(text):
        if number.value in wanted:
            # A number repeated from the question together with what it counts is not an answer.
            again = text[number.start : number.end + 1] in question
            yield _Claim(number.start, number.end, None if again else True)
        elif not _of_no_account(number, wanted, asked | beside):
            yield _Claim(number.start, number.end, False)


def _of_no_account(number: Number, wanted: set[float], known: set[float]) -> bool:
    """Return whether a number claims nothing: it is in the question, a 1 as in "one day", or a day next to a year."""
    return number.value in known or number.value == 1 or (min(wanted) >= _LARGE and number.value < _SMALL)


def _places(text: str, form: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of a form as a complete word; Chinese has no word boundaries."""
    before = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", form) else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", form) else ""
    for found in re.finditer(before + re.escape(form) + after, text):
        yield found.span()


def _denied(text: str, claim: _Claim) -> bool:
    return bool(_DENIED.search(text[: claim.start]) or _DENIED_AFTER.match(text[claim.end :]))


def _value(form: str) -> float | None:
    """Return the number that a form represents; None for words."""
    return float(form) if re.fullmatch(r"\d+(?:\.\d+)?", form) else None
