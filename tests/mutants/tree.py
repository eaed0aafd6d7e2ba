"""A copy of the project in which mutants are put, and a process in it that runs their tests."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.mutants.chosen import CHOSEN, PROJECT

PYTHON = PROJECT / ".venv" / "bin" / "python"


class Tree:
    """One copy; `ready` names the file whose mutants come now."""

    def __init__(self, place: Path) -> None:
        self.path = place / "tree"
        shutil.rmtree(place, ignore_errors=True)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(listed, cwd=PROJECT, text=True).split("\0"):
            if name and (PROJECT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, self.path / name)
        (self.path / ".venv").symlink_to(PROJECT / ".venv")
        self._process: subprocess.Popen[str] | None = None

    def ready(self, file: str) -> float:
        """Have the tests of `file` ready to run; returns the seconds that they take. Raises SystemExit where they fail."""
        self.close()
        command = [str(PYTHON), "-m", "tests.mutants.forked", file, *CHOSEN[file]]
        # In a session of its own: Ctrl-C is for us, and it ends with what it reads.
        self._process = subprocess.Popen(
            command, cwd=self.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{file}: its tests do not pass as it is")
        return json.loads(line)

    def run(self, file: str, code: str, seconds: float) -> tuple[int | None, float]:
        """How the tests of `file` end with this `code` in it, and after how long."""
        path = self.path / file
        before = path.read_text(encoding="utf-8")
        path.write_text(code, encoding="utf-8")
        try:
            print(json.dumps(seconds), file=self._process.stdin, flush=True)
            return tuple(json.loads(self._process.stdout.readline()))
        finally:
            path.write_text(before, encoding="utf-8")

    def close(self) -> None:
        """End the process, by ending what it reads."""
        if self._process is not None:
            self._process.stdin.close()
            # Not before it has ended: somebody may be reading still.
            self._process.wait()
            self._process.stdout.close()
            self._process = None
