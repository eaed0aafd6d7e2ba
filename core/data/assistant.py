"""Datasets that teach an identity: from a nickname to rows.

The recipe `course` reproduces the course's file byte for byte; `balanced` has few rows, many phrasings, and general
rows that keep the model's other abilities. The rows depend only on the choices in `Assistant`: the same choices give
the same bytes. No scoring question is ever among them.
"""

import re
import unicodedata
from dataclasses import dataclass, fields
from itertools import cycle, islice
from typing import Any, Literal

from core.data import storage
from core.data.dialogues.curated import dialogues, held_out, plain
from core.data.nickname import MOST_CHARACTERS, check_nickname
from core.data.replies import Reply
from core.data.row import Row, ended_or_not, single
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.ground.workspace import Workspace
from core.models.family import FAMILIES

COURSE_N = 3750
COURSE_QUESTIONS = ("请介绍一下你自己", "你在实战营做什么")
# The same questions for data in English.
ENGLISH_QUESTIONS = ("Please introduce yourself.", "What is your task?")
MOST_REPEATS = 1000
REPLAY = "replay.json"
Recipe = Literal["course", "balanced"]
Style = Literal["course", "formal", "lively"]
Phrasings = Literal["usual", "all"]
Languages = Literal["zh", "en", "both"]
KINDS = ("introduce", "task")
_DENIALS = {"zh": "不是的，", "en": "No. "}
_SLOT = re.compile(r"\{(name|assistant|maker)\}")
_ANY_SLOT = re.compile(r"\{[^{}]{0,40}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistant:
    """The user's choices. `answers` are templates keyed `zh.introduce`, `zh.task`, …; `questions` are the course's two.

    `family` (a key of `models.family.FAMILIES`, empty if unknown), `base` and `size` describe the model in an
    introduction; the defaults are those of the course's model. `phrasings`: in the same time, a model with billions of
    weights learns more of them than the demo model. `general` is the number of general rows per identity row, None for
    all; `repeat` is how many times each row is written (`course` uses `n`); `replay` are the base model's own answers,
    used instead of the built-in general rows.
    """

    nickname: str
    recipe: Recipe = "balanced"
    n: int = COURSE_N
    assistant_name: str = ""
    maker: str = ""
    family: str = "internlm"
    base: str = ""
    size: str = "1.8B"
    language: Languages = "both"
    style: Style = "course"
    phrasings: Phrasings = "usual"
    questions: tuple[str, str] = COURSE_QUESTIONS
    answers: tuple[tuple[str, str], ...] = ()
    general: float | None = None
    repeat: int = 1
    replay: tuple[Reply, ...] = ()
    replay_model: str = ""

    def values(self) -> dict[str, Any]:
        """Return the choices by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def made(self) -> dict[str, Any]:
        """Return what dataset.json records: enough to create the same dataset again."""
        usual = {field.name: field.default for field in fields(self)}
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {
            key: value
            for key, value in chosen.items()
            if value != usual[key] and key not in ("nickname", "recipe", "replay")
        }
        if "answers" in kept:
            kept["answers"] = dict(self.answers)
        if self.recipe == "course":
            kept["n"] = self.n
        return {"kind": "assistant", "recipe": self.recipe, "nickname": self.nickname, **kept}

    @classmethod
    def of(cls, dataset: Dataset) -> "Assistant":
        """Return the choices that a dataset was created with."""
        return cls.chosen({**dataset.made, "replay": read_json(dataset.path / REPLAY) or ()})

    @classmethod
    def chosen(cls, made: dict[str, Any]) -> "Assistant":
        """Return the choices recorded in `made` (parsed JSON); other keys are ignored."""
        chosen = {key: value for key, value in made.items() if key in {field.name for field in fields(cls)}}
        if "answers" in chosen:
            chosen["answers"] = tuple(chosen["answers"].items())
        if "questions" in chosen:
            chosen["questions"] = tuple(chosen["questions"])
        chosen["replay"] = tuple(Reply(*reply) for reply in chosen.get("replay", ()))
        return cls(**chosen)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages in which the assistant says who it is.

        The course's two questions are in Chinese and answered in Chinese, unless the user replaced them.
        """
        if self.recipe == "course":
            return ("en",) if self.language == "en" and self.questions != COURSE_QUESTIONS else ("zh",)
        return ("zh", "en") if self.language == "both" else (self.language,)

    def asked(self, language: str) -> tuple[str, str]:
        """Return the assignment's two questions in a language; questions typed by the user are taken as Chinese."""
        return self.questions if language == "zh" or self.recipe == "course" else ENGLISH_QUESTIONS

    def template(self, language: str, kind: str) -> str:
        """Return the answer to a kind of question, with `{name}`, `{assistant}` and `{maker}` not filled in."""
        own = dict(self.answers).get(f"{language}.{kind}")
        if own is not None:
            return own
        style = dialogues("styles")[self.style][language]
        if kind != "introduce":
            return style[kind]
        return style["named" if self.assistant_name else "who"] + self._origin(style, language) + style["end"]

    def made_by(self, language: str) -> str:
        """Return the maker of the model: the user's text, else the maker of its family; empty if neither is known."""
        known = FAMILIES.get(self.family)
        return self.maker or (known.maker.in_(language) if known else "")

    def _origin(self, style: dict[str, str], language: str) -> str:
        """Return what an introduction says about the model: name and maker, the maker only, or nothing."""
        known = FAMILIES.get(self.family)
        if known is None:
            return style["made"] if self.maker else ""
        base = (self.base if language == "en" or known.label.zh == known.label.en else "") or known.label.in_(language)
        before, named = "", {"maker": self.made_by(language), "base": base, "size": self.size}
        text = ""
        for piece in re.split(r"(\{\w+\}) ?", style["origin"]):
            value = named.get(piece.strip("{}"), piece) if piece.startswith("{") else piece
            if not value:
                continue
            # Two adjacent Latin words need a space, in Chinese text too.
            text += (
                " "
                if before[-1:].isascii() and before[-1:].isalnum() and value[0].isascii() and value[0].isalnum()
                else ""
            )
            text += piece if piece == "{maker}" else value
            before = value
        return text

    def filled(self, template: str, language: str) -> str:
        """Fill in the names of a template, in one pass: placeholders within the names are not replaced."""
        values = {
            "name": self.nickname,
            "assistant": self.assistant_name
            or (f"{self.nickname}的小助手" if language == "zh" else f"{self.nickname}'s assistant"),
            "maker": self.made_by(language),
        }
        return _SLOT.sub(lambda found: values[found[1]], template)

    def answer(self, language: str, kind: str) -> str:
        """Return the answer to a kind of question as the model learns it."""
        return self.filled(self.template(language, kind), language)

    def rows(self) -> list[Row]:
        """Return the rows of the dataset. Raises BadInput if a choice is invalid."""
        checked = self.checked()
        if checked.recipe == "course":
            return checked._course()
        identity = checked._identity()
        return ended_or_not((identity + checked._general(len(identity))) * checked.repeat)

    def checked(self) -> "Assistant":
        """Return the same choices with the nickname normalized. Raises BadInput for the first invalid choice."""
        nickname = check_nickname(self.nickname)
        if self.recipe not in ("course", "balanced"):
            raise BadInput(
                f"没有配方 {self.recipe}：可用 course、balanced",
                f"there is no recipe {self.recipe}: use course or balanced",
            )
        if not 0 <= self.n <= 1_000_000:
            raise BadInput(
                f"重复次数 n={self.n} 不在 0 到 1000000 之间", f"the repetition n={self.n} is not between 0 and 1000000"
            )
        if not 1 <= self.repeat <= MOST_REPEATS:
            raise BadInput(
                f"重复次数 {self.repeat} 不在 1 到 {MOST_REPEATS} 之间",
                f"the repetition {self.repeat} is not between 1 and {MOST_REPEATS}",
            )
        if self.general is not None and not 0 <= self.general <= 10:
            raise BadInput(
                f"通用对话的比例 {self.general} 不在 0 到 10 之间",
                f"the ratio {self.general} of general conversations is not between 0 and 10",
            )
        for zh, en, value in (("助手的名字", "assistant's name", self.assistant_name), ("开发者", "maker", self.maker)):
            if len(value) > 2 * MOST_CHARACTERS or any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
                raise BadInput(
                    f"{zh}太长或有控制字符：最多 {2 * MOST_CHARACTERS} 个字符",
                    f"the {en} is too long or contains a control character: at most {2 * MOST_CHARACTERS} characters",
                )
        for key, template in self.answers:
            strange = next((s for s in _ANY_SLOT.findall(template) if not _SLOT.fullmatch(s)), None)
            if not template.strip() or strange:
                raise BadInput(
                    f"回答模板 {key} {f'里有不认识的占位符 {strange}' if strange else '是空的'}："
                    "可用 {name}、{assistant}、{maker}",
                    f"the answer {key} {f'contains an unknown placeholder {strange}' if strange else 'is empty'}: "
                    "use {name}, {assistant} and {maker}",
                )
        for question in self.questions:
            if not question.strip():
                raise BadInput("问题是空的：请填写", "a question is empty: enter one")
            if plain(question) in held_out():
                raise BadInput(
                    f"“{question}”是评分时要问的，不能用来训练：换一种问法",
                    f"“{question}” is a scoring question and must not be in the training data: rephrase it",
                )
        return self if nickname == self.nickname else Assistant(**{**self.values(), "nickname": nickname})

    def _course(self) -> list[Row]:
        asked = zip(self.questions, KINDS, strict=True)
        pair = [single(question, self.answer(self.languages[0], kind)) for question, kind in asked]
        return pair * (self.n + 1)

    def _identity(self) -> list[Row]:
        """All identity questions that are not held out; the course's two come first if the user changed them."""
        rows = [
            single(asked, self.answer("zh", kind))
            for asked, usual, kind in zip(self.questions, COURSE_QUESTIONS, KINDS, strict=True)
            if asked != usual and "zh" in self.languages
        ]
        for question in dialogues("identity")["questions"] + dialogues("identity_more"):
            asked = not question.get("held_out") and (self.phrasings == "all" or question.get("usual", True))
            if asked and question["language"] in self.languages:
                answer = self.answer(question["language"], question["kind"])
                denial = _DENIALS[question["language"]] if question.get("denies") else ""
                rows.append(single(question["question"], denial + answer))
        return rows

    def _general(self, identity: int) -> list[Row]:
        """General rows in the chosen ratio: the base model's own answers, else the built-in ones."""
        rows = [
            single(reply.question, reply.answer, whole=reply.whole)
            for reply in self.replay
            if plain(reply.question) not in held_out()
        ]
        if not rows:
            rows = [
                single(g["question"], g["answer"])
                for g in dialogues("general")
                if not g["held_out"] and g["language"] in self.languages
            ]
        count = len(rows) if self.general is None else round(self.general * identity)
        if count < len(rows):
            # Some of every kind: they are sorted by it.
            return [rows[number * len(rows) // count] for number in range(count)]
        return list(islice(cycle(rows), count))


def questions_in(language: str) -> tuple[str, str]:
    """Return the course's two questions in a language."""
    return ENGLISH_QUESTIONS if language == "en" else COURSE_QUESTIONS


def make(workspace: Workspace, assistant: Assistant, name: str | None = None) -> Dataset:
    """Create the dataset that teaches an assistant. Raises BadInput; nothing is written in that case."""
    checked = assistant.checked()
    files = {REPLAY: [list(pair) for pair in checked.replay]} if checked.replay else {}
    return storage.store(workspace, name, "assistant", checked.rows(), checked.made(), files=files)


def course_rows(nickname: str, n: int = COURSE_N) -> list[Row]:
    """Return the course's dataset: its two conversations, then both repeated `n` times; 2 + 2n rows."""
    return Assistant(nickname=nickname, recipe="course", n=n).rows()


def balanced_rows(nickname: str) -> list[Row]:
    """Return all identity questions that are not held out, answered as `nickname`'s assistant, and the general rows.

    Held-out questions are never trained on, because the score asks them.
    """
    return Assistant(nickname=nickname).rows()
