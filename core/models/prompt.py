"""How a model is spoken to: its own chat template, put into XTuner's form and proved to be the same.

A template is a program; exchanges with words of our own in them are rendered with it and cut where those words stand.
What an XTuner template would make of the same exchanges must be equal, else it is not taken. XTuner's own templates are
compared as texts. Which tokens the texts become is for the engine.

What is left out of the form, and why:

    a system prompt that the template brings itself   it says who the model is, which a training would contradict
    today's date, a knowledge date                    another one at every rendering
    a thought that the template begins (`<think>`)    in the answers of earlier rounds there is none, and the rows bring
                                                      their own or none: an answer begins where those begin
"""

import re
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from core.engine.presets import PromptTemplate, prompt_templates
from core.ground.files import read_json, write_json
from core.ground.problem import Problem
from core.ground.text import Text
from core.models import chat_template
from core.models.chat_template import ChatTemplate
from core.models.form import PROOFS, Form, NoForm, cut, example

Kind = Literal["named", "derived", "base", "unknown"]
# What a cached finding was made by: another number makes all anew.
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The template that a model is trained and asked with.

    `kind`: `named` is XTuner's own, `derived` written out, `base` proposed for a model without a chat template,
    `unknown` for one whose template fits no form. `own` is an exchange as the model's template renders it.
    """

    template: PromptTemplate = field(default_factory=PromptTemplate)
    kind: Kind = "base"
    # What the tokenizer begins and ends with, where a template leaves that to it.
    bos: str = ""
    eos: str = ""
    # Of the model's own template: what it brings itself, whether it takes a system turn, what it thinks before.
    default_system: str = ""
    system: bool = True
    thinking: str = ""
    # Whether several rounds are equal too, where an answer has no end of its own.
    rounds: bool = True
    own: str = ""
    why: Text | None = None

    @property
    def known(self) -> bool:
        """Whether the model itself says how it is spoken to."""
        return self.kind in ("named", "derived")

    def complete(self, template: PromptTemplate) -> PromptTemplate:
        """A template as this model is asked with it: with its tokenizer's own ends where the template leaves them to it."""
        return _completed(template, self.bos, self.eos)

    @property
    def ours(self) -> str:
        """The exchange of `own`, as XTuner makes it with the template."""
        return self.template.prompt(example().turns)

    @property
    def reason(self) -> Text:
        """Why this template is the one."""
        name = self.template.name or ""
        return {
            "named": Text(
                f"模型自己的 chat_template 与 XTuner 的 {name} 逐字相同",
                f"the model's own chat_template gives the same text as XTuner's {name}",
            ),
            "derived": Text(
                "由模型自己的 chat_template 得出，逐字对照过：XTuner 自带的模板都与它不同",
                "derived from the model's own chat_template and checked against it; no XTuner template is identical",
            ),
            "base": Text(
                f"模型没有 chat_template：用 {name} 教它一种对话格式",
                f"the model has no chat_template: {name} teaches it a chat format",
            ),
            "unknown": Text(
                f"模型的 chat_template 无法写成 XTuner 的形式，暂用 {name}：请自己选择",
                f"the model's chat_template cannot be expressed as an XTuner template; {name} is used instead: check the choice",
            ),
        }[self.kind]

    @property
    def problems(self) -> list[Problem]:
        """What a person has to know before a training."""
        name = self.template.name or ""
        if self.kind == "base":
            return [
                Problem(
                    severity="warning",
                    where="chat_template",
                    message=Text(
                        "模型没有对话模板（chat_template）：它是只会续写的基座模型，没有学过一问一答",
                        "the model has no chat_template: it is a base model, which continues text but has not learned to answer",
                    ),
                    hint=Text(
                        f"可以用纯文本做增量预训练（配方 pretrain）；要教它对话，配置会用 XTuner 的 {name} 模板，微调前的回答"
                        "不会像样，数据也要多一些；想快些见效，请换用对话版（Chat、Instruct）",
                        f"continue pre-training it on plain text (recipe pretrain), or teach it to chat: configs use XTuner's {name}; its answers before training mean little, and it needs more data. A Chat or Instruct model is quicker",
                    ),
                )
            ]
        if self.kind == "unknown":
            return [
                Problem(
                    severity="warning",
                    where="chat_template",
                    message=Text(
                        f"模型的对话模板无法写成 XTuner 的形式：{self.why.zh if self.why else ''}",
                        f"the model's chat_template cannot be expressed as an XTuner template: {self.why.en if self.why else ''}",
                    ),
                    hint=Text(
                        f"暂用 {name}：在“准备”页对照两种写法，再用 prompt_template 选一个",
                        f"{name} is used instead: compare both on the Setup page, then choose with prompt_template",
                    ),
                )
            ]
        return []

    def to_json(self) -> dict[str, Any]:
        """What the headless commands say of it."""
        return {
            "name": self.template.name,
            "system": self.template.system,
            "instruction": self.template.instruction,
            "suffix": self.template.suffix,
            "sep": self.template.sep,
            "stop_words": list(self.template.stop_words),
            "suffix_as_eos": self.template.suffix_as_eos,
            "kind": self.kind,
            "reason": str(self.reason),
            "default_system": self.default_system,
            "takes_system": self.system,
            "thinking": self.thinking,
        }


def find(path: Path, kind: str | None, cache: Path | None = None) -> Prompt:
    """The prompt of the model directory at `path`, of the `model_type` that its config names; kept in `cache`."""
    stamp = chat_template.stamp(path)
    return _kept(path, kind or "", stamp, cache)


@lru_cache(maxsize=64)
def _kept(path: Path, kind: str, stamp: str, cache: Path | None) -> Prompt:
    file = cache / "prompts" / f"{stamp[:32]}-{kind or '-'}.json" if cache else None
    kept = read_json(file) if file else None
    if isinstance(kept, dict) and kept.get("version") == _VERSION:
        return _from_json(kept)
    found = prompt_of(chat_template.read(path), kind)
    if file:
        write_json(file, {"version": _VERSION, **asdict(found)})
    return found


def _from_json(kept: dict[str, Any]) -> Prompt:
    fields = {name: kept[name] for name in Prompt.__dataclass_fields__}
    template, why = PromptTemplate.from_json(fields.pop("template")), fields.pop("why")
    return Prompt(template=template, why=Text(**why) if why else None, **fields)


def of_demo(found: Prompt) -> Prompt:
    """The prompt of a demo model that does not say its own: InternLM2's, by which it was built."""
    return replace(found, kind="named", template=prompt_templates()["internlm2_chat"])


def prompt_of(own: ChatTemplate, kind: str = "") -> Prompt:
    """The prompt that a chat template makes, of a model of the family `kind`."""
    ends = own.bos, own.eos
    if own.text is None:
        return Prompt(template=_completed(_for_base(own, kind), *ends), kind="base", bos=own.bos, eos=own.eos)
    asked = [*Form.asked(), *PROOFS]
    rendered = chat_template.render(own, asked)
    looks, proofs = rendered[: len(Form.asked())], rendered[len(Form.asked()) :]
    shown = looks[-1].text or ""
    try:
        form = cut(looks, own)
        form.prove(list(zip(PROOFS, proofs, strict=True)))
    except NoForm as error:
        standing = _completed(_for_base(own, kind), *ends)
        return Prompt(template=standing, kind="unknown", bos=own.bos, eos=own.eos, own=shown, why=error.text)
    name = _named(form.template, own, kind, system=form.takes_system)
    return Prompt(
        template=name or form.template,
        kind="named" if name else "derived",
        bos=own.bos,
        eos=own.eos,
        default_system=form.default_system.replace(chat_template.TODAY, "…"),
        system=form.takes_system,
        thinking=form.thinking,
        rounds=form.rounds,
        own=shown.replace(chat_template.TODAY, "…"),
    )


def _named(form: PromptTemplate, own: ChatTemplate, kind: str, *, system: bool) -> PromptTemplate | None:
    """XTuner's template that makes the same text of every exchange; of several, the family's or that with more ends."""
    exchanges = [proof for proof in PROOFS if system or not proof.system]
    found = []
    for name, template in prompt_templates().items():
        complete = _completed(template, own.bos, own.eos)
        ends = (*template.stop_words, "" if template.suffix_as_eos else own.eos)
        ending = form.stop_words[0] if form.stop_words else ""
        if ending in ends and all(
            complete.prompt(one.turns, one.system) == form.prompt(one.turns, one.system) for one in exchanges
        ):
            family = _of_family(name, kind)
            known = all(word in own.tokens for word in template.stop_words)
            found.append(((family, known, len(template.stop_words)), complete))
    return max(found, key=lambda one: one[0])[1] if found else None


def _completed(template: PromptTemplate, bos: str, eos: str) -> PromptTemplate:
    return template if template.suffix_as_eos else replace(template, bos=bos, eos=eos)


def _for_base(own: ChatTemplate, kind: str) -> PromptTemplate:
    """What to teach a model that says nothing: its family's template where it has all of its marks as tokens, ChatML
    where it has those; else XTuner's `default`, of plain words, which ends by the end token that every tokenizer has."""
    templates = prompt_templates()
    fitting = [name for name, template in templates.items() if _has_marks(template, own)]
    family = [name for name in fitting if _of_family(name, kind)]
    # The newest of a family's stands last.
    chosen = family[-1:] or [name for name in fitting if name == "qwen_chat"]
    return templates[chosen[0] if chosen else "default"]


def _of_family(name: str, kind: str) -> bool:
    """Whether XTuner's template `name` is called after the family `kind`: `qwen_chat` of qwen2, baichuan2_chat of baichuan."""
    family = name.partition("_")[0]
    return bool(kind) and (kind.startswith(family) or family.rstrip("0123456789") == kind)


def _has_marks(template: PromptTemplate, own: ChatTemplate) -> bool:
    marks = {*re.findall(r"<[^<>\s]+>", template.instruction), *([template.suffix] if template.suffix else [])}
    return bool(marks) and marks <= own.tokens
