"""Asks a process of the engine and waits for its answer: a time limit, little memory, and its last line where it fails.

The process writes its answer to a file as JSON. What the answer means, and what to tell the user when there is none, is
for who asks. Long work is a job instead, which outlives the page: `core.jobs`.
"""

import contextlib
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core.ground.files import read_json
from core.ground.inherited import inherited

# Of what it prints, only the end is kept: a config may print without end.
_KEPT_BYTES = 16_384
_LONGEST_LINE = 300
# For the last of its words, once it has ended; a process that it left behind may keep the pipe open for ever.
_LAST_WORDS_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of asking. `content` is None without an answer; `said` why, its last line on stderr or the system's.

    `returncode` is None for one that could not start, or was stopped since it was `late`.
    """

    content: Any | None
    returncode: int | None
    said: str
    late: bool = False


def answer_of(
    argv: Sequence[str], *, seconds: float, result: Path | None = None, env: Mapping[str, str] | None = None
) -> Answer:
    """Run `argv` to its end, at most so many `seconds`, and read what it wrote to `result`; `env` is added to what it
    inherits. Raises nothing."""
    try:
        process = subprocess.Popen(
            argv, env=inherited(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except (OSError, ValueError) as error:
        return Answer(content=None, returncode=None, said=str(error)[:_LONGEST_LINE])
    kept = bytearray()
    reader = threading.Thread(target=_keep_the_end, args=(process.stderr, kept), daemon=True)
    reader.start()
    try:
        returncode: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        returncode = None
    finally:
        # Also when whoever asks is interrupted.
        if process.returncode is None:
            process.kill()
            process.wait()
        reader.join(_LAST_WORDS_SECONDS)
    if returncode is None:
        return Answer(content=None, returncode=None, said=f"not finished after {seconds:g} s", late=True)
    lines = bytes(kept).decode("utf-8", errors="replace").strip().splitlines()
    said = lines[-1].strip()[:_LONGEST_LINE] if lines else f"exit code {returncode}"
    return Answer(content=read_json(result) if result else None, returncode=returncode, said=said)


def _keep_the_end(stream: IO[bytes], kept: bytearray) -> None:
    with contextlib.suppress(OSError, ValueError), stream:
        while block := stream.read1(_KEPT_BYTES):
            kept += block
            del kept[:-_KEPT_BYTES]
