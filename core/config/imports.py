"""Modules that a config imports and training would not find, such as a `map_fn.py` next to the original file.

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
    """Return the modules imported by `file` that the engine in use does not have, as written.

    `beside` is the directory that the file came from: its contents are not imported with it. For an engine of the
    user's own, whose packages may be anywhere, only certain misses count: relative imports, and modules found in
    `beside`.
    """
    own = _own_engine(workspace)
    return [name for name in file.modules() if name.startswith(".") or _missing(name.partition(".")[0], own, beside)]


def _missing(module: str, own: bool, beside: Path | None) -> bool:
    if module in sys.stdlib_module_names:
        return False
    if beside is not None and ((beside / f"{module}.py").is_file() or (beside / module).is_dir()):
        # Training finds an installed package of the same name.
        return not own or importlib.util.find_spec(module) is None
    return own and importlib.util.find_spec(module) is None


def _own_engine(workspace: Workspace) -> bool:
    try:
        return interpreter.python(workspace) == sys.executable
    except StudioError:
        return False
