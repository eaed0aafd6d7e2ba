"""Modules that a config imports and that training would not find: a `map_fn.py` that lay beside it somewhere else.

Looks for their files; imports and runs nothing.
"""

import importlib.util
import sys
from pathlib import Path

from core.engine import interpreter
from core.engine.config_file import ConfigFile
from core.ground.errors import StudioError
from core.ground.workspace import Workspace


def not_found(workspace: Workspace, file: ConfigFile, beside: Path | None = None) -> list[str]:
    """The modules of `file` that the engine in use does not have, as they are imported.

    `beside` is the directory that the file came from: what lies in it stays there. Of an engine of the user's own, whose
    packages may lie anywhere, only what is surely missing counts: relative imports, and modules found in `beside`.
    """
    own = _own_engine(workspace)
    return [name for name in file.modules() if name.startswith(".") or _missing(name.partition(".")[0], own, beside)]


def _missing(module: str, own: bool, beside: Path | None) -> bool:
    if module in sys.stdlib_module_names:
        return False
    if beside is not None and ((beside / f"{module}.py").is_file() or (beside / module).is_dir()):
        # A package of the same name that is installed is the one that training finds.
        return not own or importlib.util.find_spec(module) is None
    return own and importlib.util.find_spec(module) is None


def _own_engine(workspace: Workspace) -> bool:
    try:
        return interpreter.python(workspace) == sys.executable
    except StudioError:
        return False
