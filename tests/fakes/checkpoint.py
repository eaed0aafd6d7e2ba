"""Writes a file like `torch.save`: a zip archive of a pickled outline and the blocks of numbers it refers to."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any


class FloatStorage:
    """Named like torch's class; each element takes four bytes."""


class Block:
    """A block of `elements` numbers, which the outline refers to and the archive contains."""

    def __init__(self, elements: int) -> None:
        self.elements = elements


class _Outline(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.blocks: list[Block] = []

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Block):
            return None
        self.blocks.append(value)
        return ("storage", FloatStorage, str(len(self.blocks) - 1), "cpu", value.elements)


def write_checkpoint(path: Path, content: dict[str, Any] | None = None, elements: int = 1000) -> Path:
    """Write a complete torch file with `content` and one block of `elements` numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    outline = io.BytesIO()
    pickler = _Outline(outline)
    pickler.dump({"state_dict": Block(elements), **(content or {})})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", outline.getvalue())
        archive.writestr("archive/byteorder", "little")
        for number, block in enumerate(pickler.blocks):
            archive.writestr(f"archive/data/{number}", bytes(range(256)) * (block.elements * 4 // 256 + 1))
        archive.writestr("archive/version", "3\n")
    return path
