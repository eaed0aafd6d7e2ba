"""The start-up time of a headless command, compared with the same interpreter importing every room first.

python -m benchmarks.commands
"""

import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.measure import interleaved, say, write

# Commands that answer from an empty workspace, so that they do nothing but start.
COMMANDS = ("models list", "datasets list", "configs list", "train list", "engine show")
EVERY_ROOM = "import sys; from core.__main__ import commands, main; commands(); main(sys.argv[1:])"


def compared(words: list[str], workspace: str) -> dict[str, Any]:
    """Time a command against itself after importing all rooms."""

    def with_every_room() -> None:
        command = [sys.executable, "-c", EVERY_ROOM, *words, "--workspace", workspace]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    def as_it_is() -> None:
        command = [sys.executable, "-m", "core", *words, "--workspace", workspace]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    return interleaved(with_every_room, as_it_is)


def main() -> None:
    """Time all commands and write the figures."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as workspace:
        for command in COMMANDS:
            figures[command] = compared(command.split(), workspace)
            least = min(figures[command]["seconds"]["other"])
            say(f"{command}: {least:.2f} s at best, {figures[command]['ratio']['median']:.2f} of all rooms")
    write("commands", figures)


if __name__ == "__main__":
    main()
