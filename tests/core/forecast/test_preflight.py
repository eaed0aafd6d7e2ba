"""The forecast of a run: the engine's measurements are made up here; the arithmetic is ours."""

import copy
import json

import pytest

from core.config import config as configs
from core.data.tokens import Proof
from core.engine.presets import prompt_templates
from core.forecast import findings
from core.forecast import preflight as module
from core.forecast.duration import arithmetic, kind, prepare
from core.forecast.preflight import preflight
from core.forecast.schedule import schedule
from core.ground.errors import BadInput, WorkFailed
from core.models import trust
from core.models.shape import shape
from tests.core.config.test_memory import INTERNLM2

NAME = "$name"
FACTS = {
    "data": {
        "rows": 150, "dropped": 0, "truncated": 0, "raw_longest": 60, "raw_tokens": 6000, "packs": [150, 150],
        "samples": 150, "tokens": 6000, "longest": 60, "padded_tokens": 700.0, "processes": 1, "packed": False,
        "template": "internlm2_chat",
    },
    "batch_size": 16,
    "num_workers": 0,
    "drop_last": False,
    "accumulative_counts": 1,
    "max_epochs": 12,
    "max_iters": None,
    "schedulers": [
        {"by_epoch": True, "begin": 0, "end": 0.36, "convert_to_iter_based": True},
        {"by_epoch": True, "begin": 0.36, "end": 12, "convert_to_iter_based": True},
    ],
    "checkpoint": {"by_epoch": False, "interval": 40, "max_keep_ckpts": 3},
    "evaluation": {"every_n_iters": 20, "evaluation_inputs": ["a", "b"], "max_new_tokens": 96},
    "model": {
        "llm": {"torch_dtype": {NAME: "torch.float32"}},
        "lora": {"r": 16, "lora_dropout": 0.0},
        "use_activation_checkpointing": False,
    },
    "wrapper": "OptimWrapper",
    "amp_dtype": None,
    "optimizer": {"type": "AdamW", "lr": 2e-3},
    "max_length": 512,
    "seed": 42,
    "known_kind": True,
}  # fmt: skip
WARM = {"type": "LinearLR", "start_factor": 1e-5, "by_epoch": True, "begin": 0, "convert_to_iter_based": True}
MACHINE = {"cuda": False, "flops_per_s": 1e11, "flash": False}
CARD = {
    "cuda": True,
    "flops_per_s": 1e14,
    "flash": False,
    "name": "A100",
    "free_mb": 8000,
    "total_mb": 8192,
    "bf16": True,
}


def changed(**changes):
    """Return the facts with changes; nested ones as `part__key`."""
    facts = copy.deepcopy(FACTS)
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            facts[part][key] = value
        else:
            facts[part] = value
    return facts


@pytest.fixture
def facts(monkeypatch):
    """The facts that the engine appears to have measured."""
    given, here = changed(), dict(MACHINE)
    monkeypatch.setattr(module, "config_facts", lambda *_: given)
    monkeypatch.setattr(module, "machine", lambda *_: here)
    # The engine could not load the small model's tokenizer; `tests/core/data/test_tokens` tests the proof.
    monkeypatch.setattr(module, "prove", lambda *_: Proof())
    given["here"] = here
    return given


def told(workspace, config, facts, **changes):
    facts.update(changed(**changes))
    return preflight(workspace, config)


def where(found):
    return {problem.where: problem for problem in found.problems}


def test_nothing_is_wrong_with_the_fast_recipe(workspace, config, facts):
    assert told(workspace, config, facts).problems == []


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({}, "iters", 120),
        ({"drop_last": True}, "iters", 108),
        ({"accumulative_counts": 16}, "optimizer_updates", 8),
        ({"accumulative_counts": 7}, "optimizer_updates", 18),
        ({"max_iters": 50, "max_epochs": None}, "iters", 50),
        ({"max_iters": 50, "max_epochs": None}, "epochs", 5.0),
        ({"checkpoint__interval": 50}, "saved_at", (50, 100, 120)),
        ({"checkpoint__interval": 500}, "saved_at", (120,)),
        ({"checkpoint__save_last": False}, "saved_at", (40, 80, 120)),
        ({"checkpoint__interval": 50, "checkpoint__save_last": False}, "saved_at", (50, 100)),
        ({"checkpoint__save_begin": 30}, "saved_at", (30, 70, 110, 120)),
        ({"checkpoint__max_keep_ckpts": 1}, "checkpoints", 1),
        ({"checkpoint__max_keep_ckpts": -1, "checkpoint__interval": 10}, "checkpoints", 12),
        ({}, "evaluated_at", (0, 20, 40, 60, 80, 100, 120, 120)),
        ({"evaluation__every_n_iters": 1000}, "evaluated_at", (0, 40, 80, 120, 120)),
        ({"evaluation__every_n_iters": 50}, "evaluated_at", (0, 40, 50, 80, 100, 120, 120)),
        ({"evaluation__every_n_iters": None}, "evaluated_at", (0, 120)),
        ({"evaluation__evaluation_inputs": []}, "evaluations", 0),
        ({"evaluation": None}, "evaluations", 0),
    ],
)
def test_schedule(workspace, config, facts, changes, name, value):
    assert getattr(told(workspace, config, facts, **changes), name) == value


def test_several_processes_share_the_rows():
    assert schedule(FACTS, 150, 4).iters == 3 * 12


def test_keys(workspace, config, dataset, facts):
    found = told(workspace, config, facts).to_json()
    assert (found["rows"], found["unique_rows"]) == (dataset.rows, dataset.unique_rows)
    wanted = "rows unique_rows tokens packs iters optimizer_updates evaluations checkpoints estimated_seconds estimated_memory_mb problems"
    assert set(wanted.split()) < set(found)
    assert {part["name"] for part in found["memory"]} == {"weights", "trained", "activations", "logits"}


@pytest.mark.parametrize(
    ("changes", "place", "severity"),
    [
        ({"schedulers": [{"by_epoch": True, "begin": 0, "end": 0.05, "convert_to_iter_based": True}]}, "warmup_ratio", "error"),
        ({"schedulers": [{**WARM, "end": 0.19}]}, "warmup_ratio", "error"),
        ({"accumulative_counts": 16}, "accumulative_counts", "warning"),
        ({"checkpoint__interval": 121}, "save_steps", "warning"),
        ({"evaluation__every_n_iters": 121}, "evaluation_freq", "warning"),
        ({"optimizer__lr": 0.5}, "lr", "warning"),
        ({"optimizer__lr": 1e-7}, "lr", "warning"),
        ({"data__template": "llama3_chat"}, "prompt_template", "warning"),
        ({"data__truncated": 3, "data__raw_longest": 900}, "max_length", "warning"),
        ({"data__dropped": 3}, "dataset", "warning"),
        ({"data__packed": True}, "pack_to_max_length", "warning"),
        ({"data__packs": [10, 12]}, "seed", "warning"),
        ({"wrapper": "AmpOptimWrapper"}, "precision", "error"),
        ({"model__llm": {"quantization_config": {"load_in_4bit": True}}}, "quantisation", "error"),
        ({"model__llm": {"attn_implementation": "flash_attention_2"}}, "attn_implementation", "error"),
        ({"model__use_varlen_attn": True}, "batch_size", "error"),
        ({"max_iters": 20}, "max_epochs", "error"),
    ],
)  # fmt: skip
def test_problem(workspace, config, facts, changes, place, severity):
    problem = where(told(workspace, config, facts, **changes))[place]
    assert problem.severity == severity
    assert problem.message.zh
    assert problem.hint.en


def test_another_prompt_than_the_models_own_is_told_by_both_names(workspace, config, facts):
    written = {"INSTRUCTION": "Q: {input}\nA:", "SUFFIX": "<e>", "SUFFIX_AS_EOS": True}
    for template, name in (("llama3_chat", "llama3_chat"), (written, repr("Q: {input}\nA:"))):
        problem = where(told(workspace, config, facts, data__template=template))["prompt_template"]
        assert name in problem.message.zh and "internlm2_chat" in problem.message.en
        assert problem.fix == {"prompt_template": "internlm2_chat"}
    # ChatML is ChatML under any name, also written out.
    own = prompt_templates()["internlm2_chat"].parts
    for template in ("qwen_chat", own):
        assert "prompt_template" not in where(told(workspace, config, facts, data__template=template))


def test_nobody_knows_better_than_a_config_for_a_base_model(workspace, config, facts):
    settings = json.loads((workspace.models / config.model / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (workspace.models / config.model / "tokenizer_config.json").write_text(json.dumps(settings))
    # The demo model is known to use InternLM2's, whether it says so or not.
    assert "prompt_template" in where(told(workspace, config, facts, data__template="llama3_chat"))
    (workspace.models / config.model / "demo_model.json").unlink()
    trust.agree(workspace, workspace.models / config.model)
    assert "prompt_template" not in where(told(workspace, config, facts, data__template="llama3_chat"))


def test_a_system_prompt_of_the_evaluation_that_no_row_has_is_told(workspace, config, facts):
    problem = where(told(workspace, config, facts, evaluation__system="Be brief."))["SYSTEM"]
    assert problem.fix == {"SYSTEM": ""} and "SYSTEM" in problem.message.zh


def test_a_system_prompt_of_xtuners_own_is_compared_by_its_text(workspace, config, facts):
    named = {"$name": "xtuner.utils.SYSTEM_TEMPLATE.alpaca"}
    assert where(told(workspace, config, facts, evaluation__system=named))["SYSTEM"].fix == {"SYSTEM": ""}
    assert "SYSTEM" not in where(told(workspace, config, facts, evaluation__system={"$name": "mine.unknown"}))


def test_no_warning_just_below(workspace, config, facts):
    changes = {"checkpoint__interval": 120, "evaluation__every_n_iters": 120, "accumulative_counts": 4}
    assert told(workspace, config, facts, **changes).problems == []


@pytest.mark.usefixtures("facts")
def test_every_fix_can_be_made(workspace, config, facts):
    changes = {
        "accumulative_counts": 16, "checkpoint__interval": 500, "evaluation__every_n_iters": 500, "optimizer__lr": 0.5,
        "data__template": "llama3_chat", "wrapper": "AmpOptimWrapper", "data__packed": True, "data__truncated": 1,
        "data__raw_longest": 700, "data__packs": [1, 2],
    }  # fmt: skip
    problems = told(workspace, config, facts, **changes).problems
    mendable = [problem for problem in problems if problem.fix]
    assert len(mendable) >= 8
    for problem in mendable:
        configs.change(workspace, config.name, problem.fix)
    values = configs.find(workspace, config.name).values()
    assert (values["accumulative_counts"], values["precision"], values["lr"]) == (1, "fp32", 2e-3)
    assert values["prompt_template"] == "internlm2_chat"


@pytest.mark.parametrize(("multiplies", "severity"), [(True, None), (False, "warning")])
def test_bf16_without_a_gpu_is_for_processors_that_multiply_it(
    workspace, config, facts, monkeypatch, multiplies, severity
):
    monkeypatch.setattr(findings, "multiply_bf16", lambda: multiplies)
    problem = where(told(workspace, config, facts, wrapper="AmpOptimWrapper", amp_dtype="bfloat16")).get("precision")
    assert getattr(problem, "severity", None) == severity
    assert problem is None or problem.fix == {"precision": "fp32"}


def test_a_model_too_large_for_the_slice_is_told_how_to_fit(workspace, config, facts, monkeypatch):
    """The 1.8 B model without quantization in 8 GB."""
    monkeypatch.setattr(module, "shape", lambda *_: INTERNLM2)
    facts["here"].clear()
    facts["here"].update(CARD)
    found = told(
        workspace,
        config,
        facts,
        wrapper="AmpOptimWrapper",
        amp_dtype="float16",
        model__llm={"torch_dtype": {NAME: "torch.float16"}},
    )
    problem = where(found)["memory"]
    assert problem.severity == "error"
    assert problem.fix["use_activation_checkpointing"] is True
    assert problem.fix["method"] == "qlora"
    assert found.estimated_total_mb > CARD["free_mb"]


def test_a_sequence_longer_than_the_model_takes(workspace, config, facts, monkeypatch):
    monkeypatch.setattr(module, "shape", lambda *_: INTERNLM2)
    problem = where(told(workspace, config, facts, data__longest=50_000))["max_length"]
    assert problem.fix == {"max_length": 32768}


@pytest.mark.parametrize(("ratio", "word"), [(0.001, "零"), (0.01, "只有一次")])
def test_a_warmup_is_mended_to_two_iterations(workspace, config, facts, ratio, word):
    problem = where(told(workspace, config, facts, schedulers=[{**WARM, "end": 12 * ratio}]))["warmup_ratio"]
    assert word in problem.message.zh
    share = problem.fix["warmup_ratio"]
    assert int(share * 12 * 10) == 2
    assert "warmup_ratio" not in where(told(workspace, config, facts, schedulers=[{**WARM, "end": 12 * share}]))


@pytest.mark.parametrize(("samples", "epochs"), [(1, 1), (1, 2), (16, 5), (40, 9)])
def test_where_there_are_few_iterations_the_fix_takes_more_of_them(workspace, config, facts, samples, epochs):
    few = {"data__samples": samples, "max_epochs": epochs, "batch_size": 16}
    fix = where(told(workspace, config, facts, schedulers=[{**WARM, "end": epochs * 0.03}], **few))["warmup_ratio"].fix
    assert fix["warmup_ratio"] == 0.1
    mended = few | {"max_epochs": fix["max_epochs"]}
    found = told(workspace, config, facts, schedulers=[{**WARM, "end": fix["max_epochs"] * 0.1}], **mended)
    assert "warmup_ratio" not in where(found)
    assert found.iters >= 30


def test_deepspeed_casts_the_whole_model(workspace, config, facts, monkeypatch):
    monkeypatch.setattr(module, "shape", lambda *_: INTERNLM2)
    facts["here"].update(CARD)
    facts.update(changed(wrapper="AmpOptimWrapper", model__llm={"torch_dtype": {NAME: "torch.bfloat16"}}))
    in_bf16 = preflight(workspace, config)
    facts.update(changed(wrapper="AmpOptimWrapper", model__llm={"torch_dtype": {NAME: "torch.float16"}}))
    alone = preflight(workspace, config)
    with_it = preflight(workspace, config, deepspeed="deepspeed_zero2")
    # Half of the weights, and none of the copies; so it is in bf16 without DeepSpeed.
    weights = INTERNLM2.parameters * 2 / 2**20
    assert in_bf16.estimated_memory_mb == with_it.estimated_memory_mb
    assert weights < alone.estimated_memory_mb - with_it.estimated_memory_mb < 2.2 * weights
    slow = preflight(workspace, config, deepspeed="deepspeed_zero3")
    assert slow.estimated_seconds > 1.5 * with_it.estimated_seconds
    # DeepSpeed only steps when the accumulation is complete.
    facts["accumulative_counts"] = 16
    assert (
        preflight(workspace, config).optimizer_updates,
        preflight(workspace, config, deepspeed="deepspeed_zero2").optimizer_updates,
    ) == (8, 7)
    with pytest.raises(BadInput, match="zero9"):
        preflight(workspace, config, deepspeed="zero9")


def test_earlier_runs_correct_time_and_memory(workspace, config, facts):
    first = told(workspace, config, facts)
    assert not first.calibrated
    parameters = shape(configs.model_of(workspace, config).path).parameters
    run = {
        "kind": kind(facts, parameters), "checkpointing": False, "work": arithmetic(facts, parameters), "seconds": 0.5,
        "start_seconds": 20.0, "prepare_seconds": prepare(facts), "token_seconds": 0.0, "predicted_mb": 100.0,
        "total_mb": 1500.0,
    }  # fmt: skip
    second = preflight(workspace, config, [run])
    assert second.calibrated
    assert second.estimated_seconds == pytest.approx(20 + 120 * 0.5)
    assert second.estimated_memory_mb == pytest.approx(1400 + first.memory.allocated_mb, abs=1)


@pytest.mark.usefixtures("facts")
def test_keeping_can_be_asked_for_and_is_the_datas_default(workspace, config):
    usual, kept = (preflight(workspace, config, keep=keep) for keep in (None, True))
    # The fixture's data do not hold the model's own answers.
    assert usual.duration.train < kept.duration.train
    configs.change(workspace, config.name, {"method": "full"})
    with pytest.raises(BadInput, match="keep"):
        preflight(workspace, configs.find(workspace, config.name), keep=True)


def test_broken_config_is_not_measured(workspace, config, monkeypatch):
    monkeypatch.setattr(module, "config_facts", lambda *_: pytest.fail("measured"))
    config.file.write_text("a = = 1")
    found = preflight(workspace, config)
    assert [problem.where for problem in found.problems] == ["config.py"]
    assert found.iters == 0


@pytest.mark.usefixtures("facts")
def test_engine_that_cannot_read_it(workspace, config, monkeypatch):
    def refuse(*_):
        raise WorkFailed("引擎读不出", "the engine cannot read it")

    monkeypatch.setattr(module, "config_facts", refuse)
    (problem,) = preflight(workspace, config).problems
    assert problem.message.en == "the engine cannot read it"


def test_a_config_that_does_not_say_how_long_is_a_problem(workspace, config, facts):
    facts["max_iters"] = facts["max_epochs"] = None
    found = preflight(workspace, config)
    assert [problem.where for problem in found.problems] == ["train_cfg"]


def test_data_that_cannot_be_read_is_a_problem(workspace, config, facts):
    facts["data"] = {"error": "the dataset tatsu-lab/alpaca is on a hub, not on this machine"}
    (problem,) = preflight(workspace, config).problems
    assert (problem.where, problem.severity) == ("dataset", "error")
    assert "tatsu-lab" in problem.message.zh
