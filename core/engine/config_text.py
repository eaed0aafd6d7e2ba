"""The text of a config, from a file or an upload, with its own line endings."""

from pathlib import Path

from core.ground.errors import BadInput


def read(path: Path) -> str:
    """Return the text of a config file with its own line endings. Raises BadInput if it is not UTF-8."""
    return decoded(path.read_bytes(), path.name)


def decoded(content: bytes, name: str) -> str:
    """Return the text of the file `name` from its bytes. Raises BadInput if they are not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{name} 不是 UTF-8 文本（第 {error.start} 字节）：请另存为 UTF-8",
            f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8",
        ) from error
