"""The training method (full, LoRA, QLoRA) and the kind of data: read from a config, and switched.

Each switch is a list of changes (path, value); values are written as in XTuner's own presets.
"""

from collections.abc import Iterator
from typing import Any

from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import PromptTemplate, prompt_templates
from core.engine.prompt_template import name_at, template_at

METHODS = ("qlora", "lora", "full")
TASKS = ("sft", "pretrain")
QUANTISATIONS = ("none", "nf4", "int8")
PRECISIONS = ("fp16", "bf16", "fp32")
LLM, DATASET, WRAPPER = "model.llm", "train_dataloader.dataset", "optim_wrapper"
HOOK = "custom_hooks[EvaluateChatHook]"
# Where a config may specify its prompt template; the first is the one used for the training data.
_TEMPLATES = (f"{DATASET}.template_map_fn.template", "prompt_template", f"{HOOK}.prompt_template")
# The model's own template, written out if XTuner has no equal one.
OWN = "own"
QUANTISATION = f"{LLM}.quantization_config"
LORA_RANK = 64
LORA = Source(
    f"dict(type=LoraConfig, r={LORA_RANK}, lora_alpha=16, lora_dropout=0.1, bias='none', task_type='CAUSAL_LM')"
)

Changes = Iterator[tuple[str, Any]]


def method(config: ConfigFile) -> str | None:
    """Return `qlora`, `lora` or `full`; None for a config that is not supervised fine-tuning of one model."""
    if config.get(LLM) is MISSING:
        return None
    if config.get("model.lora") in (MISSING, None):
        return "full"
    return "lora" if quantisation(config) == "none" else "qlora"


def quantisation(config: ConfigFile) -> str | None:
    """Return how the frozen weights are stored: `none`, `nf4` or `int8`."""
    if config.get(LLM) is MISSING:
        return None
    if config.get(f"{QUANTISATION}.load_in_4bit") is True:
        return "nf4"
    return "int8" if config.get(f"{QUANTISATION}.load_in_8bit") is True else "none"


def task(config: ConfigFile) -> str | None:
    """Return `sft` for dialogues, `pretrain` for plain texts; None for another kind of dataset."""
    if not one_dataset(config):
        return None
    return "pretrain" if config.get(f"{DATASET}.template_map_fn") in (None, MISSING) else "sft"


def precision(config: ConfigFile) -> str | None:
    """Return the precision that training computes in: `fp16`, `bf16` or `fp32`."""
    kind = config.get(f"{WRAPPER}.type")
    if kind == Source("OptimWrapper"):
        return "fp32"
    if kind != Source("AmpOptimWrapper"):
        return None
    told = config.get(f"{WRAPPER}.dtype")
    return {"bfloat16": "bf16", "float32": "fp32", "torch.bfloat16": "bf16"}.get(getattr(told, "code", told), "fp16")


def one_dataset(config: ConfigFile) -> bool:
    """Return whether the training data is one `process_hf_dataset`, the kind whose settings are supported."""
    kind = config.get(f"{DATASET}.type")
    return isinstance(kind, Source) and kind.code == "process_hf_dataset"


def to_method(config: ConfigFile, wanted: str) -> Changes:
    """Switch between `qlora`, `lora` and `full`."""
    if wanted == "full":
        yield "model.lora", MISSING
    elif config.get("model.lora") in (MISSING, None):
        yield "model.lora", LORA
    yield from to_quantisation(config, "nf4" if wanted == "qlora" else "none")


def to_quantisation(config: ConfigFile, wanted: str) -> Changes:
    """Store the frozen weights in 4 bits, in 8, or unquantized."""
    if wanted == "none":
        yield QUANTISATION, MISSING
    elif wanted != quantisation(config):
        half = "bfloat16" if precision(config) == "bf16" else "float16"
        yield f"{LLM}.torch_dtype", Source(f"torch.{half}")
        yield (
            QUANTISATION,
            quantised(half) if wanted == "nf4" else Source("dict(type=BitsAndBytesConfig, load_in_8bit=True)"),
        )


def quantised(half: str) -> Source:
    """Return 4-bit weights as in XTuner's QLoRA presets, computing in `half` (`float16` or `bfloat16`)."""
    return Source(
        f"dict(type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_compute_dtype=torch.{half}, "
        "bnb_4bit_use_double_quant=True, bnb_4bit_quant_type='nf4')"
    )


def to_precision(config: ConfigFile, wanted: str) -> Changes:
    """Compute in half precision of either kind, or in single precision."""
    name = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}[wanted]
    if wanted == "fp32":
        yield f"{WRAPPER}.type", Source("OptimWrapper")
        yield f"{WRAPPER}.dtype", MISSING
        yield f"{WRAPPER}.loss_scale", MISSING
    else:
        yield f"{WRAPPER}.type", Source("AmpOptimWrapper")
        yield f"{WRAPPER}.dtype", name
        # fp16 loses small gradients without a scale; bf16 has the range of fp32.
        yield f"{WRAPPER}.loss_scale", "dynamic" if wanted == "fp16" else MISSING
        if quantisation(config) == "nf4":
            yield f"{QUANTISATION}.bnb_4bit_compute_dtype", Source(f"torch.{name}")
    if config.get(f"{LLM}.torch_dtype") is not MISSING:
        yield f"{LLM}.torch_dtype", Source(f"torch.{name}")


def to_task(config: ConfigFile, wanted: str) -> Changes:
    """Train on dialogues, with the prompt template, or on plain texts."""
    if wanted == "pretrain":
        yield f"{DATASET}.template_map_fn", None
        if config.get(f"{HOOK}.prompt_template") is not MISSING:
            yield f"{HOOK}.prompt_template", MISSING
    else:
        template = "prompt_template" if config.get("prompt_template") is not MISSING else "PROMPT_TEMPLATE.default"
        yield f"{DATASET}.template_map_fn", Source(f"dict(type=template_map_fn_factory, template={template})")
        yield f"{HOOK}.prompt_template", Source(template)


def to_template(config: ConfigFile, wanted: str) -> Changes:
    """Use XTuner's prompt template `wanted`, in training and evaluation."""
    if wanted == OWN:
        # Already written out, or set by the caller that knows the model.
        return
    yield from wrapped_in(config, prompt_templates()[wanted])


def wrapped_in(config: ConfigFile, wanted: PromptTemplate) -> Changes:
    """Use any prompt template, in training and evaluation."""
    code = Source(wanted.code)
    places = [f"{DATASET}.template_map_fn.template", f"{HOOK}.prompt_template"]
    named = {config.names(place) for place in places}
    if config.get("prompt_template") is not MISSING and named <= {"prompt_template", None}:
        yield "prompt_template", code
        places = [place for place in places if config.names(place) is None and config.get(place) is not MISSING]
    for place in places:
        if config.get(place) is not MISSING:
            yield place, code


def to_map_function(_: ConfigFile, wanted: str | None) -> Changes:
    """Convert rows with XTuner's function `wanted`, or not at all."""
    yield f"{DATASET}.dataset_map_fn", None if wanted is None else Source(wanted)


def template(config: ConfigFile) -> str | None:
    """Return the name of XTuner's prompt template for the data, OWN for one written out; None for neither."""
    name = next((name for place in _TEMPLATES[:2] if (name := name_at(config, place))), None)
    return name or (OWN if prompt_template(config) else None)


def template_choices() -> tuple[str, ...]:
    """Return the available prompt templates: the model's own, and XTuner's by name."""
    return (OWN, *prompt_templates())


def prompt_template(config: ConfigFile) -> PromptTemplate | None:
    """Return the prompt template for the data, as text: XTuner's or the file's own.

    None for plain texts, and if it is computed by code.
    """
    if task(config) == "pretrain":
        return None
    place = next((place for place in _TEMPLATES if config.get(place) is not MISSING), None)
    return template_at(config, place) if place else None
