"""What a long command says of itself while it works: the progress file that its job names to it.

Standard library and Python 3.10 only, so that the engine's workers may import it. Reads nothing: who watches a job asks
`Job.progress`.
"""

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "XTUNER_STUDIO_PROGRESS"


def progress_file() -> Path | None:
    """The file that the supervisor of this command's job named; None for a command that is no job."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def write_progress(**told: Any) -> None:
    """Replace what the progress file says: `done` from 0 to 1 and whatever the kind of job adds. Nothing without a file.

    Whoever reads meanwhile sees the old content or the new, never half of one. Raises OSError where it cannot be written.
    """
    path = progress_file()
    if path is None:
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, path)
