"""The model types that the engine's transformers supports, read from its source without executing it.

Says nothing about models that bring their own code: those run with any version.
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
    """The `model_type` values that a transformers release supports, and its causal language model classes."""

    version: str | None
    types: frozenset[str]
    causal: frozenset[str]


def architectures(workspace: Workspace) -> Architectures | None:
    """Return the architectures of the engine in use; None if the engine is unreachable or has no transformers."""
    try:
        if interpreter.python(workspace) == sys.executable:
            # The app's own transformers is found without starting a process.
            return architectures_in(_own_place(), _own_version())
        engine = interpreter.in_use(workspace)
    except StudioError:
        return None
    return architectures_in(engine.site / "transformers", engine.versions.get("transformers"))


@cache
def _own_place() -> Path:
    """Return the directory of the transformers that this process would import."""
    spec = importlib.util.find_spec("transformers")
    return Path(spec.origin).parent if spec and spec.origin else Path("transformers")


@cache
def _own_version() -> str | None:
    return environment.versions().get("transformers")


# Results by directory, with the mtime they were read at: pages ask on every draw.
_READ: dict[Path, tuple[int, Architectures | None]] = {}


def architectures_in(directory: Path, version: str | None = None) -> Architectures | None:
    """Return the architectures of the transformers package at `directory`; None if its mappings are missing.

    Reads `CONFIG_MAPPING_NAMES` and `MODEL_FOR_CAUSAL_LM_MAPPING_NAMES` in its `models/auto`.
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
    """Return the pairs of `variable = OrderedDict([...])` in a Python file; empty if there is no such line."""
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
