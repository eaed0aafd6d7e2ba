"""Write the directory of a model or an adapter: to a temporary place, completely, then renamed.

Part of the workers; does not import torch.
"""

import os
import shutil
import sys
from pathlib import Path

from core.ground.files import sha256
from core.ground.model_code import model_code


def check_code(base: Path) -> None:
    """Exit if a Python file that the model or its tokenizer would load is missing, or belongs to another place."""
    named = model_code(base)
    if named.refused:
        first = named.refused[0]
        sys.exit(f"{first.where} of the base model names code that is not its own: {first.said or first.why}.")
    for file in named.files:
        if not (base / file).is_file():
            sys.exit(f"The base model has no {file}, which its config.json names: copy it there.")


def adapter_digest(directory: Path) -> "str | None":
    """Return the SHA-256 of an adapter's tensors; None if there are none."""
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if (directory / name).is_file():
            return sha256(directory / name)
    return None


def fresh(out: Path) -> Path:
    """Create an empty directory next to `out` to write to."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def replace(partial: Path, out: Path) -> None:
    """Move the finished directory into place; an older one is deleted once the new one is there."""
    old = out.with_name(out.name + ".old.partial")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)
