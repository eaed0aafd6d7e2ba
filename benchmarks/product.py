"""The product as used by scripts: its headless commands in one workspace. Measures nothing itself."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]


class Unfit(Exception):  # noqa: N818
    """A step did not give the expected result."""


class Product:
    """The headless commands in one workspace, in English; `more` is added to their environment."""

    def __init__(self, workspace: Path, more: Mapping[str, str] | None = None) -> None:
        self.workspace, self.more = workspace, dict(more or {})

    def __call__(self, *words: str) -> dict[str, Any]:
        """Run a command and return its answer. Raises Unfit with its last line."""
        done = subprocess.run(
            [sys.executable, "-m", "core", *words, "--workspace", str(self.workspace), "--json"],
            cwd=PROJECT,
            env={**os.environ, "XTUNER_STUDIO_LANG": "en", **self.more},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["?"])[-1]
            raise Unfit(f"{' '.join(words[:2])}: {said.replace(f'{self.workspace}/', '')[:300]}")
        return json.loads(done.stdout)


def between(page: Path, marker: str, text: str) -> None:
    """Replace the text between the page's markers of this name."""
    begin, end = f"<!-- {marker}: begin -->\n", f"<!-- {marker}: end -->\n"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise Unfit(f"{page.name} has no marks {begin.strip()} and {end.strip()}")
    page.write_text(f"{before}{begin}{text.rstrip()}\n{end}{after}", encoding="utf-8")
