"""Parse the names of XTuner's presets: model, method, data, and the meaning of the suffixes.

Uses names and folders alone; the preset files are read by `presets` and `config_file`.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.engine.presets import presets
from core.ground.text import Text

_METHODS = ("qlora", "lora", "full", "dpo", "orpo", "reward")
# Model families by name prefix, with the architectures that their presets apply to.
FAMILIES = {
    "internlm3": ("InternLM3ForCausalLM",),
    "internlm2": ("InternLM2ForCausalLM",),
    "internlm": ("InternLMForCausalLM",),
    "qwen1_5": ("Qwen2ForCausalLM",),
    "qwen2": ("Qwen2ForCausalLM",),
    "qwen": ("QWenLMHeadModel",),
    "llama3": ("LlamaForCausalLM",),
    "llama2": ("LlamaForCausalLM",),
    "llama": ("LlamaForCausalLM",),
    "yi": ("LlamaForCausalLM",),
    "mistral": ("MistralForCausalLM",),
    "zephyr": ("MistralForCausalLM",),
    "mixtral": ("MixtralForCausalLM",),
    "gemma": ("GemmaForCausalLM",),
    "phi3": ("Phi3ForCausalLM",),
    "baichuan": ("BaiChuanForCausalLM", "BaichuanForCausalLM"),
    "baichuan2": ("BaichuanForCausalLM",),
    "chatglm": ("ChatGLMModel", "ChatGLMForConditionalGeneration"),
    "deepseek": ("DeepseekForCausalLM", "DeepseekV2ForCausalLM"),
    "minicpm": ("MiniCPMForCausalLM", "MiniCPM3ForCausalLM"),
    "starcoder": ("GPTBigCodeForCausalLM",),
    "cohere": ("CohereForCausalLM",),
}
_DATA = {
    "alpaca": Text("Alpaca 指令", "Alpaca instructions"),
    "alpaca_en": Text("英文 Alpaca 指令", "Alpaca instructions in English"),
    "alpaca_zh": Text("中文 Alpaca 指令", "Alpaca instructions in Chinese"),
    "alpaca_enzh": Text("中英 Alpaca 指令", "Alpaca instructions in English and Chinese"),
    "oasst1": Text("OpenAssistant 多轮对话", "OpenAssistant dialogues"),
    "custom_pretrain": Text("你自己的纯文本", "your own texts"),
    "custom_sft": Text("你自己的对话", "your own dialogues"),
    "custom_dataset": Text("你自己的对话", "your own dialogues"),
    "medical": Text("医学问答", "medical Q&A"),
    "lawyer": Text("法律问答", "legal Q&A"),
    "colorist": Text("颜色描述", "colors from descriptions"),
    "coder": Text("写代码", "code"),
    "code_alpaca": Text("写代码", "code"),
    "sql": Text("写 SQL", "SQL"),
    "arxiv_gentitle": Text("论文标题", "paper titles"),
    "moss_sft": Text("MOSS 对话与插件", "MOSS dialogues and plugins"),
    "open_platypus": Text("Open-Platypus 推理", "Open-Platypus reasoning"),
    "openorca": Text("OpenOrca 指令", "OpenOrca instructions"),
    "msagent": Text("调用工具", "tool calls"),
    "tiny_codes": Text("写代码", "code"),
    "wizardlm": Text("WizardLM 指令", "WizardLM instructions"),
    "ultrafeedback": Text("成对的偏好", "preference pairs"),
    "crime_kg": Text("法律问答", "legal Q&A"),
    "tokenized_dataset": Text("InternLM 语料格式", "InternLM corpus format"),
    "internevo_dataset": Text("InternLM 语料格式", "InternLM corpus format"),
    "json": Text("你自己的 JSON", "your own JSON"),
    "pgbooks": Text("古登堡计划的书", "Project Gutenberg books"),
}
_LAST_WORDS = (
    (r"_e(\d+)", Text("{} 轮", "{} epochs")),
    (r"_gpu(\d+)", Text("{} 张显卡", "{} GPUs")),
    (r"_(\d+k)(?=_|$)", Text("长度 {}", "{} tokens")),
    (r"_sp(\d+)", Text("一条序列分到 {} 张显卡", "sequence parallel over {} GPUs")),
    (r"_(varlen\w*?attn|varlen)", Text("变长注意力", "varlen attention")),
    (r"_(hf)(?=_|$)", Text("用 Hugging Face 的 Trainer", "Hugging Face Trainer")),
    (r"_(zero3)", Text("需要 DeepSpeed ZeRO-3", "requires DeepSpeed ZeRO-3")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetName:
    """A preset's name, parsed. `billions` counts the model's parameters; `kind` is the training objective."""

    name: str
    family: str
    model: str
    billions: float | None
    chat: bool
    method: str
    kind: str
    data: Text
    notes: tuple[Text, ...]

    def fits(self, architecture: str | None) -> bool:
        """Return whether the preset is for models of this architecture."""
        return architecture in FAMILIES.get(self.family, ())


@cache
def catalogue(xtuner: Path | None = None) -> dict[str, PresetName]:
    """Return every preset of the installed XTuner, or of the one at `xtuner`, parsed and keyed by name."""
    return {name: _said(name, path.parts) for name, path in presets(xtuner).items()}


def search(
    words: str, xtuner: Path | None = None, *, method: str | None = None, architecture: str | None = None
) -> list[PresetName]:
    """Return the presets whose name or meaning contains every word, filtered by method and architecture."""
    wanted = words.lower().split()
    found = []
    for preset in catalogue(xtuner).values():
        text = f"{preset.name} {preset.kind} {preset.method} {preset.data.zh} {preset.data.en}".lower()
        if all(word in text or word in text.replace("_", "-") for word in wanted):
            if (method is None or preset.method == method) and (architecture is None or preset.fits(architecture)):
                found.append(preset)
    return found


def _said(name: str, folders: tuple[str, ...]) -> PresetName:
    words = name.split("_")
    at = next((n for n, word in enumerate(words) if word in _METHODS), None)
    model = "_".join(words[:at]) if at else name
    method = words[at] if at is not None else "full"
    if method in ("dpo", "orpo", "reward") and at is not None:
        # In `…_dpo_qlora` and `…_reward_full` the method follows the objective.
        how = next((word for word in words[at:] if word in ("qlora", "lora", "full")), "full")
        kind, method = method, how
    elif "reward_model" in folders:
        kind = "reward"
    elif name.startswith("convert_"):
        kind = "other"
    elif any(folder in ("llava", "internvl") for folder in folders):
        kind = "vision"
    elif "pretrain" in words:
        kind = "pretrain"
    else:
        kind = "sft"
    rest = "_".join(words[at + 1 :]) if at is not None else name
    key = max((key for key in _DATA if key in rest), key=len, default=None)
    notes = [
        Text(text.zh.format(found[1]), text.en.format(found[1]))
        for pattern, text in _LAST_WORDS
        if (found := re.search(pattern, name))
    ]
    family = max((family for family in FAMILIES if model.startswith(family)), key=len, default=words[0])
    # Search after the family: its version may look like a size.
    size = re.search(r"(?:^|_)(\d+(?:_\d+)?)b(?=_|$)", model.removeprefix(family), re.I)
    return PresetName(
        name=name,
        family=family,
        model=model,
        billions=float(size[1].replace("_", ".")) if size else None,
        chat=bool(re.search(r"chat|instruct|_it(?=_|$)|sft", model)),
        method=method,
        kind=kind,
        data=_DATA[key] if key else Text("见文件", "see the file"),
        notes=tuple(notes),
    )
