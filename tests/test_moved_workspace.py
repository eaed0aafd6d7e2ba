"""A workspace that was moved: what was finished is finished, and one click lets its configs train again."""

from core.chat import side
from core.config import config as configs
from core.config.check import check
from core.engine.failures.reasons import reason
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status
from core.models import model as models
from core.report import writeup
from core.training import run as runs
from tests.conftest import PATIENCE, ended


def test_everything_is_there_after_a_move(exported_run, workspace, tmp_path, monkeypatch):
    run = exported_run
    outputs = [run.adapter / "adapter_model.safetensors", run.merged / "config.json"]
    assert ended(Job.start(run.jobs, "export", ["true"], artefacts=outputs)) is Status.FINISHED
    model = run.model_path
    assert model == workspace.model("demo")

    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    monkeypatch.setenv("XTUNER_STUDIO_HOME", str(moved.root))
    run = runs.find(moved, run.id)
    assert run.state().status is Job(run.jobs / "export-1").status() is Status.FINISHED
    assert run.model_path == moved.model("demo") != model
    assert side.sides(moved, run)["tuned"].adapter == run.adapter

    config = configs.find(moved, "assistant-fast")
    problems = check(moved, config)
    assert [(problem.where, problem.fix) for problem in problems] == [
        ("model", {"model": "demo"}),
        ("dataset", {"dataset": "assistant"}),
    ]
    for problem in problems:
        config = configs.change(moved, config.name, problem.fix)
    assert check(moved, config) == []
    assert ended(runs.start(moved, config.name).job) is Status.FINISHED
    again = runs.find(moved, "latest")
    assert again.model_path == models.find(moved, "demo").path == run.model_path
    assert run.id in side.sides(moved, again)


def test_a_report_does_not_name_the_place_before_the_move(exported_run, workspace, tmp_path):
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    run = runs.find(moved, exported_run.id)
    assert writeup.start(moved, run, "zh").wait(PATIENCE) is Status.FINISHED
    for name in ("report.md", "config.py"):
        text = (run.path / "report" / name).read_text(encoding="utf-8")
        assert "WORKSPACE/" in text
        assert str(tmp_path) not in text


def test_a_file_that_was_lost_is_still_missed(exported_run, workspace, tmp_path):
    run = exported_run
    job = Job.start(run.jobs, "export", ["true"], artefacts=[run.merged / "config.json"])
    assert ended(job) is Status.FINISHED
    (run.merged / "config.json").unlink()
    workspace.root.rename(tmp_path / "moved")
    job = Job(tmp_path / "moved" / job.directory.relative_to(workspace.root))
    assert job.status() is Status.FAILED
    assert "merged/config.json" in reason(job).zh
