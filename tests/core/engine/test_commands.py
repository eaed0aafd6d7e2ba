"""Exactly which argument list is started; and the equivalent single line for the user to copy."""

import shlex
import sys
from pathlib import Path

import pytest

from core.engine.cluster import Cluster
from core.engine.commands import (
    as_typed,
    convert_as_typed,
    engine_command,
    engine_environment,
    merge_as_typed,
    module_command,
    start_as_typed,
    train_command,
)
from core.ground.workspace import PROJECT, Workspace

WORKSPACE = Workspace(Path("/w"))
CONFIG, WORK = Path("/a b/config 'x'.py"), Path("/a b/work;dir")


def test_train_in_one_process():
    assert train_command(WORKSPACE, CONFIG, WORK, cluster=Cluster()) == [
        sys.executable,
        "-m",
        "core.engine.workers.entry",
        "/a b/config 'x'.py",
        "--work-dir",
        "/a b/work;dir",
    ]


def test_deepspeed_in_one_process_is_started_by_torchrun_too():
    """On its own, DeepSpeed requires mpi4py: `No module named 'mpi4py'`."""
    command = train_command(WORKSPACE, CONFIG, WORK, cluster=Cluster(), deepspeed="deepspeed_zero3")
    assert command[2:8] == [
        "core.engine.workers.launcher",
        "--standalone",
        "--local_addr=127.0.0.1",
        "--nproc_per_node=1",
        "-m",
        "core.engine.workers.entry",
    ]
    assert command[-2:] == ["--launcher", "pytorch"]
    assert command[command.index("--deepspeed") + 1] == "deepspeed_zero3"


def test_train_with_everything():
    cluster = Cluster(nproc=2, nnodes=3, node_rank=1, addr="10.0.0.1", port=12345)
    command = train_command(
        WORKSPACE, CONFIG, WORK, cluster=cluster, deepspeed="deepspeed_zero2", resume=Path("/x/iter_4.pth")
    )
    assert command == [
        sys.executable,
        "-m",
        "core.engine.workers.launcher",
        "--nproc_per_node=2",
        "--nnodes=3",
        "--node_rank=1",
        "--master_addr=10.0.0.1",
        "--master_port=12345",
        "-m",
        "core.engine.workers.entry",
        "/a b/config 'x'.py",
        "--work-dir",
        "/a b/work;dir",
        "--deepspeed",
        "deepspeed_zero2",
        "--resume",
        "/x/iter_4.pth",
        "--launcher",
        "pytorch",
    ]


@pytest.mark.parametrize(
    ("cluster", "distributed"), [(Cluster(), False), (Cluster(nproc=2), True), (Cluster(nnodes=2), True)]
)
def test_distributed(cluster, distributed):
    assert cluster.distributed is distributed
    assert ("core.engine.workers.launcher" in train_command(WORKSPACE, CONFIG, WORK, cluster=cluster)) is distributed


def test_every_word_is_text():
    words = [sys.executable, "-m", "m", "a", "/b"]
    assert module_command("m", "a", Path("/b")) == engine_command(WORKSPACE, "m", "a", Path("/b")) == words


def test_as_typed_is_xtuner_train():
    line = as_typed(CONFIG, WORK, cluster=Cluster(), deepspeed=None, resume=None)
    assert shlex.split(line) == ["xtuner", "train", str(CONFIG), "--work-dir", str(WORK)]
    assert "\n" not in line


def test_as_typed_on_several_machines():
    cluster = Cluster(nproc=2, nnodes=2, node_rank=1, addr="10.0.0.1", port=12345)
    line = as_typed(Path("c.py"), Path("w"), cluster=cluster, deepspeed="deepspeed_zero2", resume=Path("i.pth"))
    assert line == (
        "NPROC_PER_NODE=2 NNODES=2 NODE_RANK=1 ADDR=10.0.0.1 PORT=12345 "
        "xtuner train c.py --work-dir w --deepspeed deepspeed_zero2 --resume i.pth"
    )
    one_machine = as_typed(Path("c.py"), Path("w"), cluster=Cluster(nproc=2), deepspeed=None, resume=None)
    assert one_machine == "NPROC_PER_NODE=2 xtuner train c.py --work-dir w"


def test_as_typed_quotes_a_path_with_an_equals_sign():
    line = as_typed(Path("/a=b c/x.py"), Path("w"), cluster=Cluster(), deepspeed=None, resume=None)
    assert shlex.split(line) == ["xtuner", "train", "/a=b c/x.py", "--work-dir", "w"]


def test_convert_and_merge_as_typed():
    assert convert_as_typed(Path("c.py"), Path("iter 4.pth"), Path("hf")) == (
        "xtuner convert pth_to_hf c.py 'iter 4.pth' hf --fp32"
    )
    assert merge_as_typed(Path("base"), Path("hf"), Path("merged")) == (
        "xtuner convert merge base hf merged --max-shard-size 2GB --safe-serialization"
    )


def test_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    environment = engine_environment(Workspace(tmp_path))
    assert environment["PYTHONPATH"] == f"{PROJECT}:/mine"
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["HF_DATASETS_TRUST_REMOTE_CODE"] == "0"
    assert environment["HF_HOME"].startswith(str(tmp_path))
    assert environment["MKL_SERVICE_FORCE_INTEL"] == "1"
    assert environment["MKL_THREADING_LAYER"] == "GNU"
    assert all(isinstance(value, str) for value in environment.values())


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert engine_environment(Workspace(tmp_path))["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert engine_environment(Workspace(tmp_path))["OMP_WAIT_POLICY"] == "ACTIVE"


def test_slurm_starts_a_task_a_process(tmp_path):
    cluster = Cluster(nproc=8, nnodes=2, launcher="slurm", partition="llm")
    command = train_command(Workspace(tmp_path), CONFIG, WORK, cluster=cluster, deepspeed="deepspeed_zero3")
    assert command[:6] == [
        "srun",
        "--partition=llm",
        "--job-name=xtuner",
        "--nodes=2",
        "--ntasks-per-node=8",
        "--gres=gpu:8",
    ]
    assert command[6:10] == ["--kill-on-bad-exit=1", sys.executable, "-m", "core.engine.workers.entry"]
    assert command[-4:] == ["--deepspeed", "deepspeed_zero3", "--launcher", "slurm"]
    without = train_command(Workspace(tmp_path), CONFIG, WORK, cluster=Cluster(launcher="slurm"), gpu=False)
    assert not any(word.startswith(("--gres", "--partition")) for word in without)
    line = as_typed(Path("c.py"), Path("w"), cluster=cluster, deepspeed=None, resume=None)
    assert line.startswith("srun --partition=llm ")
    assert line.endswith("xtuner train c.py --work-dir w --launcher slurm")


def test_each_machine_has_its_command():
    cluster = Cluster(nproc=2, nnodes=2, node_rank=1, addr="10.0.0.1", port=12345)
    assert start_as_typed("my-config", cluster, "deepspeed_zero2") == [
        f"python -m core train start my-config --nproc 2 --nnodes 2 --node-rank {rank} --addr 10.0.0.1 --port 12345 "
        "--deepspeed deepspeed_zero2"
        for rank in (0, 1)
    ]
