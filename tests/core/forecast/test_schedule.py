"""When something happens in a training: beside a loop that is walked iteration by iteration, as mmengine does it."""

import random

import pytest

from core.forecast.schedule import schedule

FACTS = {
    "batch_size": 16,
    "drop_last": False,
    "accumulative_counts": 1,
    "max_epochs": 3,
    "max_iters": None,
    "schedulers": [],
    "checkpoint": None,
    "evaluation": None,
}
WARM = {
    "type": "LinearLR",
    "start_factor": 1e-5,
    "by_epoch": True,
    "begin": 0,
    "end": 0.36,
    "convert_to_iter_based": True,
}


def plan(samples=150, processes=1, **facts):
    return schedule(FACTS | facts, samples, processes)


def walked(facts, samples, processes):
    """The same as mmengine's and XTuner's hooks do it: `every_n_train_iters` of each, after each iteration."""

    def every(n, start=0):
        return n > 0 and done >= start and (done - start) % n == 0

    rows = len(range(0, samples, processes))
    batches = list(range(0, rows, facts["batch_size"]))
    if facts["drop_last"] and rows % facts["batch_size"]:
        batches.pop()
    per_epoch = max(1, len(batches))
    iters = facts["max_iters"] or per_epoch * facts["max_epochs"]
    saving, asking = facts["checkpoint"], facts["evaluation"]
    saves, answers, updates, gathered = [], [0], 0, 0
    for done in range(1, iters + 1):
        gathered += 1
        if gathered == facts["accumulative_counts"] or (done == iters and not facts["deepspeed"]):
            updates, gathered = updates + 1, 0
        saved = every(saving["interval"], saving["save_begin"]) or (saving["save_last"] and done == iters)
        if saved:
            saves.append(done)
        if asking["every_n_iters"] is not None and (saved or every(asking["every_n_iters"])):
            answers.append(done)
    kept = saves[-saving["max_keep_ckpts"] :] if saving["max_keep_ckpts"] > 0 else saves
    return per_epoch, iters, updates, tuple(saves), (*answers, iters), len(kept)


@pytest.mark.parametrize("seed", range(60))
def test_as_the_loop_itself(seed):
    rng = random.Random(seed)
    facts = FACTS | {
        "batch_size": rng.choice([1, 2, 7, 16]),
        "drop_last": rng.random() < 0.5,
        "accumulative_counts": rng.choice([1, 2, 5, 16]),
        "deepspeed": rng.random() < 0.3,
        "max_epochs": rng.choice([1, 2, 3]),
        "max_iters": rng.choice([None, None, 1, 33]),
        "checkpoint": {
            "by_epoch": False,
            "interval": rng.choice([-1, 0, 1, 10, 1000]),
            "save_begin": rng.choice([0, 5, 10]),
            "save_last": rng.random() < 0.7,
            "max_keep_ckpts": rng.choice([-1, 1, 3]),
        },
        "evaluation": {"every_n_iters": rng.choice([None, -1, 1, 10]), "evaluation_inputs": ["你是谁"]},
    }
    samples, processes = rng.randint(1, 60), rng.choice([1, 1, 2, 4])
    found = schedule(facts, samples, processes)
    as_walked = walked(facts, samples, processes)
    assert (found.per_epoch, found.iters, found.updates, found.saves, found.answers, found.kept) == as_walked
    assert found.epochs == found.iters / found.per_epoch
    assert found.evaluations == len(found.answers)


def test_one_process_unless_told():
    assert schedule(FACTS, 150).per_epoch == 10


@pytest.mark.parametrize(
    ("hook", "saves"),
    [
        (None, ()),
        # Once, when the loop ends, whatever the interval: iterations are counted, and there is one epoch's end.
        ({"max_keep_ckpts": -1}, (30,)),
        ({"interval": 5}, (30,)),
        ({"save_last": False}, ()),
        ({"save_last": False, "interval": 1}, (30,)),
        ({"save_last": False, "interval": 2}, ()),
        ({"by_epoch": False}, (30,)),
        ({"by_epoch": False, "save_last": False}, ()),
        ({"by_epoch": False, "interval": 12}, (12, 24, 30)),
        ({"by_epoch": False, "interval": 15}, (15, 30)),
        ({"by_epoch": False, "interval": 0}, (30,)),
    ],
)
def test_what_a_checkpoint_hook_leaves_unsaid(hook, saves):
    found = plan(checkpoint=hook and {"type": "CheckpointHook"} | hook)
    assert (found.saves, found.kept) == (saves, len(saves))


def test_all_checkpoints_are_kept_unless_told():
    hook = {"by_epoch": False, "interval": 10}
    assert [plan(checkpoint=hook | {"max_keep_ckpts": most}).kept for most in (-1, 0, 1, 2, 9)] == [3, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("hook", "checkpoint", "answers"),
    [
        (None, None, ()),
        ({"every_n_iters": 10, "evaluation_inputs": []}, None, ()),
        ({"every_n_iters": 10}, None, ()),
        ({"evaluation_inputs": ["a"]}, None, (0, 30)),
        ({"every_n_iters": 0, "evaluation_inputs": ["a"]}, None, (0, 30)),
        ({"every_n_iters": 10, "evaluation_inputs": ["a"]}, None, (0, 10, 20, 30, 30)),
        # A checkpoint by iteration is an occasion, one by epoch is not.
        (
            {"every_n_iters": 20, "evaluation_inputs": ["a"]},
            {"by_epoch": False, "interval": 12},
            (0, 12, 20, 24, 30, 30),
        ),
        ({"every_n_iters": 20, "evaluation_inputs": ["a"]}, {"by_epoch": True}, (0, 20, 30)),
        ({"every_n_iters": 20, "evaluation_inputs": ["a"]}, {"interval": 1}, (0, 20, 30)),
    ],
)
def test_when_the_questions_are_asked(hook, checkpoint, answers):
    found = plan(evaluation=hook, checkpoint=checkpoint)
    assert (found.answers, found.evaluations) == (answers, len(answers))


@pytest.mark.parametrize(
    ("scheduler", "ramp"),
    [
        # Epochs become iterations; without an end it has none; a warmup needs two iterations.
        (WARM, (0, 3, 2)),
        (WARM | {"begin": 0.36, "end": 3}, (3, 30, 2)),
        ({"type": "CosineAnnealingLR", "begin": 0.36, "end": 3, "convert_to_iter_based": True}, (3, 30, 1)),
        (WARM | {"convert_to_iter_based": False, "end": 2}, (0, 2, 2)),
        (WARM | {"by_epoch": False, "begin": 1, "end": 7}, (1, 7, 2)),
        ({"type": "ConstantLR"}, (0, 1 << 60, 1)),
        # From a third, as mmengine has it where nothing is said, or from a tenth on it is none.
        ({"type": "LinearLR", "end": 2}, (0, 2, 1)),
        (WARM | {"start_factor": 0.1, "end": 1}, (0, 10, 1)),
        (WARM | {"start_factor": 0.099, "end": 1}, (0, 10, 2)),
    ],
)
def test_ramps(scheduler, ramp):
    found = plan(schedulers=[scheduler])
    assert found.ramps == (ramp,)
    assert found.warms is (ramp[2] == 2)


def test_no_warm_up_without_a_scheduler():
    assert not plan().warms
    assert plan(schedulers=[{"type": "ConstantLR"}, WARM]).warms
