"""Progress reports of a long command, in the file that its job names.

Standard library and Python 3.10 only, so that the engine's workers may import it. Does not read: see `Job.progress`.
"""

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

VARIABLE = "XTUNER_STUDIO_PROGRESS"
# Its name in a job's directory.
FILE = "progress.json"


def progress_file() -> "Path | None":
    """Return the file named by the supervisor of this command's job; None if the command is not a job."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def write_progress(**facts: Any) -> None:
    """Replace the progress file: `done` from 0 to 1 and whatever the kind of job adds. Does nothing without a file.

    Atomic: readers see the old or the new content, never a partial one; processes and threads may write concurrently.
    If it cannot be written, as on a full disk, work continues.
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
