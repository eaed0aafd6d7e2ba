"""The next page for a run is the one for what it lacks."""

import shutil

import pytest

from core.report.ahead import next_page


def test_a_run_that_has_not_finished_is_trained_on(workspace, failed_run):
    assert next_page(workspace, failed_run) == "train"


def test_then_exported_scored_and_written_up(workspace, exported_run):
    assert next_page(workspace, exported_run) == "report"
    (exported_run.path / "scores.json").unlink()
    shutil.rmtree(exported_run.path / "scores")
    assert next_page(workspace, exported_run) == "chat"
    exported_run.facts.dataset.made.pop("nickname")
    assert next_page(workspace, exported_run) == "report", "there is nothing to score it by"
    shutil.rmtree(exported_run.merged)
    assert next_page(workspace, exported_run) == "export"


@pytest.mark.parametrize("gone", ["adapter", "merged"])
def test_half_an_export_is_none(workspace, exported_run, gone):
    shutil.rmtree(getattr(exported_run, gone))
    assert next_page(workspace, exported_run) == "export"
