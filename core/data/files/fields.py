"""Finds the role of each field of a record by its name: question, answer, thinking, weights, labels, tags and others.

KNOWN lists every name known from other people's files, with how the field is used. `shapes` and `messages` interpret
the values.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from core.ground.text import Text

QUESTION = (
    "question prompt query instruction input user human q ask problem 问 问题 提问 用户 用户输入 输入 指令 问句 题目 提示词"
).split()
ANSWER = (
    "answer response output completion assistant reply target gpt bot a solution moss 答 回答 答案 回复 输出 助手 应答"
).split()
SYSTEM = "system systemprompt systemmessage metainstruction 系统 系统提示词 系统提示".split()
HISTORY = "history 历史 历史对话".split()
CHATS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TEXT = ("text", "content")


@dataclass(frozen=True, slots=True)
class Known:
    """A kind of field: its names (without case, spaces and punctuation), and how it is used."""

    names: frozenset[str]
    becomes: Text


def _known(names: str, zh: str, en: str) -> Known:
    return Known(frozenset(names.split()), Text(zh, en))


KNOWN = {
    "question": Known(frozenset(QUESTION), Text("问题", "the question")),
    "answer": Known(frozenset(ANSWER), Text("回答", "the answer")),
    "system": Known(frozenset(SYSTEM), Text("系统提示词", "the system prompt")),
    "history": Known(frozenset(HISTORY), Text("前面的几轮对话", "the previous turns")),
    "chat": Known(frozenset(CHATS), Text("一段对话的各轮", "the turns of a conversation")),
    "context": _known("input context passage background materials 材料 背景 上下文 原文",
                      "接在问题后面", "appended to the question"),
    "thinking": _known(
        "reasoningcontent reasoning thinking thought thoughts think cot complexcot chainofthought rationale innerthoughts "
        "reasoningsteps thinkingprocess 思考 思维链 思考过程 推理过程",
        "<think>…</think> 放在回答前面，也可以略去", "placed as <think>…</think> before the answer, or left out on request"),
    "trained": _known("weight train loss trainable training trainonturn istrain outputwithloss lossweight",
                      "为 0 或否的回答只作上文，不训练", "answers with 0 or false are context only, not trained on"),
    "label": _known("label ktotag desirable isgood iscorrect isdesirable thumbsup",
                    "为否的一行略去，也可以保留", "rows with false are left out, or kept on request"),
    "better": _known(
        "chosen chosenresponse chosenanswer chosenmessages preferred preferredoutput preferredresponse responsechosen "
        "accepted win better good responsej bestanswer 好回答 优选",
        "较好的回答，用它", "the preferred answer (used)"),
    "worse": _known(
        "rejected rejectedresponse rejectedanswer rejectedmessages rejectedoutput nonpreferredoutput dispreferred "
        "dispreferredoutput responserejected negative lose loser worse bad responsek worstanswer 坏回答 拒绝",
        "较差的回答，不用", "the rejected answer (not used)"),
    "tools": _known("tools functions functionlist toollist", "放进系统提示词", "added to the system prompt"),
    "tool_calls": _known("toolcalls functioncall toolcall", "以 JSON 文字放进回答", "added to the answer as JSON text"),
    "media": _known(
        "image images imagepath imageurl picture pictures video videos videopath audio audios audiopath img "
        "图片 图像 音频 视频",
        "这一行要配图片、音频或视频，略去", "the row needs an image, audio or video and is left out"),
    "id": _known(
        "id ids uuid guid idx index no number rowid conversationid convid dialogid dialogueid sampleid questionid "
        "messageid sessionid threadid userid toolcallid responseid promptid hash md5 sha256 turn numturns turnid "
        "序号 编号 行号",
        "不需要", "not needed"),
    "tag": _known(
        "tag tags source dataset task tasktype type kind category categories subcategory class domain topic subject "
        "lang language split model modelname generator level difficulty score scores rating quality time timestamp "
        "date createdat createtime created updatedat updated url link license version meta metadata extra annotations "
        "predictions tokens length status name role author labels 标签 分类 类别 类型 来源 难度 时间 日期 语言 分数 备注 关键词 keywords",
        "不需要", "not needed"),
}  # fmt: skip
_BY_NAME = {name: kind for kind in reversed(KNOWN) for name in KNOWN[kind].names}
# Parts that a longer name may contain, and parts that it must not: 标准问题 and user_query match, 问题编号 and answer_time do
# not.
_QUESTION_PARTS = ("question", "query", "prompt", "instruction", "问题", "提问", "问句", "题目", "问法")
_ANSWER_PARTS = ("answer", "response", "reply", "completion", "output", "答案", "回答", "回复", "答复", "应答", "解答")
# Latin words must match as a word, so that "guide" does not contain "id"; Chinese ones need not.
_NOT_WORDS = frozenset(
    "id ids type time date count score len length num number token tokens lang source tag category status url by similar "
    "negative reject worse bad wrong".split()
)
_NOT_PARTS = "编号 类型 类别 分类 时间 日期 数量 次数 人 来源 标签 状态 字数 序号 相似 扩展 错误".split()
_WORDS_OF = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def plain_name(key: Any) -> str:
    """Return the name of a column or role without case, spaces and punctuation."""
    return _plain(key) if isinstance(key, str) else _plain(str(key))


@lru_cache(4096)
def _plain(key: str) -> str:
    return "".join(character for character in key[:200].strip().lower() if character.isalnum())


def column(record: Iterable[Any], names: Iterable[str]) -> str | None:
    """Return the record's column for the first matching name in `names`, in its own spelling."""
    spelled = {plain_name(key): key for key in record if key is not None}
    return next((spelled[name] for name in names if name in spelled), None)


def kind_of(key: Any) -> str | None:
    """Return the key of KNOWN for a name; None if it is unknown."""
    return _BY_NAME.get(plain_name(key))


@dataclass(slots=True)
class Layout:
    """The keys of a record by role.

    `others` are not used; `preference`: the record has two answers; `wrapped`: its content may be in a nested object.
    """

    question: str | None = None
    answer: str | None = None
    system: str | None = None
    history: str | None = None
    chats: tuple[str, ...] = ()
    text: str | None = None
    context: str | None = None
    thinking: str | None = None
    trained: str | None = None
    label: str | None = None
    better: str | None = None
    worse: str | None = None
    tools: str | None = None
    media: tuple[str, ...] = ()
    others: tuple[str, ...] = field(default=())
    preference: bool = False
    wrapped: bool = False

    @property
    def is_qa(self) -> bool:
        return bool(self.question and self.answer and self.question != self.answer)


def layout_of(keys: Iterable[Any]) -> Layout:
    """Return the role of each key of a record, by name."""
    keys = [key for key in keys if key is not None and str(key).strip()]
    found = Layout(
        question=column(keys, QUESTION),
        answer=column(keys, ANSWER),
        system=column(keys, SYSTEM),
        history=column(keys, HISTORY),
        chats=tuple(key for name in CHATS for key in keys if str(key).strip().lower() == name),
        text=column(keys, TEXT),
    )
    if found.question is None or found.question == found.answer:
        found.question = _by_part(keys, _QUESTION_PARTS, found.answer)
    if found.answer is None:
        found.answer = _by_part(keys, _ANSWER_PARTS, found.question)
    taken = {found.question, found.answer, found.system, found.history, *found.chats}
    for key in keys:
        if key in taken:
            continue
        kind = "context" if plain_name(key) in KNOWN["context"].names else kind_of(key)
        if kind == "media":
            found.media = (*found.media, key)
        elif kind in ("context", "thinking", "trained", "label", "better", "worse", "tools"):
            if getattr(found, kind) is None:
                setattr(found, kind, key)
    return found


def not_used(keys: Iterable[Any], used: Iterable[str | None]) -> tuple[str, ...]:
    """Return the keys that are neither used nor known to be irrelevant."""
    taken = set(used)
    return tuple(key for key in keys if key not in taken and kind_of(key) not in ("id", "tag"))


def _by_part(keys: list[str], parts: tuple[str, ...], other: str | None) -> str | None:
    """Return the key whose name contains one of `parts` and no excluding part; of several, the standard one."""
    held = [key for key in keys if key != other and kind_of(key) is None and any(p in plain_name(key) for p in parts)]
    held = [key for key in held if not _is_about(key)]
    return next((key for key in held if "标准" in key or "standard" in key.lower()), held[0] if held else None)


def _is_about(key: str) -> bool:
    """Return whether a name describes an attribute of a question or answer, such as its id or time."""
    words = {word.lower() for word in _WORDS_OF.findall(key)}
    return bool(words & _NOT_WORDS) or any(part in key for part in _NOT_PARTS)
