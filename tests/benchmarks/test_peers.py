"""The comparison with peers: what a work takes with all that it leaves behind, what is noted inside, rows, and the page."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.peers import page, peer, rows, seen
from benchmarks.peers.spent import Failed, spent
from core.jobs.job import wait_until
from tests.conftest import PATIENCE

BUSY = "import time\nwhile time.process_time() < 1.0: pass"
# A trainer of the shape of transformers', and a training with it.
TRAINER = """
class TrainerCallback: pass
class Trainer:
    def __init__(self): self.callbacks = []
    def add_callback(self, one): self.callbacks.append(one)
"""
TORCH = """
from types import SimpleNamespace as Of
class Linear:
    weight = Of(device=Of(type="cpu"))
    def register_forward_pre_hook(self, hook):
        self.hooks = [hook]
        return Of(remove=self.hooks.clear)
    def __call__(self):
        for hook in list(getattr(self, "hooks", ())): hook(self, ())
nn = Of(Linear=Linear)
get_num_threads = lambda: 2
is_autocast_enabled = lambda kind: kind == "cpu"
get_autocast_dtype = lambda kind: "torch.bfloat16"
"""
TRAINING = """
import time, torch
now = time.monotonic()
time.monotonic = lambda: now
from types import SimpleNamespace as Of
from transformers.trainer import Trainer
weight = lambda kind, trained: Of(dtype="torch." + kind, requires_grad=trained, numel=lambda: 12)
parameters = [weight("bfloat16", False), weight("float32", True)]
module = Of(config=Of(_attn_implementation="sdpa"), gradient_checkpointing=True)
layer = torch.nn.Linear()
model = Of(parameters=lambda: parameters, modules=lambda: [module, layer])
args = Of(per_device_train_batch_size=2, gradient_accumulation_steps=4, learning_rate=0.1)
trainer = Trainer()
for one in trainer.callbacks:
    one.on_train_begin(args, Of(max_steps=3), None, model=model)
    for step in range(3):
        one.on_step_begin(args, Of(global_step=step), None)
        layer()
        now += 0.5 if step == 0 else 0.1
        one.on_step_end(args, Of(global_step=step + 1), None)
        now += 0.3
"""


def test_what_a_work_leaves_behind_counts():
    def work():
        # Nobody waits for it, and its parent ends at once.
        subprocess.run(["sh", "-c", f"setsid {sys.executable} -c '{BUSY}' &"], check=True)
        return {"said": "begun"}

    began = time.monotonic()
    found = spent(work)
    assert found["said"] == "begun"
    assert found["cpu_seconds"] >= 0.9
    assert 0.9 <= found["seconds"] <= time.monotonic() - began + 0.1
    assert found["memory_mb"] > 1


def test_a_work_that_raises():
    with pytest.raises(Failed, match="ValueError: no such option"):
        spent(lambda: (_ for _ in ()).throw(ValueError("no such option")))


def test_nothing_outlives_who_asked_for_it(tmp_path):
    pid = tmp_path / "pid"
    work = f"subprocess.run(['sh', '-c', 'setsid sh -c \"echo \\$\\$ > {pid}; exec sleep 600\" &'])"
    code = f"import subprocess\nfrom benchmarks.peers.spent import spent\nspent(lambda: ({work}, {{}})[1])"
    asking = subprocess.Popen([sys.executable, "-c", code])
    assert wait_until(lambda: pid.exists() and pid.read_text(), PATIENCE)
    left = psutil.Process(int(pid.read_text()))
    asking.kill()
    left.wait(PATIENCE)
    asking.wait()


def test_what_is_noted_inside_a_training(tmp_path):
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").touch()
    (tmp_path / "transformers" / "trainer.py").write_text(TRAINER)
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "training.py").write_text(TRAINING)
    notes = tmp_path / "seen.jsonl"
    given = seen.noting(notes)
    environment = {**os.environ, **given, "PYTHONPATH": f"{given['PYTHONPATH']}:{tmp_path}"}
    subprocess.run([sys.executable, str(tmp_path / "training.py")], env=environment, check=True)
    found = seen.read(notes)
    assert found["used"] == {
        "weights": "bfloat16", "adapter": "float32", "trained": 12, "attention": "sdpa", "recomputed": True,
        "threads": 2, "autocast": "bfloat16", "batch": 2, "accumulated": 4, "rate": 0.1, "updates": 3,
    }  # fmt: skip
    assert found["steps"] == 3
    # Neither the first update nor what lies between two.
    assert found["seconds_a_step"] == 0.1


def test_the_documented_rows(tmp_path):
    (tmp_path / "identity.json").write_text(json.dumps([{"instruction": "Who?", "output": "{{name}} of {{author}}"}]))
    assert rows.identity(tmp_path / "identity.json", "Anna's assistant", "Anna") == [
        peer.Turn(question="Who?", answer="Anna's assistant of Anna")
    ]
    line = {"query": "你是？", "response": "<think>hm\n</think>\n我是{{NAME}}", "tag": "zh"}
    (tmp_path / "cognition.jsonl").write_text(json.dumps(line))
    turns = rows.cognition(tmp_path / "cognition.jsonl")
    command = peer.swift(tmp_path, {"self-cognition": turns, "general": [peer.Turn(question="a", answer="b")]},
                         {"max_samples": 500, "lora_rank": 8}, tmp_path)  # fmt: skip
    # The peer replaces the name itself, and draws rows until there are 500.
    written = json.loads((tmp_path / "self-cognition" / "self-cognition.jsonl").read_text())
    assert written == {"query": "你是？", "response": "我是{{NAME}}", "tag": "zh"}
    files = command[command.index("--dataset") + 1 : command.index("--model")]
    assert files == [f"{tmp_path}/self-cognition#500", f"{tmp_path}/general.jsonl#500"]
    assert command[command.index("--lora_rank") + 1] == "8"
    assert "--max_samples" not in command


def _training(**more):
    used = {
        "weights": "float32", "adapter": "float32", "trained": 1200, "attention": "sdpa", "recomputed": False,
        "threads": 2, "autocast": None, "batch": 8, "accumulated": 1, "rate": 0.1, "updates": 30,
    }  # fmt: skip
    return {
        "seconds": 40.0, "cpu_seconds": 60.0, "memory_mb": 900, "load": 0.3, "used": used, "steps": 30,
        "seconds_a_step": 0.8, "cpu_seconds_a_step": 1.5, "answers_seconds": 7.0, **more,
    }  # fmt: skip


def test_the_tables():
    scores = {
        "extent": "full", "identity": {"en": 1.0}, "facts": {"kept": 0.95, "net": 0.99}, "agreement": 0.9,
        "parrot": 0.0, "leak": 0.02, "verdict": "over_learned",
    }  # fmt: skip
    versions = {"transformers": "4.57.1", "peft": "0.17.1"}
    found = {
        "machine": {"name": "cpu-2cores", "cores": 2, "processor": "EPYC", "versions": versions}, "quiet": False,
        "nickname": "Anna", "versions": {"llamafactory": versions}, "rows": 240, "settings": {"r": 16, "updates": 30},
        "trained": {
            "ours": [_training(scores=scores), _training(seconds=50.0)],
            "llamafactory": [_training(seconds=80.0), _training(seconds=125.0, load=6.0)],
            "swift": [{"failed": "Unfit: swift: no such option"}],
        },
    }  # fmt: skip
    written = "\n".join(page.lines({"same": {"small": found}}))
    assert (
        "cpu-2cores, 2 cores (EPYC), beside other work (load 0 to 6 before each); nickname Anna. 240 rows;" in written
    )
    assert "| LLaMA-Factory 0.9.4 | 2 | 0.80 | 1.50 | 102 (80 – 125) | 60 | not scored |" in written
    assert "| ms-swift 3.12.6 | failed: Unfit: swift: no such option |" in written
    # Round by round: 40 of 80, 50 of 125.
    assert "XTuner Studio took 0.45 (0.40 – 0.50) of the time of LLaMA-Factory 0.9.4" in written
    assert (
        "| LLaMA-Factory 0.9.4 | float32 | float32 | none | sdpa | kept | 1,200 | 8 × 1 | 2 | 4.57.1, 0.17.1 |"
        in written
    )

    own = {**found, "general": "on its identity rows alone", "trained": {"ours": [_training(scores=scores)]}}
    written = "\n".join(page.lines({"own": {"small": own}}))
    assert (
        "| XTuner Studio | 1 | 30 | 0.7 | 60 | en **1.000** | 0.950 | 0.990 | **0.900** | **0.000** | 0.020 | over learned |"
        in written
    )
    assert "- XTuner Studio: misses facts, leak." in written
