"""A step in our own kernels gives the tokens of the model's own code; without a GPU Triton interprets the kernels."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
PROJECT = Path(__file__).parents[4]
CASES = ("adapters", "theirs", "parts", "rows", "falls back", "biases", "grouped", "another", "wrong")


def test_the_tokens_are_those_of_the_models_own_code():
    place = importlib.util.find_spec("xtuner").submodule_search_locations[0]
    code = Path(place, "_lite", "modelings", "internlm2")
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.engine.workers.fused_cases", code],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(CASES, True)
