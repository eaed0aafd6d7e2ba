"""Detects a model's family: its name, its maker, its languages. Used to teach an identity that is true.

Detected from the names in the model's directory and files, else from its architecture if only one family uses it. Loads
nothing. A model of an unknown family has none, and nothing is claimed about it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from core.ground.files import read_start
from core.ground.model_code import read_object
from core.ground.text import Text
from core.models.agreed import origin
from core.models.model import Model

_README_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family.

    `pattern` finds it in a name; `architectures` are those of no other family; `aliases` are names of its models
    besides `label`.
    """

    key: str
    label: Text
    maker: Text
    pattern: str
    architectures: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("zh", "en")


_ENGLISH = ("en",)
FAMILIES = {
    family.key: family
    for family in (
        Family(
            key="internlm",
            label=Text("书生·浦语", "InternLM"),
            maker=Text("上海AI实验室", "Shanghai AI Laboratory"),
            pattern=r"internlm|intern-?s1|书生",
            architectures=("InternLMForCausalLM", "InternLM2ForCausalLM", "InternLM3ForCausalLM"),
            aliases=("书生", "浦语", "上海人工智能实验室"),
        ),
        Family(
            key="qwen",
            label=Text("通义千问", "Qwen"),
            maker=Text("阿里云", "Alibaba Cloud"),
            pattern=r"qwen|qwq|通义",
            architectures=("QWenLMHeadModel", "Qwen2ForCausalLM", "Qwen2MoeForCausalLM", "Qwen3ForCausalLM"),
            aliases=("通义", "千问", "Alibaba"),
        ),
        Family(
            key="deepseek",
            label=Text("DeepSeek", "DeepSeek"),
            maker=Text("深度求索", "DeepSeek-AI"),
            pattern=r"deepseek",
            architectures=("DeepseekForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"),
        ),
        Family(
            key="glm",
            label=Text("GLM", "GLM"),
            maker=Text("智谱AI", "Zhipu AI"),
            pattern=r"glm",
            architectures=("ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM", "Glm4ForCausalLM"),
            aliases=("ChatGLM", "智谱"),
        ),
        Family(
            key="baichuan",
            label=Text("百川", "Baichuan"),
            maker=Text("百川智能", "Baichuan Inc."),
            pattern=r"baichuan",
            architectures=("BaichuanForCausalLM", "BaiChuanForCausalLM"),
        ),
        Family(
            key="minicpm",
            label=Text("MiniCPM", "MiniCPM"),
            maker=Text("面壁智能", "ModelBest"),
            pattern=r"minicpm",
            architectures=("MiniCPMForCausalLM", "MiniCPM3ForCausalLM"),
        ),
        Family(
            key="yi",
            label=Text("Yi", "Yi"),
            maker=Text("零一万物", "01.AI"),
            pattern=r"(?<![a-z])yi(?![a-z])",
            aliases=("零一万物",),
        ),
        Family(
            key="smollm",
            label=Text("SmolLM", "SmolLM"),
            maker=Text("Hugging Face", "Hugging Face"),
            pattern=r"smollm",
            architectures=("SmolLM3ForCausalLM",),
            languages=_ENGLISH,
        ),
        Family(
            key="tinyllama",
            label=Text("TinyLlama", "TinyLlama"),
            maker=Text("TinyLlama 团队", "the TinyLlama team"),
            pattern=r"tiny-?llama",
            languages=_ENGLISH,
        ),
        Family(
            key="vicuna",
            label=Text("Vicuna", "Vicuna"),
            maker=Text("LMSYS", "LMSYS"),
            pattern=r"vicuna",
            languages=_ENGLISH,
        ),
        Family(
            key="gemma",
            label=Text("Gemma", "Gemma"),
            maker=Text("谷歌", "Google"),
            pattern=r"gemma",
            architectures=("GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"),
            aliases=("Google",),
        ),
        Family(
            key="phi",
            label=Text("Phi", "Phi"),
            maker=Text("微软", "Microsoft"),
            pattern=r"(?<![a-z])phi(?![a-z])",
            architectures=("PhiForCausalLM", "Phi3ForCausalLM", "PhimoeForCausalLM"),
            languages=_ENGLISH,
        ),
        Family(
            key="mistral",
            label=Text("Mistral", "Mistral"),
            maker=Text("Mistral AI", "Mistral AI"),
            pattern=r"mi[sx]tral|ministral",
            architectures=("MistralForCausalLM", "MixtralForCausalLM"),
            languages=_ENGLISH,
        ),
        Family(
            key="llama",
            label=Text("Llama", "Llama"),
            maker=Text("Meta", "Meta"),
            pattern=r"llama",
        ),
    )
}


def family_of(model: Model) -> Family | None:
    """Return the family of a model; None if unknown. The demo model belongs to InternLM."""
    for name in _names(model):
        # The name that comes first: DeepSeek-R1-Distill-Qwen calls itself DeepSeek. At the same position the longer
        # one: TinyLlama.
        found = [(m.start(), -len(m[0]), key) for key, family in FAMILIES.items() if (m := _find(family, name))]
        if found:
            return FAMILIES[min(found)[2]]
    return next((family for family in FAMILIES.values() if model.architecture in family.architectures), None)


def label_of(model: Model, family: Family) -> Text:
    """Return the name of a model with the version in its name: `SmolLM2`, `Qwen2.5`, `Llama 3`.

    Chinese names have no version, since the models themselves do not state one.
    """
    versions = (
        re.search(rf"({family.label.en})[-_ ]?v?(\d+(?:\.\d+)?)(?![\d.]*[bm])", name, re.I) for name in _names(model)
    )
    version = next((found[2] for found in versions if found), None)
    if version is None:
        return family.label
    spaced = (
        f"{family.label.en} {version}" if family.key in ("llama", "gemma", "phi") else f"{family.label.en}{version}"
    )
    return Text(family.label.zh if family.label.zh != family.label.en else spaced, spaced)


def size_of(model: Model) -> str:
    """Return the size as usually written, `1.8B` or `135M`: from the name, else the parameters; empty if unknown."""
    for name in _names(model)[:2]:
        said = re.search(r"(?<![\d.])(\d+(?:[._]\d+)?)\s?([bm])(?![a-z0-9])", name, re.I)
        if said:
            return f"{said[1].replace('_', '.')}{said[2].upper()}"
    if model.demo or not model.parameters:
        return ""
    count = model.parameters
    return f"{count / 1e9:.1f}".removesuffix(".0") + "B" if count >= 0.95e9 else f"{count / 1e6:.0f}M"


def named_in(text: str, other_than: Family | None) -> Family | None:
    """Return the family, other than `other_than`, whose name or maker a text claims; None if there is none.

    A denial ("不是通义千问", "not Qwen") is not a claim.
    """
    for family in FAMILIES.values():
        if other_than is not None and family.key == other_than.key:
            continue
        for name in {family.label.zh, family.label.en, *family.aliases}:
            for found in re.finditer(re.escape(name), text, re.I if name.isascii() else 0):
                if name.isascii() and re.search(r"[A-Za-z]$", text[: found.start()]):
                    continue
                if name.isascii() and re.match(r"[A-Za-z]", text[found.end() :]):
                    continue
                if not re.search(
                    r"(不是|并非|不叫|\bnot\b|n't|never)[^。.!?！？，,；;]{0,16}$", text[: found.start()], re.I
                ):
                    return family
    return None


def _find(family: Family, name: str) -> re.Match[str] | None:
    return re.search(family.pattern, name, re.I)


def _names(model: Model) -> list[str]:
    """Return the names of a model, most reliable first: its directory, the workspace, its config, its README."""
    path = Path(model.path)
    lies = origin(path)
    names = [lies.name, model.name]
    if lies.parent.name == "snapshots":
        # A hub's cache: models--OWNER--NAME/snapshots/REVISION.
        names.insert(0, lies.parents[1].name.rpartition("--")[2])
    said = (read_object(path / "config.json") or {}).get("_name_or_path")
    if isinstance(said, str):
        names.append(said.rpartition("/")[2])
    try:
        readme = read_start(path / "README.md", _README_BYTES).decode("utf-8", errors="replace")
    except OSError:
        readme = ""
    heading = re.search(r"^#\s+(.+)$", readme, re.M)
    return [*names, heading[1]] if heading else names
