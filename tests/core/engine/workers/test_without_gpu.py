"""What DeepSpeed does not do on a machine without a GPU."""

import os
import subprocess
import sys

from core.ground.workspace import PROJECT

MEET = """
from core.ground import garbage
garbage.wait()
import deepspeed
from core.engine.workers.without_gpu import build_no_operators
build_no_operators()
from deepspeed.comm.torch import build_shm_op
print("compiled", build_shm_op())
"""


def test_nothing_is_compiled_for_ranks_to_meet(tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    argv = [sys.executable, "-W", "ignore", "-c", MEET]
    done = subprocess.run(argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["compiled None"], done.stderr[-1000:]
    assert not any(tmp_path.iterdir())
