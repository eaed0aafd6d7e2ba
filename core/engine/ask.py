"""Run an engine process and wait for its answer: with a time limit, bounded memory, and its last line on failure.

The process writes its answer to a file as JSON. Interpreting the answer, and telling the user when there is none, is
left to the caller. Long work is a job instead, which outlives the page: `core.jobs`.
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

# Only the end of the output is kept: a config may print without limit.
_KEPT_BYTES = 16_384
_LONGEST_LINE = 300
# How long to wait for the last output after exit; a leftover child process may keep the pipe open forever.
_LAST_WORDS_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of a call.

    `content` is None without an answer; `said` then holds its last line on stderr or the OS error. `returncode` is None
    if the process could not start, or was killed at the time limit (`late`).
    """

    content: Any | None
    returncode: int | None
    said: str
    late: bool = False


def answer_of(
    argv: Sequence[str], *, seconds: float, result: Path | None = None, env: Mapping[str, str] | None = None
) -> Answer:
    """Run `argv` for at most `seconds` and read what it wrote to `result`.

    `env` is added to the inherited environment. Raises nothing.
    """
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
        # Also on an exception such as KeyboardInterrupt.
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
