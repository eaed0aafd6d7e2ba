"""The preset to begin from: proposed from a model's architecture and size, and whether others would do here."""

import re
from pathlib import Path

from core.engine.catalogue import FAMILIES, PresetName, catalogue
from core.engine.presets import COURSE_PRESET
from core.models.model import Model

# For a model that XTuner has no preset of: the course's, whose edits fit any causal model.
FALLBACK = {"course": COURSE_PRESET, "fast": COURSE_PRESET, "pretrain": "internlm2_1_8b_full_custom_pretrain_e1"}
# GB of memory that training takes for each billion of parameters, and beside them; from the formula of `memory`.
_GB = {"qlora": (1.3, 4.0), "lora": (4.2, 4.0), "full": (16.0, 4.0)}


def propose(model: Model, recipe: str, xtuner: Path | None = None) -> str:
    """The preset for a model and a recipe: of its family, nearest to its size, on dialogues or on texts."""
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
    """Whether training by a preset's method fits into a GPU of `total_mb`: of the chosen model where it is one for it.

    None where it cannot be said: no size in the name, or no GPU to ask.
    """
    own = model is not None and preset.fits(model.architecture) and model.parameters
    billions = model.parameters / 1e9 if own and model else preset.billions
    if billions is None or total_mb is None:
        return None
    each, beside = _GB.get(preset.method, _GB["full"])
    return (each * billions + beside) * 1000 <= total_mb


def _usual(preset: PresetName, kind: str) -> bool:
    """Whether a recipe can start from it: an adapter on one dataset of dialogues, or a plain one on texts."""
    if kind == "pretrain":
        return "custom_pretrain" in preset.name
    return preset.method == "qlora" and re.search(r"_alpaca_e\d+$", preset.name) is not None


def _own_name(model: Model) -> str:
    return f"{model.name} {model.path.resolve().name}"


def _family(model: Model) -> str:
    """The family that a model's own name says, where its architecture is that of several."""
    name = (
        re.sub(r"[^a-z0-9]+", "_", _own_name(model).lower()).replace("llama_3", "llama3").replace("llama_2", "llama2")
    )
    name = name.replace("qwen2", "qwen1_5").replace("internlm2_5", "internlm2")
    found = [family for family, architectures in FAMILIES.items() if model.architecture in architectures]
    return next((family for family in sorted(found, key=len, reverse=True) if family in name), found[0])
