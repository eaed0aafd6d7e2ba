from core.jobs.outputs import missing, named


def test_names_remain_true_after_a_move(tmp_path):
    job, elsewhere = tmp_path / "then/runs/1/jobs/export-1", tmp_path / "elsewhere"
    made = tmp_path / "then/runs/1/adapter/weights"
    made.parent.mkdir(parents=True)
    job.mkdir(parents=True)
    names = named(job.parent, [made, elsewhere])
    assert names == ["adapter/weights", str(elsewhere)]
    assert missing(job, names) == names
    made.touch()
    elsewhere.touch()
    (tmp_path / "then").rename(tmp_path / "now")
    job = tmp_path / "now/runs/1/jobs/export-1"
    assert missing(job, names) == []
    # As earlier versions stored it.
    assert missing(job, [str(made)]) == []
    (tmp_path / "now/runs/1/adapter/weights").unlink()
    assert missing(job, [names[0], str(made)]) == ["adapter/weights", str(made)]
