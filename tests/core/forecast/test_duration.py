"""The first estimate of a duration against the three H100 runs (InternLM2's 1.8 B architecture) it was calibrated with.

Tests that it still fits these, not that it predicts others.
"""

import pytest

from core.forecast.duration import duration, like_it
from core.forecast.schedule import Schedule
from tests.core.config.test_memory import INTERNLM2, facts

H100 = {"cuda": True, "flops_per_s": 600e12}
EVALUATION = {"evaluation_inputs": ["a", "b"], "max_new_tokens": 32}


def plan(iters: int, saves: int, answers: int) -> Schedule:
    places = tuple(range(answers))
    return Schedule(
        per_epoch=18,
        iters=iters,
        updates=iters,
        saves=tuple(range(saves)),
        answers=places,
        kept=saves,
        epochs=2.0,
        ramps=(),
    )


# The durations, less the waits between epochs that existed then.
@pytest.mark.parametrize(
    ("how", "tokens", "schedule", "most_tokens", "checkpoint", "measured"),
    [
        ({"bits": None, "batch": 16, "checkpointing": False}, 617, plan(126, 3, 8), 96, 206_905_344, 108.8 - 12),
        (
            {"r": 0, "bits": None, "batch": 16, "checkpointing": False},
            617,
            plan(36, 1, 4),
            32,
            22_669_320_192,
            129.0 - 2,
        ),
        ({}, 2048, plan(64, 1, 3), 32, 827_621_376, 69.2),
    ],
    ids=["lora", "full", "qlora, packed"],
)
def test_the_first_estimate(how, tokens, schedule, most_tokens, checkpoint, measured):
    told = facts(**how)
    told["data"] |= {"padded_tokens": tokens, "rows": 282}
    told["evaluation"] = {**EVALUATION, "max_new_tokens": most_tokens}
    assert duration(INTERNLM2, told, schedule, H100, (), checkpoint).seconds == pytest.approx(measured, rel=0.35)


def test_an_earlier_run_that_was_bound_by_its_kernels_is_not_scaled_by_the_tokens():
    told = facts(bits=None, batch=16, checkpointing=False)
    told["data"] |= {"padded_tokens": 617, "rows": 282}
    told["evaluation"] = None
    earlier = {
        "kind": [INTERNLM2.parameters, True, False, False, False, None],
        "checkpointing": False,
        "work": 4 * INTERNLM2.parameters * 617,
        "seconds": 0.4,
        "start_seconds": 30.0,
        "prepare_seconds": 1.0,
        "token_seconds": 0.04,
    }
    small = duration(INTERNLM2, told, plan(100, 1, 1), H100, [earlier])
    assert small.calibrated
    assert small.train == pytest.approx(40.0)
    told["data"] |= {"padded_tokens": 2 * 617}
    assert duration(INTERNLM2, told, plan(100, 1, 1), H100, [earlier]).train == pytest.approx(40.0, rel=0.1)
    # A run limited by arithmetic counts.
    cpu = {"cuda": False, "flops_per_s": 1e11}
    bound = {**earlier, "seconds": 60.0}
    assert duration(INTERNLM2, told, plan(10, 1, 1), cpu, [bound]).train == pytest.approx(1200.0)


def test_the_base_models_forward_pass_takes_a_third_more():
    told = facts()
    told["evaluation"] = None
    for tokens, bound in ((100, "kernels"), (8192, "arithmetic")):
        told["data"] |= {"padded_tokens": tokens, "rows": 282}
        usual, kept = (
            duration(INTERNLM2, told | {"keeps": keeps}, plan(100, 0, 0), H100).train for keeps in (False, True)
        )
        assert kept == pytest.approx(usual * 4 / 3, rel=0.02), bound


def test_the_earlier_run_that_is_most_alike_counts():
    told = facts() | {"keeps": True, "processes": 2}
    told["data"] |= {"padded_tokens": 617, "rows": 282}
    kinds = {"kind": [INTERNLM2.parameters, True, True, False, False, None], "checkpointing": True}
    others = [kinds | {"keeps": False, "processes": 2}, kinds | {"keeps": True, "processes": 1}]
    same = kinds | {"keeps": True, "processes": 2}
    assert like_it(told, INTERNLM2.parameters, [*others, same]) is same
    assert like_it(told, INTERNLM2.parameters, others) is others[0]
    assert like_it(told | {"deepspeed": "deepspeed_zero2"}, INTERNLM2.parameters, [same]) is None


def test_where_processes_load_the_data_the_loop_waits_before_each_further_epoch():
    told = facts()
    told["data"] |= {"padded_tokens": 617, "rows": 282}
    told["evaluation"] = None
    alone = duration(INTERNLM2, told, plan(36, 1, 1), H100)
    assert duration(INTERNLM2, {**told, "num_workers": 2}, plan(36, 1, 1), H100).train == pytest.approx(alone.train + 2)
