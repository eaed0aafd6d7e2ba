"""The preset to start from, proposed by a model's architecture and size, and whether other presets fit the machine."""

import re
from functools import cache
from pathlib import Path

from core.config.memory import memory
from core.engine.catalogue import FAMILIES, PresetName, catalogue
from core.engine.presets import COURSE_PRESET
from core.models.model import Model
from core.models.shape import typical

# For a model without an XTuner preset: the course's, whose edits fit any causal model.
FALLBACK = {"course": COURSE_PRESET, "fast": COURSE_PRESET, "pretrain": "internlm2_1_8b_full_custom_pretrain_e1"}
# Common to XTuner's presets: one sequence of this length per batch, and the adapter's rank and dropout.
_LONGEST, _ADAPTER = 2048, {"r": 64, "lora_dropout": 0.1}


def propose(model: Model, recipe: str, xtuner: Path | None = None) -> str:
    """Return the preset for a model and a recipe: of its family, closest in size, for dialogues or for texts."""
    kind = "pretrain" if recipe == "pretrain" else "sft"
    wanted = [
        preset
        for preset in catalogue(xtuner).values()
        if preset.fits(model.architecture) and preset.kind == kind and _usual(preset, kind)
    ]
    if not wanted or model.demo:
        return FALLBACK.get(recipe, COURSE_PRESET)
    billions = model.parameters / 1e9
    chat = bool(re.search(r"chat|instruct|-it\b|sft", _own_name(model), re.I))
    family = _family(model)

    def distance(preset: PresetName) -> tuple:
        size = abs((preset.billions or 7.0) - billions)
        return (
            preset.family != family,
            round(size / max(billions, 0.5), 1),
            kind == "sft" and preset.chat != chat,
            len(preset.notes),
            preset.name,
        )

    return min(wanted, key=distance).name


def fits_machine(preset: PresetName, model: Model | None, total_mb: float | None) -> bool | None:
    """Return whether training with a preset's method fits on a GPU of `total_mb`, for the chosen model if it matches.

    None if unknown: no size in the name, or no GPU.
    """
    own = model is not None and preset.fits(model.architecture) and model.parameters
    billions = model.parameters / 1e9 if own and model else preset.billions
    if billions is None or total_mb is None:
        return None
    return _needed_mb(preset.method, round(1e9 * billions)) <= total_mb


@cache
def _needed_mb(method: str, parameters: int) -> float:
    """Return the memory of training with a preset's method on one GPU, for a typical model of this size."""
    adapter = method in ("qlora", "lora")
    facts = {
        "batch_size": 1,
        "data": {"longest": _LONGEST},
        "wrapper": "AmpOptimWrapper",
        "optimizer": {"type": "AdamW"},
        "model": {
            "llm": {"quantization_config": {"load_in_4bit": method == "qlora"}},
            "lora": _ADAPTER if adapter else None,
        },
    }
    return memory(typical(parameters), facts, cuda=True).total_mb


def _usual(preset: PresetName, kind: str) -> bool:
    """Return whether a recipe can start from it: an adapter on one dataset of dialogues, or a plain one on texts."""
    if kind == "pretrain":
        return "custom_pretrain" in preset.name
    return preset.method == "qlora" and re.search(r"_alpaca_e\d+$", preset.name) is not None


def _own_name(model: Model) -> str:
    return f"{model.name} {model.path.resolve().name}"


def _family(model: Model) -> str:
    """Return the family given by a model's own name, if several share its architecture."""
    name = (
        re.sub(r"[^a-z0-9]+", "_", _own_name(model).lower()).replace("llama_3", "llama3").replace("llama_2", "llama2")
    )
    name = name.replace("qwen2", "qwen1_5").replace("internlm2_5", "internlm2")
    found = [family for family, architectures in FAMILIES.items() if model.architecture in architectures]
    return next((family for family in sorted(found, key=len, reverse=True) if family in name), found[0])
