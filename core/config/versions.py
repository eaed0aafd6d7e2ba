"""The earlier texts of a config, for undo and redo, and the draft: typed text that is not valid Python yet.

`configs/<name>/versions/NNNN.py`, `at.json` (the number of the current one) and `draft.py`. Does not interpret the
texts.
"""

import time
from pathlib import Path

from core.engine.config_text import read as read_text
from core.ground.files import read_json, write_json, write_text

MOST = 200
# Text typed in quick succession is one undo step.
TYPING_SECONDS = 8.0


class Versions:
    """The texts of one config directory. The caller holds the config's lock."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._directory = config / "versions"

    @property
    def can_undo(self) -> bool:
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        return (self._directory / f"{self._at + 1:04}.py").exists()

    @property
    def draft(self) -> str | None:
        """The last typed text that could not be applied; None if the editor and config.py agree."""
        path = self._config / "draft.py"
        return read_text(path) if path.exists() else None

    def keep_draft(self, text: str) -> None:
        """Store a text that is not valid Python yet, so that it outlives the page."""
        write_text(self._config / "draft.py", text)

    def drop_draft(self) -> None:
        (self._config / "draft.py").unlink(missing_ok=True)

    def write(self, text: str, *, typed: bool = False) -> None:
        """Set the config's text and keep the previous one. `typed` texts in quick succession are one step."""
        file = self._config / "config.py"
        before = read_text(file)
        self.drop_draft()
        if text == before:
            return
        at, told = self._at, self._told
        self._text(at, before)
        joins = typed and told.get("typed") and time.time() - told.get("when", 0) < TYPING_SECONDS and at > 0
        at = at if joins else at + 1
        self._text(at, text)
        for later in self._directory.glob("*.py"):
            if int(later.stem) > at or int(later.stem) < at - MOST:
                later.unlink()
        write_json(self._directory / "at.json", {"at": at, "typed": typed, "when": time.time()})
        write_text(file, text)

    def step(self, by: int) -> bool:
        """Go back (-1) or forward (1) one text; return whether there was one."""
        path = self._directory / f"{self._at + by:04}.py"
        if self._at + by < 0 or not path.exists():
            return False
        write_text(self._config / "config.py", read_text(path))
        self.drop_draft()
        write_json(self._directory / "at.json", {"at": self._at + by, "typed": False, "when": 0.0})
        return True

    @property
    def _told(self) -> dict:
        return read_json(self._directory / "at.json") or {}

    @property
    def _at(self) -> int:
        return int(self._told.get("at", 0))

    def _text(self, number: int, text: str) -> None:
        write_text(self._directory / f"{number:04}.py", text)
