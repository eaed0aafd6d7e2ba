"""What a long command says of itself while it works: the progress file that its job names to it.

Standard library and Python 3.10 only, so that the engine's workers may import it. Reads nothing: who watches a job asks
`Job.progress`.
"""

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

VARIABLE = "XTUNER_STUDIO_PROGRESS"
# What it is called in a job's directory.
FILE = "progress.json"


def progress_file() -> "Path | None":
    """The file that the supervisor of this command's job named; None for a command that is no job."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def write_progress(**facts: Any) -> None:
    """Replace what the progress file says: `done` from 0 to 1 and whatever the kind of job adds. Nothing without a file.

    Whoever reads meanwhile sees the old content or the new, never half of one; processes and threads may write at once.
    A file that cannot be written, as on a full disk, is no reason to stop working.
    """
    path = progress_file()
    if path is None:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        partial.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
