"""Which model types the engine's transformers knows, read from its source without running any of it.

Says nothing of a model that brings its own code: that runs in any of them.
"""

import ast
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.engine import interpreter
from core.ground import environment
from core.ground.errors import StudioError
from core.ground.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Architectures:
    """The `model_type` values that a transformers knows, and its classes that predict the next token."""

    version: str | None
    types: frozenset[str]
    causal: frozenset[str]


def architectures(workspace: Workspace) -> Architectures | None:
    """Those of the engine in use; None where it cannot be asked, or has no transformers."""
    try:
        if interpreter.python(workspace) == sys.executable:
            # Ours is asked without starting it.
            return architectures_in(_own_place(), _own_version())
        engine = interpreter.in_use(workspace)
    except StudioError:
        return None
    return architectures_in(engine.site / "transformers", engine.versions.get("transformers"))


@cache
def _own_place() -> Path:
    """Where the transformers lies that this process would import."""
    spec = importlib.util.find_spec("transformers")
    return Path(spec.origin).parent if spec and spec.origin else Path("transformers")


@cache
def _own_version() -> str | None:
    return environment.versions().get("transformers")


# What was read, by directory, and when its files were put there: a page asks for it each time it is drawn.
_READ: dict[Path, tuple[int, Architectures | None]] = {}


def architectures_in(directory: Path, version: str | None = None) -> Architectures | None:
    """Those of the transformers package at `directory`, from `CONFIG_MAPPING_NAMES` and
    `MODEL_FOR_CAUSAL_LM_MAPPING_NAMES` in its `models/auto`. None where they are not there.
    """
    auto = directory / "models" / "auto"
    try:
        changed = (auto / "configuration_auto.py").stat().st_mtime_ns
    except OSError:
        return None
    known = _READ.get(directory)
    if known is None or known[0] != changed:
        known = _READ[directory] = (changed, _read(auto, version))
    return known[1]


def _read(auto: Path, version: str | None) -> Architectures | None:
    types = _mapping(auto / "configuration_auto.py", "CONFIG_MAPPING_NAMES")
    causal = _mapping(auto / "modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    if not types or not causal:
        return None
    classes = {name for value in causal.values() for name in (value if isinstance(value, tuple) else (value,))}
    return Architectures(version=version, types=frozenset(types), causal=frozenset(classes))


def _mapping(file: Path, variable: str) -> dict[str, str | tuple[str, ...]]:
    """The pairs of `variable = OrderedDict([...])` in a Python file; empty where there is no such line."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
            argument = next(iter(getattr(node.value, "args", [])), None)
            try:
                return dict(ast.literal_eval(argument)) if argument else {}
            except (ValueError, TypeError):
                return {}
    return {}
