"""Tells whether a model directory holds the weights that it held before, in milliseconds, without reading them all."""

import hashlib
from pathlib import Path

_BLOCK = 1 << 16
_SAMPLES = 32
# Config, tokenizer, chat template and a model's own code.
_BESIDE = ("*.json", "*.model", "*.txt", "*.jinja", "*.py")


def fingerprint(directory: Path) -> str | None:
    """A digest over each weight file: its name, its size, its beginning, and samples from all over it.

    None where there are no weights. Equal for copies and links; differs for other weights of the same shapes.
    """
    found = sorted(directory.glob("*.safetensors")) or sorted(directory.glob("pytorch_model*.bin"))
    files = [path for path in found if path.is_file()]
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{path.name}:{size}\n".encode())
            for sample in range(_SAMPLES):
                file.seek(size * sample // _SAMPLES)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def state_of(directory: Path) -> str | None:
    """A digest over the weights and everything small beside them: what a model answers is the same as long as it is.

    None where there are no weights.
    """
    weights = fingerprint(directory)
    if weights is None:
        return None
    digest = hashlib.sha256(weights.encode())
    for path in sorted(file for pattern in _BESIDE for file in directory.glob(pattern)):
        digest.update(f"{path.name}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
