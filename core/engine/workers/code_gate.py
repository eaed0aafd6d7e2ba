"""The only way for code of models and datasets to enter an engine process, and the check it has to pass.

Whatever `trust_remote_code` says, in a config too, transformers loads Python files of a model's directory through one
function. After `close`, that function loads only files in this workspace that the user approved: `ground.agreed_code`.
So code that its owner adds to a model after the review is not executed, even for a model that had none.

Up to release 3, `datasets` executes the script of a dataset's directory if a config says so. The user approved the config
and not the script, so none is executed.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from core.ground.agreed_code import VARIABLE, may_run

# `datasets` copies a script into this package and imports it from there.
_SCRIPTS = "datasets_modules"


class _NoScripts(MetaPathFinder):
    """Refuses to import the script of a dataset."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:  # noqa: ARG002
        if fullname.partition(".")[0] == _SCRIPTS:
            raise ValueError(
                "The script of a dataset is not executed: you agreed to the config, and not to the script."
            )


def close() -> None:
    """Block all other code in this process. Raises AttributeError if transformers loads code in another way."""
    if not any(isinstance(finder, _NoScripts) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoScripts())
    from transformers import dynamic_module_utils

    load = dynamic_module_utils.get_cached_module_file
    if getattr(load, "gate", False):
        return
    root = os.environ.get(VARIABLE)

    def checked(pretrained_model_name_or_path: Any, module_file: str, *arguments: Any, **options: Any) -> str:
        if not may_run(Path(root) if root else None, Path(str(pretrained_model_name_or_path)), str(module_file)):
            raise ValueError(
                f"The code {module_file} of the model {pretrained_model_name_or_path} was not agreed to: it is not run."
            )
        return load(pretrained_model_name_or_path, module_file, *arguments, **options)

    checked.gate = True
    dynamic_module_utils.get_cached_module_file = checked
