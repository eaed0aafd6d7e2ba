"""The phases of a training, counted from the beginning of its process."""

import subprocess
import sys

from core.ground.workspace import PROJECT

CODE = """
import time
time.sleep(0.6)
from core.engine.workers import phases
phases.reach("imported")
time.sleep(0.3)
phases.reach("imported")
phases.reach("built")
for _ in range(2):
    with phases.spending("answers"):
        time.sleep(0.2)
print(phases.reached["imported"], phases.reached["built"], phases.spent["answers"])
"""


def test_counted_from_the_beginning_of_the_process_and_only_once():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=PROJECT, capture_output=True, text=True, check=True)
    imported, built, answers = map(float, done.stdout.split())
    assert imported >= 0.6
    assert round(built - imported, 2) >= 0.3
    assert answers >= 0.4
