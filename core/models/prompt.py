"""Finds a model's prompt template: its own chat template, expressed in XTuner's form and proved to be equivalent.

A chat template is a program: exchanges with marker words are rendered with it and cut at those words. The result is
used only if XTuner's form gives the same text for the same exchanges. XTuner's own templates are compared as texts.
Turning texts into tokens is left to the engine.

What the form omits, and why:

  a default system prompt of the template           it says who the model is, which the training would contradict
  today's date, a knowledge cutoff date             changes with every rendering
  thinking that the template opens (`<think>`)      earlier answers have none, and rows bring their own or none:
                                                    an answer begins where those begin
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
# Version of the cached results; increase it to discard them.
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The template that a model is trained and asked with.

    `kind`: `named` is XTuner's own, `derived` written out, `base` suggested for a model without a chat template,
    `unknown` if the model's template fits no form. `own` is an exchange as the model's template renders it.
    """

    template: PromptTemplate = field(default_factory=PromptTemplate)
    kind: Kind = "base"
    # The tokenizer's BOS and EOS, for templates that leave these to it.
    bos: str = ""
    eos: str = ""
    # Of the model's own template: its default system prompt, whether it accepts a system turn, the thinking it opens.
    default_system: str = ""
    system: bool = True
    thinking: str = ""
    # Whether several turns are equivalent too, if answers have no end token of their own.
    rounds: bool = True
    own: str = ""
    why: Text | None = None

    @property
    def known(self) -> bool:
        """Whether the model itself states its prompt template."""
        return self.kind in ("named", "derived")

    def complete(self, template: PromptTemplate) -> PromptTemplate:
        """Complete a template with this tokenizer's BOS and EOS if the template leaves these to it."""
        return _completed(template, self.bos, self.eos)

    @property
    def ours(self) -> str:
        """The exchange of `own` as XTuner renders it with the template."""
        return self.template.prompt(example().turns)

    @property
    def reason(self) -> Text:
        """Why this template was chosen."""
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
        """What the user has to know before training."""
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
        """Return the facts for the headless commands."""
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
    """Return the prompt of the model directory at `path` with this `model_type`; stored in `cache`."""
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
    """Return the prompt of a demo model without a chat template: InternLM2's, with which it was built."""
    return replace(found, kind="named", template=prompt_templates()["internlm2_chat"])


def prompt_of(own: ChatTemplate, kind: str = "") -> Prompt:
    """Return the prompt for a chat template of a model of type `kind`."""
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
    """Return XTuner's template that renders every exchange identically.

    Of several, the family's, or the one with more stop words.
    """
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
    """Return the template to teach a model without a chat template.

    Its family's template if all markers of that are tokens, ChatML if those are; else XTuner's `default`, which uses
    plain words and the end token that every tokenizer has.
    """
    templates = prompt_templates()
    fitting = [name for name, template in templates.items() if _has_marks(template, own)]
    family = [name for name in fitting if _of_family(name, kind)]
    # The newest template of a family comes last.
    chosen = family[-1:] or [name for name in fitting if name == "qwen_chat"]
    return templates[chosen[0] if chosen else "default"]


def _of_family(name: str, kind: str) -> bool:
    """Return whether XTuner's template `name` belongs to the family `kind`: `qwen_chat` to qwen2, for example."""
    family = name.partition("_")[0]
    return bool(kind) and (kind.startswith(family) or family.rstrip("0123456789") == kind)


def _has_marks(template: PromptTemplate, own: ChatTemplate) -> bool:
    marks = {*re.findall(r"<[^<>\s]+>", template.instruction), *([template.suffix] if template.suffix else [])}
    return bool(marks) and marks <= own.tokens
