"""Which files are mutated, and the tests that each one's mutants have to get past: in one place.

The files are those where a wrong line costs a user most and shows least. A file's tests are those that speak of it,
quick ones only: no browser, no real training. Where an idea has moved on into other files, these are named here too.
"""

from pathlib import Path

PROJECT = Path(__file__).parents[2]

CHOSEN: dict[str, tuple[str, ...]] = {
    # Which answers count, and which checkpoint is the best.
    "core/chat/score.py": ("tests/core/chat/test_score.py", "-k", "OfNoTraining"),
    # What they come to: the weight of each, from which the best follows, has moved there out of score.
    "core/chat/rates.py": ("tests/core/chat/test_rates.py",),
    # What a published report must not reveal.
    "core/report/mask.py": ("tests/core/report/test_mask.py",),
    # What becomes of a record of somebody else's file.
    "core/data/files/shapes.py": ("tests/core/data/files/test_shapes.py",),
    # Where most of it happens since shapes was divided: who asks, who answers, what is trained of it.
    "core/data/files/messages.py": ("tests/core/data/files/test_messages.py",),
    # Which checkpoint can be loaded.
    "core/training/checkpoint.py": ("tests/core/training/test_checkpoint.py",),
    # When something happens in a training: every figure of the forecast comes from it.
    "core/forecast/schedule.py": ("tests/core/forecast/test_schedule.py",),
    # The bytes of an exported model.
    "core/engine/workers/tensors.py": ("tests/core/engine/workers/test_tensors.py",),
    # Whether anything is left of a job that is over.
    "core/jobs/supervisor.py": ("tests/core/jobs/test_supervisor.py",),
    # Whose code is run.
    "core/models/trust.py": ("tests/core/models/test_trust.py", "-k", "not resumed and not made_of"),
}


def files_of_tests(file: str) -> set[str]:
    """The files of its tests, without what is said to pytest beside them."""
    return {argument.partition("::")[0] for argument in CHOSEN[file] if argument.startswith("tests/")}
