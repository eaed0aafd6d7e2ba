"""The training hook as far as it needs no engine: progress, space for checkpoints, stopping before the start."""

import errno
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from core.engine.workers import training_hook as hook
from core.ground.files import write_json
from core.ground.progress import FILE, VARIABLE
from core.ground.workspace import PROJECT
from core.jobs.job import wait_until
from tests.conftest import PATIENCE


@pytest.fixture
def progress(tmp_path, monkeypatch):
    path = tmp_path / FILE
    monkeypatch.setenv(VARIABLE, str(path))
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_progress_is_replaced_whole(progress):
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    hook.tell(note="import", done=0.0)
    told = json.loads(progress.read_text())
    assert (told["note"], told["done"]) == ("import", 0.0)
    assert began <= told["since_boot"] <= time.clock_gettime(time.CLOCK_BOOTTIME)
    hook.tell(note="train")
    assert "done" not in json.loads(progress.read_text())
    assert [path.name for path in progress.parent.iterdir()] == ["progress.json"]


@pytest.mark.parametrize(
    ("environment", "tells"),
    [
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "0", "RANK": "4"}, True),
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "1", "RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "1", "LOCAL_RANK": "0"}, False),
        # torchrun within a Slurm allocation.
        ({"SLURM_PROCID": "0", "TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "1"}, False),
    ],
)
def test_one_process_of_a_machine_tells(progress, monkeypatch, environment, tells):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    hook.tell(note="train")
    assert progress.exists() is tells


def test_a_progress_that_cannot_be_written_stops_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing" / FILE))
    hook.tell(note="train")


def parameter(count, trained=True, **more):
    return SimpleNamespace(numel=lambda: count, requires_grad=trained, **more)


def test_room_for_a_checkpoint(tmp_path):
    parameters = [parameter(1000), parameter(10**9, trained=False), parameter(1, ds_numel=500)]
    runner = SimpleNamespace(work_dir=str(tmp_path), model=SimpleNamespace(parameters=lambda: parameters))
    assert hook.checkpoint_bytes(runner) == 12 * 1500
    (tmp_path / "iter_4.pth").write_bytes(bytes(700))
    (tmp_path / "iter_8.pth").mkdir()
    for name in ("a.pt", "b.pt"):
        (tmp_path / "iter_8.pth" / name).write_bytes(bytes(600))
    assert hook.checkpoint_bytes(runner) == 1200


def test_what_a_full_disk_says(tmp_path, monkeypatch):
    assert hook.is_full(OSError(errno.ENOSPC, "x"), str(tmp_path))
    assert not hook.is_full(OSError(errno.EACCES, "x"), str(tmp_path))
    written = RuntimeError(
        "[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file data/88"
    )
    assert not hook.is_full(written, str(tmp_path))
    monkeypatch.setattr(hook.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert hook.is_full(written, str(tmp_path))
    error = hook.no_space(str(tmp_path), 5 * 2**20)
    assert error.errno == errno.ENOSPC
    assert "No space left on device: 5 MB needed" in str(error)


LIMITED = """
from core.ground import garbage
garbage.wait()
import json, os, sys, torch
from torch.utils.data import DataLoader
from mmengine.model import BaseModel
from mmengine.runner import Runner
from core.engine.workers import training_hook
training_hook.watch_runners()
training_hook.shutil.disk_usage = lambda _: type("Usage", (), {"free": 10**9})
# Without room there is enough for the first alone.
training_hook.checkpoint_bytes = lambda runner: 1 if room or runner.iter < 2 else 10**12
class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.one = torch.nn.Linear(1, 1)
    def forward(self, x, mode="loss"):
        return {"loss": self.one(x).sum()}
save = Runner.save_checkpoint
def seen(self, *arguments, **options):
    there.append(sorted(name for name in os.listdir(work_dir) if name.startswith("iter_")))
    return save(self, *arguments, **options)
Runner.save_checkpoint = seen
found = {}
for case, (room, limit) in {"all": (True, -1), "room": (True, 1), "no room": (False, 1)}.items():
    work_dir, there = os.path.join(sys.argv[1], case), []
    runner = Runner(
        Net(), work_dir, DataLoader([{"x": torch.ones(1)}] * 4), optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(by_epoch=False, max_iters=6), log_level="ERROR", experiment_name=case,
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2, max_keep_ckpts=limit)),
    )
    runner.train()
    found[case] = [*there, sorted(name for name in os.listdir(work_dir) if name.startswith("iter_"))]
print(json.dumps(found))
"""


def test_the_only_checkpoint_is_deleted_after_the_next_is_written_where_there_is_room(tmp_path):
    """The files before each save and at the end: without a limit, with one, and with one where there is no room."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two, four, six = (f"iter_{at}.pth" for at in (2, 4, 6))
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "all": [[], [two], [two, four], [two, four, six]],
        "room": [[], [two], [four], [six]],
        "no room": [[], [], [], [six]],
    }


def test_what_was_begun_is_taken_away(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory" / "x").mkdir(parents=True)
    for name in ("file", "directory", "missing"):
        hook.remove(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_leaves_at_once_before_anything_is_learned(tmp_path):
    """Even while the main thread is in the middle of an import."""
    stop = tmp_path / "stop.json"
    source = (
        "import time\nfrom core.engine.workers.training_hook import departure\ndeparture.start()\n"
        "print('here', flush=True)\ntime.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=PROJECT,
        env={**os.environ, "XTUNER_STUDIO_STOP": str(stop)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "here\n"
    stop.touch()
    assert wait_until(lambda: process.poll() is not None, PATIENCE)
    assert process.returncode == 0
    assert "before the first iteration" in process.communicate()[0]


def test_without_time_to_save_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(hook, "STOP", str(tmp_path / "stop.json"))
    assert not hook.stop_asked()
    for wish, asked in (({"grace": 20.0}, True), ({"grace": 0.0, "discard": True}, False), ({}, False)):
        write_json(tmp_path / "stop.json", wish)
        assert hook.stop_asked() is asked


class Distributed:
    """torch's own, with one other rank beside this one."""

    def __init__(self, other, backend="gloo"):
        self.other, self.backend, self.device = other, backend, None
        self.ReduceOp = SimpleNamespace(MAX=max)

    def is_initialized(self):
        return self.other is not None

    def get_backend(self):
        return self.backend

    def tensor(self, value, device):
        self.device = device
        return Flag(value)

    def all_reduce(self, flag, op):
        flag.value = op(flag.value, self.other)


class Flag:
    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


def beside(monkeypatch, other, backend="gloo"):
    distributed = Distributed(other, backend)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(distributed=distributed, tensor=distributed.tensor))
    return distributed


@pytest.mark.parametrize(
    ("here", "other", "found"),
    [(0, None, 0), (True, None, 1), (0, 0, 0), (0, 2, 2), (1, 2, 2), (2, 1, 2), (-5, -3, -3)],
)
def test_the_greatest_of_all_ranks(monkeypatch, here, other, found):
    beside(monkeypatch, other)
    assert hook.any_rank(here) == found


@pytest.mark.parametrize(("backend", "device"), [("nccl", "cuda"), ("gloo", "cpu")])
def test_ranks_agree_where_their_backend_can(monkeypatch, backend, device):
    distributed = beside(monkeypatch, 1, backend)
    hook.any_rank(0)
    assert distributed.device == device


class Runner:
    """A training as far as our hook looks at it."""

    rank, max_iters, work_dir = 0, 100, ""

    def __init__(self, work_dir, at=0):
        self.work_dir, self.iter, self.hooks, self.said = str(work_dir), at, [], []
        self.train_loop = SimpleNamespace(stop_training=False)
        self.logger = SimpleNamespace(info=self.said.append)
        self.model = SimpleNamespace(parameters=lambda: [parameter(10)])

    def register_hook(self, own):
        self.own = own

    def train(self):
        return "trained"


class CheckpointHook:
    """Saves each ten iterations, all of them."""

    interval, max_keep_ckpts, keep_ckpt_ids = 10, -1, ()

    def _save_checkpoint(self, runner):
        runner.saved = runner.iter + 1

    def every_n_train_iters(self, runner, interval):
        return (runner.iter + 1) % interval == 0


class Batches(list):
    dataset = None


class EvaluateChatHook:
    """Asks once more at the end."""


@pytest.fixture
def trainer(monkeypatch, tmp_path):
    """A runner that trains, with our hook, at its first iteration."""
    runners = [type("Runner", (Runner,), {}), type("FlexibleRunner", (Runner,), {})]
    hooks = SimpleNamespace(CheckpointHook=type("CheckpointHook", (CheckpointHook,), {}), Hook=object)
    monkeypatch.setitem(sys.modules, "mmengine.hooks", hooks)
    monkeypatch.setitem(sys.modules, "mmengine.runner", SimpleNamespace(Runner=runners[0], FlexibleRunner=runners[1]))
    for name in ("check_warmup", "tell"):
        monkeypatch.setattr(hook, name, lambda *_, **__: None)
    monkeypatch.setattr(hook, "updates", lambda *_: {})
    monkeypatch.setattr(hook, "cuda_memory", lambda: None)
    monkeypatch.setattr(hook, "stop_asked", lambda: False)
    beside(monkeypatch, 0)
    hook.watch_runners()
    runner = runners[0](tmp_path)
    runner.train_dataloader = Batches(range(10))
    runner.hooks = runner._hooks = [hooks.CheckpointHook(), EvaluateChatHook()]
    assert runner.train() == "trained"
    return runner


def wishes(monkeypatch, wish):
    """What another rank answers when it is asked whether to go on; it has room for whatever is saved."""
    answers = [wish]
    monkeypatch.setattr(hook, "any_rank", lambda here: max(here, answers.pop() if answers else 0))


@pytest.mark.parametrize("at", [4, 9])
def test_a_stop_that_another_rank_was_asked_for(trainer, monkeypatch, at):
    """This one was not asked, and must not go on alone: it would wait for the other for ever."""
    trainer.iter = at
    trainer.own.after_train_iter(trainer, 0)
    assert not trainer.train_loop.stop_training
    wishes(monkeypatch, hook.ASKED)
    trainer.own.after_train_iter(trainer, 0)
    assert trainer.train_loop.stop_training
    # At the tenth the hook has saved already.
    assert getattr(trainer, "saved", None) == (5 if at == 4 else None)
    assert [type(one).__name__ for one in trainer._hooks] == ["CheckpointHook"]
    assert "iteration" in trainer.said[0]


def test_another_rank_that_has_learned_enough_ends_it_too(trainer, monkeypatch):
    wishes(monkeypatch, hook.LEARNED)
    trainer.own.after_train_iter(trainer, 0)
    assert trainer.train_loop.stop_training
    assert len(trainer._hooks) == 2, "the answers after training are asked for"


def test_after_the_last_iteration_nobody_is_asked(trainer, monkeypatch):
    wishes(monkeypatch, hook.ASKED)
    trainer.iter = trainer.max_iters - 1
    trainer.own.after_train_iter(trainer, 0)
    assert not trainer.train_loop.stop_training


def test_ranks_that_begin_at_different_iterations(trainer, monkeypatch):
    monkeypatch.setattr(hook, "departure", SimpleNamespace(begun=SimpleNamespace(set=lambda: None)))
    trainer.iter = 8
    # The other one says its iteration to the one question, and less than nothing to the other.
    for other in (8, 4, 12):
        answers = iter((-other, other))
        monkeypatch.setattr(hook, "any_rank", lambda here, answers=answers: max(here, next(answers)))
        if other == 8:
            trainer.own.before_train(trainer)
        else:
            with pytest.raises(RuntimeError, match=f"{min(8, other)} and {max(8, other)}"):
                trainer.own.before_train(trainer)


def test_a_checkpoint_for_which_another_machine_has_no_room(trainer, monkeypatch):
    monkeypatch.setattr(hook, "checkpoint_bytes", lambda _: 1)
    trainer.hooks[0]._save_checkpoint(trainer)
    assert trainer.saved == 1
    trainer.iter = 1
    beside(monkeypatch, 1)
    with pytest.raises(OSError, match="No space left"):
        trainer.hooks[0]._save_checkpoint(trainer)
    assert trainer.saved == 1
