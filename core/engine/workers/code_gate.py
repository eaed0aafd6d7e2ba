"""The only way for a model's own code to enter an engine process, and the check it has to pass.

Whatever `trust_remote_code` says, in a config too, transformers loads Python files of a model's directory through one
function. After `close`, that function loads only files in this workspace that the user approved: `ground.agreed_code`.
So code that its owner adds to a model after the review is not executed, even for a model that had none.
"""

import os
from pathlib import Path
from typing import Any

from core.ground.agreed_code import VARIABLE, may_run


def close() -> None:
    """Block all other model code in this process. Raises AttributeError if transformers loads code in another way."""
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
