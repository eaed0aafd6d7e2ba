"""The user's own recipes: a config's text saved under a name, for other models and data, and to share as a file.

`recipes/<name>.json` is also the file that is shared: nothing in it is executed, and paths of this machine are removed.
"""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from core.config.recipe import RECIPES
from core.engine import consent
from core.engine.config_file import ConfigFile
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.workspace import Workspace

FORMAT = "xtuner-studio-recipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRecipe:
    """A config's text without its model and data; `base` is the preset's, for the diff."""

    name: str
    about: str
    preset: str
    base: str
    text: str
    created: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": 1, **asdict(self)}


def save(workspace: Workspace, name: str, about: str = "", *, preset: str, text: str, base: str) -> OwnRecipe:
    """Save a config as a recipe: the name of its preset, its text, and the preset's (`base`).

    Raises BadInput if the name is taken.
    """
    known = consent.agreed(workspace, text)
    for path, said in ((str(workspace.models), "models"), (str(workspace.datasets), "datasets")):
        text, base = text.replace(path, said), base.replace(path, said)
    made = OwnRecipe(
        name=name,
        about=about,
        preset=preset,
        base=base,
        text=text,
        created=time.time(),
    )
    kept = _keep(workspace, made)
    if known:
        consent.agree(workspace, text)
    return kept


def take(workspace: Workspace, content: str, name: str | None = None) -> OwnRecipe:
    """Import a recipe file from someone else. Raises BadInput if it is not one, or the name is taken."""
    try:
        told = json.loads(content)
        if told["format"] != FORMAT:
            raise KeyError("format")
        parts = {key: str(told[key]) for key in ("about", "preset", "base", "text")}
        made = OwnRecipe(name=name or str(told["name"]), created=time.time(), **parts)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            "这不是配方文件，或已经损坏：请选从“配方”里导出的 JSON 文件",
            "not a recipe file, or damaged: use a JSON file saved from a recipe",
        ) from error
    ConfigFile(made.text)
    return _keep(workspace, made)


def find(workspace: Workspace, name: str) -> OwnRecipe:
    """Return the user's recipe `name`. Raises BadInput if there is none."""
    found = {recipe.name: recipe for recipe in every(workspace)}
    if name not in found:
        known = [*RECIPES, *found]
        raise BadInput(
            f"没有配方 {name}：可用 {'、'.join(known)}", f"there is no recipe {name}: use one of {', '.join(known)}"
        )
    return found[name]


def every(workspace: Workspace) -> list[OwnRecipe]:
    """Return all of the user's recipes, by name; other files are skipped."""
    found = []
    for path in sorted(workspace.recipes.glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            known = {key: told[key] for key in ("about", "preset", "base", "text", "created")}
            found.append(OwnRecipe(name=path.stem, **known))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return found


def remove(workspace: Workspace, name: str) -> None:
    """Delete one of the user's recipes. Configs created from it stay."""
    workspace.recipe(find(workspace, name).name).unlink(missing_ok=True)


def _keep(workspace: Workspace, made: OwnRecipe) -> OwnRecipe:
    path = workspace.recipe(made.name)
    if path.exists() or made.name in RECIPES:
        raise BadInput(
            f"配方 {made.name} 已存在：请换一个名称", f"the recipe {made.name} already exists: choose another name"
        )
    write_json(path, made.to_json())
    return made
