"""The loss history is read incrementally as it grows, whatever is in it."""

import json

from core.training.metrics import Metrics, glance


def add(work_dir, stamp, *records, end="\n"):
    file = work_dir / stamp / "vis_data" / "scalars.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.write("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + end)


def point(at, loss=1.0):
    return {"lr": 2e-4, "loss": loss, "time": 0.1, "iter": at, "step": at}


def test_nothing_yet(tmp_path):
    assert Metrics(tmp_path / "work_dir").read() == []


def test_grows(tmp_path):
    metrics = Metrics(tmp_path)
    add(tmp_path, "20260101_000000", point(1), point(2))
    assert [p["iter"] for p in metrics.read()] == [1, 2]
    assert [p["iter"] for p in metrics.read()] == [1, 2]
    add(tmp_path, "20260101_000000", '{"loss": 1.5, "it', end="")
    assert len(metrics.read()) == 2
    add(tmp_path, "20260101_000000", 'er": 3}')
    assert metrics.read()[2] == {"loss": 1.5, "iter": 3}


def test_resume_goes_back_to_its_checkpoint(tmp_path):
    add(tmp_path, "20260101_000000", *(point(at, 1.0) for at in range(1, 8)))
    metrics = Metrics(tmp_path)
    assert len(metrics.read()) == 7
    add(tmp_path, "20260101_000100", *(point(at, 2.0) for at in range(5, 9)))
    for history in (metrics, Metrics(tmp_path)):
        points = history.read()
        assert [p["iter"] for p in points] == list(range(1, 9))
        assert [p["loss"] for p in points] == [1.0] * 4 + [2.0] * 4


def test_no_number_is_none(tmp_path):
    add(tmp_path, "a", '{"loss": NaN, "grad_norm": Infinity, "iter": 1}', '{"loss": -Infinity, "iter": 2}')
    assert Metrics(tmp_path).read() == [{"loss": None, "grad_norm": None, "iter": 1}, {"loss": None, "iter": 2}]


def test_garbage_is_passed_over(tmp_path):
    garbage = (
        "",
        "x",
        "[1]",
        "null",
        "5",
        '"loss"',
        '{"loss": 1}',
        '{"iter": 1}',
        "\0\0\0",
        '{"loss": 1, "iter": "x"}',
    )
    add(tmp_path, "a", point(1), *garbage, point(2))
    add(tmp_path, "b", point(2), *garbage)
    assert [p["iter"] for p in Metrics(tmp_path).read()] == [1, 2]


def test_a_glance_at_a_long_history(tmp_path):
    add(tmp_path, "20260101_000000", *(point(at, 1000.0 - at) for at in range(1, 900)))
    add(tmp_path, "20260101_000100", '{"loss": NaN, "iter": 500}', *(point(at, 500.0 - at) for at in range(501, 900)))
    found = glance(tmp_path)
    assert 20 <= len(found) <= 40
    assert found[0] == 999.0
    assert found == sorted(found, reverse=True)
    assert found[-1] == 500.0 - 899
    assert len(found) == len(set(found))


def test_a_glance_at_little(tmp_path):
    assert glance(tmp_path) == []
    add(tmp_path, "a", point(1, 3.0))
    assert glance(tmp_path) == [3.0]
    add(tmp_path, "b", "garbage", end="")
    assert glance(tmp_path) == [3.0]
