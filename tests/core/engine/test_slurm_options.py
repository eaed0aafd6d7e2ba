"""What Slurm is asked for."""

import pytest

from core.engine.cluster import Cluster
from core.engine.slurm_options import sbatch_options, srun
from core.ground.errors import BadInput


def slurm(**more: object) -> Cluster:
    return Cluster(launcher="slurm", **more)


def test_a_batch_job_asks_once_and_its_step_takes_all_of_it():
    cluster = slurm(
        nproc=8, nnodes=2, partition="llm", batch=True, time="1-12", options="--account=lab --comment='a b'"
    )
    assert sbatch_options(cluster, "xtuner-小明", gpu=True) == [
        "--partition=llm", "--job-name=xtuner-小明", "--time=1-12", "--nodes=2", "--ntasks-per-node=8", "--gres=gpu:8",
        "--account=lab", "--comment=a b", "--signal=B:USR1@120",
    ]  # fmt: skip
    assert srun(cluster, gpu=True) == [
        "srun",
        "--nodes=2",
        "--ntasks-per-node=8",
        "--gres=gpu:8",
        "--kill-on-bad-exit=1",
    ]


@pytest.mark.parametrize(
    ("time", "warned"),
    [(None, True), ("9", False), ("10", True), ("9:59", False), ("0:09:59", False), ("0:10:00", True), ("0-1", True), ("1:0", False)],
)  # fmt: skip
def test_a_warning_that_comes_at_once_would_end_a_short_run(time, warned):
    assert ("--signal=B:USR1@120" in sbatch_options(slurm(batch=True, time=time), "x", gpu=False)) is warned


@pytest.mark.parametrize("time", ["", "2 hours", "-1", "1:2:3:4", "1;2", "90\n"])
def test_times_that_slurm_does_not_have(time):
    if time:
        with pytest.raises(BadInput, match="2:00:00"):
            slurm(time=time)


@pytest.mark.parametrize(
    "options",
    ["account=lab", "-A lab", "--mem=1 rm", "--comment='", "--comment=a\nb", "--mem", "--acc=lab", "--arr=1-3", "--array=1-2",
     "--wait", "--version", "--help", "--usage", "--clusters=x", "--export=NONE", "--output=/etc/passwd", "--wrap=x",
     "--job-name=x", "--signal=KILL@9", "--uid=0", "--no-such"],
)  # fmt: skip
def test_options_that_are_none_or_decide_what_is_run(options):
    with pytest.raises(BadInput, match="--account=lab") as refused:
        slurm(options=options)
    assert "cpus-per-task" in str(refused.value)


@pytest.mark.parametrize(
    ("option", "place"), [("--time=9", "--time"), ("--nodes=9", "--nnodes"), ("--ntasks=9", "--nproc"), ("--partition=x", "--partition")]
)  # fmt: skip
def test_what_has_its_own_field_is_set_there(option, place):
    with pytest.raises(BadInput, match=rf"its own field.*{place}"):
        slurm(options=option)


def test_options_that_take_part_in_what_is_asked_for():
    options = "--exclusive --nice --qos=high --mem-per-gpu=40G --nodelist=n[1-2] --mail-type=END"
    assert slurm(options=options).slurm_options == options.split()


@pytest.mark.parametrize("more", [{"batch": True}, {"time": "90"}, {"options": "--mem=1G"}])
def test_only_for_slurm(more):
    with pytest.raises(BadInput, match="--launcher slurm"):
        Cluster(**more)
