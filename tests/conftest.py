"""Shared fixtures: a workspace per test, a model and a dataset in it, and runs of a fake trainer.

Processes and files are real; only the training is fake (`tests/fakes/trainer.py`).
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.chat.score import score
from core.config import config as configs
from core.config.config import Config
from core.data import dataset as datasets
from core.data.dataset import Dataset
from core.engine import commands, consent
from core.ground import garbage
from core.ground.files import write_json, write_text
from core.ground.progress import VARIABLE
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, wait_until
from core.models import model as models
from core.models import trust
from core.models.model import Model
from core.training import run as runs
from core.training.run import Run
from tests.fakes.chat import FakeWorker
from tests.fakes.model import write_model, write_safetensors
from tests.kept import Kept
from tests.schedule import Schedule, place

# Long enough for a slow and busy machine; when everything works, nothing waits this long.
PATIENCE = float(os.environ.get("TESTS_PATIENCE", 120))
# That of most accounts; opening a workspace changes it.
UMASK = 0o022
# What the program handles.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests in starting order, the same for all workers; without workers, pytest goes file by file."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place(item.nodeid))


def pytest_configure() -> None:
    """Collection imports everything and makes no garbage."""
    garbage.wait()


def pytest_collection_finish() -> None:
    """Exempt everything imported and collected from garbage collection: it lives to the end."""
    garbage.resume()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    """Return how `pytest -n` distributes the tests."""
    return Schedule(config, log)


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Each test begins in the same process, whichever tests came before: its variables, directory, umask and signals."""
    variables, place, signals = os.environ.copy(), os.getcwd(), {one: signal.getsignal(one) for one in SIGNALS}
    mask = os.umask(UMASK)
    yield
    os.umask(mask)
    os.chdir(place)
    for one, handler in signals.items():
        signal.signal(one, handler)
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty workspace, also used by processes started from here. Whatever still runs in it at the end is stopped."""
    root = tmp_path / "workspace"
    monkeypatch.setenv("XTUNER_STUDIO_HOME", str(root))
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "zh")
    # The same configs on a machine with a GPU.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in (VARIABLE, "XTUNER_STUDIO_STOP", "XTUNER_STUDIO_FAKE_TRAINER"):
        monkeypatch.delenv(name, raising=False)
    yield Workspace.open(root)
    stop_jobs(tmp_path)


def stop_jobs(directory: Path) -> None:
    """Stop every job below `directory`, all at once."""
    # Unlike rglob, walk goes on if what a job takes away is gone by the time it is looked into.
    jobs = [Job(Path(place)) for place, _, files in os.walk(directory) if "job.json" in files]
    live = [job for job in jobs if job.status().live]
    for job in live:
        job.ask_to_stop(discard=True)
    for job in live:
        ended(job)


def ended(job: Job) -> Status:
    """Wait for a job and return how it ended; polls more often than `Job.wait`."""
    wait_until(lambda: not job.status().live, PATIENCE)
    return job.status()


def read_by_us() -> int:
    """Return how many bytes this thread has read from files so far; unlike time, it depends on no machine."""
    facts = dict(line.split(": ") for line in Path("/proc/thread-self/io").read_text().splitlines())
    return int(facts["rchar"])


@pytest.fixture
def small_model(workspace: Workspace) -> Model:
    """A model named demo: a few kilobytes that pass for a complete demo model."""
    write_model(workspace.model("demo"), demo=True)
    return models.find(workspace, "demo")


@pytest.fixture(scope="session")
def made_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset below, created once."""
    return datasets.make_assistant(Workspace.open(tmp_path_factory.mktemp("made")), "小明")


@pytest.fixture
def dataset(workspace: Workspace, made_dataset: Dataset) -> Dataset:
    """The balanced dataset of 小明's assistant."""
    shutil.copytree(made_dataset.path, workspace.dataset(made_dataset.name))
    return datasets.find(workspace, made_dataset.name)


@pytest.fixture(scope="session")
def made_configs() -> dict[str, dict[str, str]]:
    """The files of the config below, created once: editing a preset takes half a second."""
    return {}


@pytest.fixture
def config(
    workspace: Workspace, small_model: Model, dataset: Dataset, made_configs: dict[str, dict[str, str]]
) -> Config:
    """The config `fast` for both, named assistant-fast."""
    if known := made_configs.get("fast"):
        for name, text in known.items():
            write_text(workspace.config("assistant-fast") / name, text.replace("WORKSPACE", str(workspace.root)))
        consent.agree(workspace, configs.find(workspace, "assistant-fast").text())
        return configs.find(workspace, "assistant-fast")
    made = configs.make(workspace, model=small_model.name, dataset=dataset.name, recipe="fast")
    made_configs["fast"] = {
        path.name: path.read_text(encoding="utf-8").replace(str(workspace.root), "WORKSPACE")
        for path in made.path.iterdir()
    }
    return made


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs use `tests/fakes/trainer.py`; call it to choose its mode: `fake_engine("slow", iters=50)`.

    Each as one process: torchrun would wait for other machines, and fail some seconds later, without any of ours.
    """
    monkeypatch.setattr(commands, "ENTRY", "tests.fakes.trainer")
    monkeypatch.setattr(commands, "LAUNCHER", "tests.fakes.launcher")

    def choose(mode: str = "ok", **options: object) -> None:
        monkeypatch.setenv("XTUNER_STUDIO_FAKE_TRAINER", mode)
        for name, value in options.items():
            monkeypatch.setenv(f"XTUNER_STUDIO_FAKE_TRAINER_{name.upper()}", str(value))

    return choose


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Copies of workspaces with the runs below."""
    return Kept(tmp_path_factory.mktemp("kept"))


def ended_run(workspace: Workspace, config: Config, status: Status) -> None:
    """Train a config and wait until no process of it is left that could still write."""
    job = runs.start(workspace, config.name).job
    assert ended(job) is status, job.log_tail()
    assert wait_until(lambda: not job.pids["supervisor"].alive(), PATIENCE)


@pytest.fixture
def finished_run(workspace: Workspace, config: Config, fake_engine: Callable[..., None], made_runs: Kept) -> Run:
    """A run that trained to its end: 12 iterations, checkpoints and evaluations at 4, 8 and 12."""
    fake_engine("ok")
    made_runs.bring(workspace, "a finished run", lambda: ended_run(workspace, config, Status.FINISHED))
    return runs.find(workspace, "latest")


@pytest.fixture
def running_run(workspace: Workspace, config: Config, fake_engine: Callable[..., None]) -> Run:
    """A run that is training, for a minute unless stopped, and has reported its first losses."""
    fake_engine("slow")
    run = runs.start(workspace, config.name)
    assert wait_until(lambda: len(run.metrics().read()) >= 2, PATIENCE), run.job.log_tail()
    return run


@pytest.fixture
def failed_run(workspace: Workspace, config: Config, fake_engine: Callable[..., None], made_runs: Kept) -> Run:
    """A run that ran out of GPU memory after 6 iterations, with a checkpoint at 4."""
    fake_engine("oom")
    made_runs.bring(workspace, "a failed run", lambda: ended_run(workspace, config, Status.FAILED))
    return runs.find(workspace, "latest")


def of_model(run: Run, **facts: object) -> Run:
    """Return the run as if it had used another model."""
    return replace(run, facts=replace(run.facts, model=replace(run.facts.model, **facts)))


@pytest.fixture
def exported_run(workspace: Workspace, finished_run: Run, made_runs: Kept) -> Run:
    """The finished run with everything that follows: adapter, merged model, verification, scores."""
    made_runs.bring(workspace, "an exported run", lambda: export(finished_run))
    return finished_run


def export(run: Run) -> None:
    """Write the files that an export and a score of `run` leave."""
    made = time.time()
    run.adapter.mkdir()
    write_safetensors(run.adapter / "adapter_model.safetensors", {"base_model.model.output.lora_A.weight": [4, 16]})
    write_json(run.adapter / "adapter_config.json", {"peft_type": "LORA", "r": 4, "lora_alpha": 8})
    checkpoint = run.checkpoint().path
    write_json(
        run.adapter / "export.json",
        {"checkpoint": str(checkpoint), "base": str(run.model_path), "prompt": True, "made": made - 3},
    )
    shutil.copytree(run.model_path, run.merged, ignore=shutil.ignore_patterns("demo_model.json"))
    write_json(
        run.merged / "export.json",
        {"base": str(run.model_path), "adapter": str(run.adapter), "prompt": True, "made": made - 2},
    )
    write_json(run.path / "export" / "convert.json", {"seconds": 1.2, "made": made - 2.9})
    write_json(run.path / "export" / "merge.json", {"seconds": 0.8, "made": made - 1.9})
    write_json(
        run.path / "export" / "verify.json",
        {
            "max_abs_logit_diff": 2.5e-6,
            "tolerance": 1e-3,
            "same_tokens": True,
            "ok": True,
            "dtype": "torch.float32",
            "prompts": 4,
            "answers": [{"adapter": "我是小明的小助手", "merged": "我是小明的小助手"}],
            "seconds": 2.0,
            "made": made - 1,
        },
    )
    score(run, FakeWorker(run.nickname))
    assert json.loads((run.path / "scores.json").read_text(encoding="utf-8"))["identity"]["tuned"] == 1


@pytest.fixture
def owners(workspace: Workspace, exported_run: Run) -> Path:
    """The exported run's model as somebody else's, linked and with trusted code; returns the owner's directory."""
    path = exported_run.model_path
    theirs = workspace.root.parent / "shared" / "internlm2"
    theirs.parent.mkdir()
    path.rename(theirs)
    models.link(workspace, theirs, path.name)
    trust.agree(workspace, path)
    return theirs


def swap_code(owners: Path) -> None:
    """Replace the code, as its owner may at any time."""
    for file in owners.glob("*.py"):
        file.write_text("raise SystemExit('not what was agreed to')\n")
