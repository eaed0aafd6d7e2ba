"""Files of a run and a job, damaged as by a full disk or a killed process: pages can still draw them."""

import json
import random
from pathlib import Path

from core.engine.failures.reasons import errors_of, known_cause
from core.engine.presets import prompt_templates
from core.jobs import log
from core.jobs.job import Job
from core.jobs.samples import Samples
from core.training.checkpoint import checkpoints
from core.training.metrics import Metrics, glance
from core.training.timeline import timeline
from tests.fuzz.damage import mutate, refusal

POINT = {"lr": 1e-4, "data_time": 0.1, "loss": 2.0, "time": 0.5, "memory": 900}
SCALARS = "".join(json.dumps({**POINT, "iter": step, "step": step}) + "\n" for step in range(1, 20))
LOG = """2026/01/01 10:00:00 - mmengine - INFO - Evaluation at iteration 4.
2026/01/01 10:00:01 - mmengine - INFO - Sample output:
<|im_start|>user
你是谁？<|im_end|>
<|im_start|>assistant
我是小明的助手<|im_end|>

Traceback (most recent call last):
  File "x.py", line 3, in f
RuntimeError: CUDA out of memory. Tried to allocate
"""
SAMPLE = json.dumps({"time": 1e9, "gpus": [{"index": 0, "used_mb": 100, "utilisation": 50}], "cpu": 3.0, "iter": 4})
STAMP = "20260101_100000"


def trial(directory: Path, rng: random.Random) -> None:
    """Read one run's files; raises what is wrong."""
    work_dir, job = directory / "work_dir", directory / "train-1"
    (work_dir / STAMP / "vis_data").mkdir(parents=True)
    job.mkdir()
    (work_dir / STAMP / "vis_data" / "scalars.json").write_bytes(mutate(SCALARS.encode(), rng))
    (work_dir / STAMP / f"{STAMP}.log").write_bytes(mutate(LOG.encode() * rng.randint(1, 3), rng))
    (work_dir / "iter_4.pth").write_bytes(mutate(b"PK\x03\x04" + bytes(200), rng))
    (directory / "telemetry.jsonl").write_bytes(mutate(f"{SAMPLE}\n".encode() * 5, rng))
    (job / "log.txt").write_bytes(mutate(LOG.encode() * rng.randint(1, 3), rng))
    Metrics(work_dir).read()
    glance(work_dir)
    timeline(work_dir, prompt_templates()["internlm2_chat"])
    checkpoints(work_dir)
    samples = Samples(directory / "telemetry.jsonl")
    samples.read()
    samples.columns()
    text = (job / "log.txt").read_text(encoding="utf-8", errors="replace")
    known_cause(text)
    errors_of(text)
    log.first_error(job / "log.txt")
    log.last_lines(job / "log.txt")
    refusal(lambda: log.search(job / "log.txt", "Error"))
    assert Job(job).log_tail() is not None
