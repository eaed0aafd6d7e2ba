"""Randomly damaged configs and recipes: parsed, never executed, and each is read or refused with a message."""

import functools
import json
import random
from pathlib import Path

from core.config import own_recipe
from core.config.settings.fields import FIELDS
from core.engine.config_file import ConfigFile
from core.engine.config_text import decoded
from core.engine.presets import preset_text
from core.ground.workspace import Workspace
from tests.fuzz.damage import mutate, refusal

PRESET = "internlm2_chat_1_8b_qlora_alpaca_e3"


@functools.cache
def preset() -> bytes:
    """Return one of XTuner's own configs."""
    return preset_text(PRESET).encode()


def read(content: bytes) -> None:
    """Call everything that reads a config's text."""
    file = ConfigFile(decoded(content, "x.py"))
    for field in FIELDS:
        refusal(lambda field=field: field.read(file))
    file.modules()
    file.holds("model.llm")
    file.set("lr", 1e-4)


def trial(directory: Path, rng: random.Random) -> None:
    """Read one config and one recipe; raises what is wrong."""
    refusal(lambda: read(mutate(preset(), rng)))
    workspace = Workspace.open(directory / "workspace")
    recipe = {
        "format": own_recipe.FORMAT,
        "name": "x",
        "about": "y",
        "preset": PRESET,
        "text": "a = 1",
        "base": "a = 1",
    }
    content = mutate(json.dumps(recipe).encode(), rng).decode("utf-8", "replace")
    refusal(lambda: own_recipe.take(workspace, content))
    own_recipe.every(workspace)
