"""The errors shown to users. Any other exception is a bug.

StudioError            the one base that pages and commands catch
├── BadInput           the user can fix it: a value, a name, a file            exit 2
└── WorkFailed         the work was tried and did not succeed                  exit 1
"""

from core.ground.text import Text


class StudioError(Exception):
    """Base of all errors with a message for the user: the thing, the file or field, the next step."""

    exit_code = 1

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(zh, en)

    def __str__(self) -> str:
        return str(self.text)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Make the error picklable, so that it can be passed between processes."""
        return type(self), (self.text.zh, self.text.en)


class BadInput(StudioError):
    """Refused before anything was written; the user can fix it."""

    exit_code = 2


class WorkFailed(StudioError):
    """The work was started and failed."""
