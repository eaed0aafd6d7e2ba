"""All benchmarks of this machine, one after the other: `make bench`, or `python -m benchmarks [NAME ...]`.

The ones that need a GPU (`gpu`) run where there is one, by name.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import say

HERE = Path(__file__).parent
NOT_BENCHMARKS = {"__init__", "__main__", "measure", "table", "random_model", "identity_probe", "tab"}
BY_NAME_ONLY = {"gpu", "identity", "export"}


def main(names: list[str]) -> int:
    """Run the benchmarks `names`, or all; how many failed."""
    there = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHMARKS)
    failed = 0
    for name in names or [name for name in there if name not in BY_NAME_ONLY]:
        say(f"== {name}")
        failed += subprocess.call([sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent) != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
