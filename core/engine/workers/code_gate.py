"""The one way by which a model's own code comes into a process of the engine, and what is let through.

Whatever `trust_remote_code` says, in a config too, transformers loads Python files of a model's directory through one
function. From `close` on it takes those alone that lie in this workspace and were agreed to: `ground.agreed_code`. So
code that its owner puts beside a model after it was looked at is not run, also not of a model that had none.
"""

import os
from pathlib import Path
from typing import Any

from core.ground.agreed_code import VARIABLE, may_run


def close() -> None:
    """From now on no other code is loaded in this process. Raises AttributeError for a transformers that loads it otherwise."""
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
