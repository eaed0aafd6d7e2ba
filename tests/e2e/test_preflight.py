"""The preflight against actual runs: the demo's own, a small one with packing, and XTuner's own datasets."""

import json

import pytest

from benchmarks.preflight import COUNTS, forecast, happened, taken_and_skipped
from core.config import config as configs
from core.forecast.preflight import preflight
from core.jobs.job import Status
from core.training import run as runs
from tests.e2e.conftest import Demo, engine

BUILD = """
import json, sys
from core.engine.workers.without_gpu import answer_bf16
answer_bf16()
import numpy as np
from datasets import load_dataset
from transformers import AutoTokenizer
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.map_fns import pretrain_map_fn, template_map_fn_factory
from xtuner.utils import PROMPT_TEMPLATE
from core.engine.workers import training_data

name = lambda text: {"$name": text}
model, rows, texts = sys.argv[1:4]
for case in json.loads(sys.argv[4]):
    seed, pretrain = case.pop("seed", None), case.pop("pretrain", False)
    source = dict(path="json", data_files=dict(train=texts if pretrain else rows))
    tokenizer = dict(pretrained_model_name_or_path=model, trust_remote_code=True)
    np.random.seed(seed or 0)
    made = process_hf_dataset(
        dataset=dict(type=load_dataset, **source),
        tokenizer=dict(type=AutoTokenizer.from_pretrained, **tokenizer),
        dataset_map_fn=pretrain_map_fn if pretrain else None,
        template_map_fn=None if pretrain else dict(type=template_map_fn_factory, template=PROMPT_TEMPLATE.internlm2_chat),
        remove_unused_columns=True,
        **case,
    )
    told = training_data.lengths(
        dict(
            type=name("xtuner.dataset.process_hf_dataset"),
            dataset=dict(type=name("datasets.load_dataset"), **source),
            tokenizer=dict(type=name("transformers.AutoTokenizer.from_pretrained"), **tokenizer),
            dataset_map_fn=name("xtuner.dataset.map_fns.pretrain_map_fn") if pretrain else None,
            template_map_fn=None if pretrain else dict(
                type=name("xtuner.dataset.map_fns.template_map_fn_factory"),
                template=name("xtuner.utils.PROMPT_TEMPLATE.internlm2_chat"),
            ),
            **case,
        ),
        seed,
    )
    print(json.dumps([list(made["length"]), told["sequences"]]))
"""


def fast(apart: Demo, name: str) -> None:
    """Create a config with the demo's model, dataset and recipe."""
    dataset = json.loads((apart.run / "run.json").read_text(encoding="utf-8"))["dataset"]["name"]
    configs.make(apart.workspace, model="demo", dataset=dataset, recipe="fast", name=name)


def test_the_demo_did_what_its_preflight_says(demo):
    config = json.loads((demo.run / "run.json").read_text(encoding="utf-8"))["config"]["name"]
    said = forecast(demo.workspace, config)
    did = happened(demo.workspace, runs.find(demo.workspace, demo.answer["run"]))
    assert {key: said[key] for key in COUNTS} == {key: did[key] for key in COUNTS}
    assert did["told"] == taken_and_skipped(did)
    assert said["calibrated"]


def test_a_packed_training_whose_accumulation_does_not_divide(apart):
    fast(apart, "packed")
    settings = {
        "pack_to_max_length": True, "max_length": 256, "batch_size": 2, "accumulative_counts": 4, "max_epochs": 1,
        "save_steps": 9, "evaluation_freq": 100, "warmup_ratio": 0.1, "max_new_tokens": 8, "map_num_proc": 2,
        "shuffle_before_pack": True,
    }  # fmt: skip
    configs.change(apart.workspace, "packed", settings)
    said = forecast(apart.workspace, "packed")
    assert said["iterations"] % 4
    run = runs.start(apart.workspace, "packed")
    assert run.job.wait() is Status.FINISHED, run.job.log_tail()
    did = happened(apart.workspace, run)
    assert {key: said[key] for key in COUNTS} == {key: did[key] for key in COUNTS}
    assert did["told"] == taken_and_skipped(did)


def test_a_warmup_of_one_iteration_is_foreseen_and_fails_with_its_reason(apart):
    """With packing, so that only measuring shows it: XTuner itself would train at a 100,000th of the learning rate."""
    fast(apart, "short-warmup")
    settings = {"pack_to_max_length": True, "max_length": 256, "batch_size": 2, "max_epochs": 1, "map_num_proc": 1}
    plan = preflight(apart.workspace, configs.change(apart.workspace, "short-warmup", settings))
    config = configs.change(apart.workspace, "short-warmup", {"warmup_ratio": round(1.5 / plan.iters, 3)})
    (problem,) = [found for found in preflight(apart.workspace, config).problems if found.where == "warmup_ratio"]
    assert "一次迭代" in problem.message.zh
    run = runs.start(apart.workspace, config.name)
    assert run.job.wait() is Status.FAILED
    assert "warmup_ratio" in run.state().reason.zh
    configs.change(apart.workspace, config.name, problem.fix)
    assert not [found for found in preflight(apart.workspace, config).problems if found.where == "warmup_ratio"]


def test_sequences_are_those_of_xtuner(demo, tmp_path):
    """Rows of many lengths, one with several turns, one without any; texts; pieces, seeds, a pack that never fills."""
    turn = lambda n: {"input": "你好" * (n % 37 + 1), "output": "世界" * (n * 7 % 61)}  # noqa: E731
    rows = [{"conversation": [turn(n)]} for n in range(1200)]
    rows[5] = {"conversation": [{"system": "你是助手", "input": "a", "output": "b"}, {"input": "c", "output": "d"}]}
    rows[6] = {"conversation": []}
    texts = [{"text": "一段 文字 " * (n % 50 + 1)} for n in range(90)]
    for name, content in (("rows", rows), ("texts", texts)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    cases = [
        {"max_length": 128, "pack_to_max_length": False, "map_num_proc": 1},
        {"max_length": 512, "shuffle_before_pack": False, "map_num_proc": 1},
        {"max_length": 512, "shuffle_before_pack": True, "map_num_proc": 2, "seed": 42},
        {"max_length": 60_000, "shuffle_before_pack": False, "map_num_proc": 1},
        {"max_length": 512, "shuffle_before_pack": False, "map_num_proc": 2, "pretrain": True},
    ]
    files = [str(tmp_path / f"{name}.json") for name in ("rows", "texts")]
    out = engine(
        demo.workspace, "-c", BUILD, str(demo.workspace.model("demo")), *files, json.dumps(cases, ensure_ascii=False)
    )
    compared = [json.loads(line) for line in out.splitlines() if line.startswith("[[")]
    assert len(compared) == len(cases)
    for made, told in compared:
        assert made == told
    assert compared[0][0] != pytest.approx([128] * len(compared[0][0]))
