"""A warmup that is too short is found without measuring the data."""

import pytest

from core.config import config as configs
from core.engine.cluster import Cluster
from core.forecast.warmup import check_warmup
from core.ground.errors import BadInput
from core.training import run as runs


@pytest.fixture
def short(workspace, config, dataset):
    """282 rows in batches of 16 are 18 iterations: 126 in 7 epochs, with a warmup of 3."""
    assert dataset.rows == 282
    return configs.change(workspace, config.name, {"batch_size": 16, "max_epochs": 7, "warmup_ratio": 0.03})


@pytest.mark.parametrize(("processes", "word"), [(1, None), (2, "只有一次"), (8, "零")])
def test_several_processes_have_fewer_iterations(workspace, short, processes, word):
    found = check_warmup(workspace, short, processes)
    assert bool(found) is bool(word)
    for problem in found:
        assert (problem.severity, problem.where) == ("error", "warmup_ratio")
        assert word in problem.message.zh


@pytest.mark.parametrize("processes", [2, 3, 8, 64, 300])
def test_the_fix_mends_it(workspace, short, processes):
    (problem,) = check_warmup(workspace, short, processes)
    assert check_warmup(workspace, configs.change(workspace, short.name, problem.fix), processes) == []


def test_of_packed_rows_or_another_warmup_nothing_is_known(workspace, short):
    text = short.text()
    assert check_warmup(workspace, configs.change(workspace, short.name, {"pack_to_max_length": True}), 2) == []
    own = text.replace("type=LinearLR", "type=ConstantLR").replace(
        "import CosineAnnealingLR, LinearLR", "import ConstantLR, CosineAnnealingLR"
    )
    assert own != text
    assert check_warmup(workspace, configs.replace_text(workspace, short.name, own), 2) == []


def test_no_training_begins_with_it(workspace, short, fake_engine):
    fake_engine("ok")
    configs.change(workspace, short.name, {"warmup_ratio": 0.0})
    with pytest.raises(BadInput, match="warmup_ratio"):
        runs.start(workspace, short.name)
    with pytest.raises(BadInput, match="warmup_ratio"):
        runs.start(workspace, short.name, cluster=Cluster(nproc=2), deepspeed="deepspeed_zero2")
    assert runs.every(workspace) == []


def test_rows_that_are_not_ours_or_are_shared_otherwise_are_not_counted(workspace, short):
    text = short.text()
    for own in (
        text + "\nsequence_parallel_size = 4\n",
        text.replace("begin=0,", "begin=len('x') - 1,"),
        text.replace("data_files=dict(train=alpaca_en_path)", "name='default'"),
    ):
        assert own != text
        config = configs.replace_text(workspace, short.name, own)
        assert check_warmup(workspace, config, 2) == []
