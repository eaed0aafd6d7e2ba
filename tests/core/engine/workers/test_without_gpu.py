"""A machine without a GPU: DeepSpeed compiles nothing, frozen weights stay in bf16, and memory is kept."""

import os
import subprocess
import sys

import pytest

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

STEP = """
import sys
from core.ground import garbage
garbage.wait()
from core.engine.workers.frozen_weights import leave_in_bf16
from core.engine.workers.without_gpu import make_cpu_work
make_cpu_work()
leave_in_bf16()
import torch
from mmengine.config import ConfigDict
from mmengine.optim import AmpOptimWrapper
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from xtuner.model import SupervisedFinetune
from tests.core.engine.workers.tiny import llama
place, dtype, recompute = sys.argv[1:]
llama().save_pretrained(place)
dtypes = set()
model = SupervisedFinetune(
    llm=ConfigDict(
        type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=place, torch_dtype=getattr(torch, dtype)
    ),
    lora=dict(type=LoraConfig, r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    use_activation_checkpointing=recompute == "recompute",
)
model.train()
model.llm.base_model.model.model.layers[0].mlp.up_proj.register_forward_hook(lambda _m, _i, out: dtypes.add(out.dtype))
trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
frozen = [weight for weight in model.parameters() if not weight.requires_grad]
before = {name: weight.detach().clone() for name, weight in trained.items()}
optim = AmpOptimWrapper(dtype="bfloat16", optimizer=torch.optim.AdamW(trained.values(), lr=0.01), accumulative_counts=2)
rows = torch.arange(3, 19).reshape(2, 8)
for _ in range(2):
    with optim.optim_context(model):
        loss = model(dict(input_ids=rows, labels=rows, attention_mask=torch.ones_like(rows).bool()), mode="loss")["loss"]
    optim.update_params(loss)
print({weight.dtype for weight in frozen}, {weight.dtype for weight in trained.values()}, dtypes)
print(sum(not torch.equal(before[name], weight) for name, weight in trained.items()), len(trained), loss.item() > 0)
"""

# Pages that were new to a process when it used 64 MB for the second time.
NEW_PAGES = """
from resource import RUSAGE_SELF, getrusage
from core.engine.workers.without_gpu import make_cpu_work
if {kept}:
    make_cpu_work()
for _ in range(2):
    before = getrusage(RUSAGE_SELF).ru_minflt
    block = b"x" * (64 << 20)
    del block
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


def test_nothing_is_compiled_for_ranks_to_meet(tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    argv = [sys.executable, "-W", "ignore", "-c", MEET]
    done = subprocess.run(argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["compiled None"], done.stderr[-1000:]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dtype", "frozen", "recompute"),
    [
        ("bfloat16", "bfloat16", "keep"),
        ("bfloat16", "bfloat16", "recompute"),
        ("float16", "float32", "keep"),
        ("float32", "float32", "keep"),
    ],
)
def test_bf16_is_computed_beside_weights_that_stay_in_it(tmp_path, dtype, frozen, recompute):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    argv = [sys.executable, "-W", "ignore", "-c", STEP, str(tmp_path), dtype, recompute]
    done = subprocess.run(argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    kept, moved = done.stdout.splitlines()[-2:] or (done.stderr[-2000:], "")
    assert (kept, moved) == (f"{{torch.{frozen}}} {{torch.float32}} {{torch.bfloat16}}", "4 4 True"), done.stderr[
        -2000:
    ]


def test_memory_is_asked_for_once():
    """Of a training on a CPU, unlike a process that has changed nothing."""

    def new_pages(kept: bool) -> int:
        code = NEW_PAGES.format(kept=kept)
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    assert new_pages(kept=True) < 100 < new_pages(kept=False)
