"""What an optimizer did, with torch's own scaler and mmengine's own schedulers."""

from types import SimpleNamespace

import pytest

from core.engine.workers.optimization import check_warmup, updates

RATE = 2e-4


def runner_with(optimizer, every=2, model=None, schedulers=()):
    wrapper = SimpleNamespace(optimizer=optimizer, _accumulative_counts=every)
    return SimpleNamespace(model=model, optim_wrapper=wrapper, max_iters=11, param_schedulers=schedulers)


def scheduled(warm, total, start_factor=1e-5):
    """Return schedulers as in XTuner's presets, and the learning rate of every iteration under them."""
    import torch
    from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=RATE)
    schedulers = [
        LinearLR(optimizer, start_factor=start_factor, by_epoch=False, begin=0, end=warm),
        CosineAnnealingLR(optimizer, eta_min=0.0, by_epoch=False, begin=warm, end=total, T_max=total - warm),
    ]
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return schedulers, rates


def test_a_warmup_of_one_iteration_never_ends_and_is_refused():
    schedulers, rates = scheduled(1, 20)
    assert max(rates) < 1.01e-5 * RATE
    with pytest.raises(RuntimeError, match="The warm-up has one iteration: the learning rate would stay at 1e-05"):
        check_warmup(runner_with(None, schedulers=schedulers))
    with pytest.raises(RuntimeError):
        check_warmup(runner_with(None, schedulers={"all": schedulers}))


@pytest.mark.parametrize("warm", [2, 3])
def test_one_of_two_is_not(warm):
    schedulers, rates = scheduled(warm, 20)
    assert max(rates) == pytest.approx(RATE)
    check_warmup(runner_with(None, schedulers=schedulers))


def test_no_scheduler_and_one_that_falls():
    check_warmup(runner_with(None, schedulers=None))
    check_warmup(runner_with(None, schedulers=scheduled(1, 20, start_factor=1.0)[0]))


def test_updates_that_the_scaler_skips_are_none():
    import torch

    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], lr=RATE)
    scaler = torch.amp.GradScaler("cpu")
    found = []
    # Two overflow before the first that does not.
    for factor in (float("inf"), float("inf"), 1.0, 1.0, float("inf")):
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        found.append(updates(runner_with(optimizer), 2 * len(found) + 2))
    assert [(told["updates"], told["skipped"]) for told in found] == [(0, 1), (0, 2), (1, 2), (2, 2), (2, 3)]
    # The remainder at the end makes one more.
    assert updates(runner_with(optimizer), 11) == {"updates": 2, "skipped": 4}


def test_an_optimizer_that_does_not_count():
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=RATE)
    assert updates(runner_with(optimizer), 7) == {"updates": 3, "skipped": None}
    assert updates(runner_with(optimizer, every=None), 7) == {"updates": None, "skipped": None}


def test_deepspeed_counts_itself():
    engine = SimpleNamespace(global_steps=9, skipped_steps=2)
    assert updates(runner_with(None, model=engine), 18) == {"updates": 7, "skipped": 2}
