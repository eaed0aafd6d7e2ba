"""All tests, and what they start with `python -m tests…`."""

import sys

from core.ground import garbage

# As in core/__init__.py, for processes that start with torch.
if sys.argv[:1] == ["-m"]:
    garbage.wait()
