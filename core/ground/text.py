"""A sentence in both languages, so that messages from core can be shown in the user's own.

Does not know where it is shown: a page uses its own language, the command line the environment's.
"""

import os
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]
_LANGUAGE = "XTUNER_STUDIO_LANG"


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence, in Chinese and in English."""

    zh: str
    en: str

    def in_(self, language: Language) -> str:
        """Return the sentence in `language`."""
        return self.zh if language == "zh" else self.en

    def __str__(self) -> str:
        return self.in_(environment_language())


def speaking(language: Language | None) -> dict[str, str]:
    """Return the environment variables that make a command use `language`; none for None."""
    return {_LANGUAGE: language} if language else {}


def environment_language() -> Language:
    """Return the command line's language: `XTUNER_STUDIO_LANG`, else Chinese in a Chinese locale, else English."""
    chosen = os.environ.get(_LANGUAGE) or os.environ.get("LC_ALL") or os.environ.get("LANG")
    return "zh" if (chosen or "").lower().startswith("zh") else "en"
