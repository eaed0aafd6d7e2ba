"""Why a complete model cannot be trained: quantized weights, not a causal language model, newer than the engine.

Reads config.json and the headers of the weights; loads nothing. `weights` checks whether the files are complete.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.engine.architectures import Architectures
from core.ground.problem import Problem
from core.ground.text import Text
from core.models.weights import safetensors_headers

_QUANTISED_NAME = re.compile(
    r"[-_.](?:gptq|awq|fp8|int[248]|w\d+a\d+|[248]bit|bnb|gguf|exl2|mlx|eetq|hqq|quantized)(?:[-_.].*)?$", re.I
)
# Tensor names of packed weights, for models whose config.json does not say so: GPTQ and AWQ, compressed-tensors, FP8.
_PACKED_TENSOR = re.compile(r"\.(?:qweight|qzeros|weight_packed|weight_scale_inv|g_idx)$")
_METHODS = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "fp8": "FP8",
    "fbgemm_fp8": "FP8",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "mxfp4": "MXFP4",
}


def misfit(path: Path, config: Mapping[str, Any], known: Architectures | None) -> Problem | None:
    """Return why the model at `path` with this `config` cannot be trained although its files are complete; else None.

    `known` are the model types of the selected engine; if None, only the files are checked. The first reason is the one
    to act on: an unknown vision model remains a vision model in every engine.
    """
    return _quantised(path, config) or _other_kind(path, config, known) or _unknown_type(config, known)


def _problem(where: str, message: tuple[str, str], hint: tuple[str, str]) -> Problem:
    return Problem(severity="error", where=where, message=Text(*message), hint=Text(*hint))


def _quantised(path: Path, config: Mapping[str, Any]) -> Problem | None:
    """Quantized weights: the optimizer cannot change them, and an adapter cannot be merged into them."""
    settings = config.get("quantization_config") or config.get("quantization") or config.get("compression_config")
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if not settings and (path / "quantize_config.json").is_file():
        method, settings = "gptq", True
    if not settings and _packed(path):
        settings = True
    if not settings:
        return None
    name = _METHODS.get(method, method) if isinstance(method, str) else None
    kind_zh, kind_en = (f"{name} 量化", f"quantized with {name}") if name else ("量化", "quantized")
    original = _QUANTISED_NAME.sub("", path.resolve().name)
    zh, en = (f"（{original}）", f" ({original})") if original != path.resolve().name else ("", "")
    return _problem(
        "quantization_config",
        (
            f"权重已经是{kind_zh}后的：XTuner 不能在上面训练，也不能合并",
            f"the weights are {kind_en}: XTuner can neither train nor merge them",
        ),
        (
            f"请下载未量化的原始模型{zh}；显存不够时用 QLoRA，训练时再量化到 4 位",
            f"download the original, unquantized model{en}; if GPU memory is short, use QLoRA, which quantizes to 4 bits during training",
        ),
    )


def _packed(path: Path) -> bool:
    """Return whether the headers of the weights show tensors that only packed weights have."""
    for header in filter(None, safetensors_headers(path).values()):
        if any(_PACKED_TENSOR.search(name) for name in header):
            return True
        if any(str(tensor.get("dtype", "")).startswith("F8") for tensor in header.values()):
            return True
    return False


def _other_kind(path: Path, config: Mapping[str, Any], known: Architectures | None) -> Problem | None:
    """Models that do not generate text: embeddings, classifiers, images, audio, translation."""
    classes = list(_strings(config.get("architectures")))
    name = classes[0] if classes else str(config.get("model_type") or "")
    auto_map = config.get("auto_map") if isinstance(config.get("auto_map"), dict) else {}
    said = _kind(path, config, name)
    if said is None and classes and not _continues_text(classes, auto_map, known):
        said = (
            "不是逐词续写的语言模型",
            "is not a causal language model",
            "请换一个对话模型（名称通常带 Chat 或 Instruct）",
            "use a chat model (its name often contains Chat or Instruct)",
        )
    if said is None:
        return None
    return _problem("config.json", (f"{name} {said[0]}", f"{name} {said[1]}"), (said[2], said[3]))


_TEXT_MODEL = ("请换成同系列的纯文本对话模型", "use the text-only chat model of the same family")


def _kind(path: Path, config: Mapping[str, Any], name: str) -> tuple[str, str, str, str] | None:
    keys = set(config)
    if {"vision_config", "visual", "vit_config", "mm_vision_tower", "image_token_id"} & keys or re.search(
        r"VL(?:Chat|For|Model|_)|Vision|Llava|Image|Pix2|CLIP|ViT(?:For|Model)", name
    ):
        return ("是看图的多模态模型", "is a vision model", *_TEXT_MODEL)
    if {"audio_config", "speech_config"} & keys or re.search(r"Audio|Speech|Whisper|Wav2Vec|TTS", name):
        return ("是语音模型", "is a speech model", *_TEXT_MODEL)
    if (path / "modules.json").is_file() or (path / "1_Pooling").is_dir() or re.search(r"Embedding|SentenceT", name):
        return (
            "是向量（embedding）模型，不会回答问题",
            "is an embedding model, which does not answer questions",
            *_TEXT_MODEL,
        )
    if re.search(r"For(?:SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice)|Reward", name):
        return (
            "是分类或奖励模型，不会回答问题",
            "is a classifier or reward model, which does not answer questions",
            *_TEXT_MODEL,
        )
    if re.search(r"For(?:MaskedLM|PreTraining)$", name):
        return (
            "是填空模型（如 BERT），不会续写",
            "is a masked language model such as BERT, not a causal one",
            *_TEXT_MODEL,
        )
    if config.get("is_encoder_decoder") or re.search(r"ForConditionalGeneration|Seq2Seq", name):
        return (
            "是编码器-解码器模型（如 T5），XTuner 只训练逐词续写的模型",
            "is an encoder-decoder model such as T5; XTuner trains decoder-only models",
            *_TEXT_MODEL,
        )
    return None


def _continues_text(classes: list[str], auto_map: Mapping[str, Any], known: Architectures | None) -> bool:
    """Return whether the class in config.json, transformers' or the model's own, is a causal language model."""
    if "AutoModelForCausalLM" in auto_map:
        return True
    if known is not None and set(classes) & known.causal and not _encoders_only(classes):
        return True
    return any(re.search(r"For(?:\w*)CausalLM$|LMHead", name) for name in classes)


def _encoders_only(classes: list[str]) -> bool:
    return all(name.endswith("Model") for name in classes)


def _unknown_type(config: Mapping[str, Any], known: Architectures | None) -> Problem | None:
    """A model newer than the engine's transformers."""
    kind = config.get("model_type")
    auto_map = config.get("auto_map")
    if known is None or (isinstance(auto_map, dict) and "AutoConfig" in auto_map):
        return None
    if isinstance(kind, str) and kind in known.types:
        return None
    version = known.version or "?"
    if not isinstance(kind, str) or not kind:
        return _problem(
            "config.json",
            (
                "没有 model_type，transformers 不知道怎样加载它",
                "no model_type: transformers cannot tell how to load it",
            ),
            ("请重新下载这个模型的 config.json", "download the model's config.json again"),
        )
    return _problem(
        "config.json",
        (
            f"训练引擎的 transformers {version} 不认识模型类型 {kind}，模型也没有自带代码",
            f"the engine's transformers {version} does not know the model type {kind}, and the model includes no code of its own",
        ),
        (
            "若它比引擎新：换一个引擎认识的模型（如 InternLM2、Qwen2.5、Llama 3），或在“准备”页选用 transformers 更新的引擎；"
            "若它本来自带代码（modeling_*.py）：请重新完整下载",
            "if the model is newer than the engine, use one that the engine knows (InternLM2, Qwen2.5, Llama 3, …) or select an engine with a newer transformers on the Setup page; if it should include code (modeling_*.py), download it again completely",
        ),
    )


def _strings(value: Any) -> Iterable[str]:
    return (part for part in value if isinstance(part, str)) if isinstance(value, list) else ()
