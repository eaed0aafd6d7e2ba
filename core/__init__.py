"""Everything except the pages."""

import sys

from core.ground import garbage

# True only while `python -m core…` is still locating the module it will run.
if sys.argv[:1] == ["-m"]:
    garbage.wait()
