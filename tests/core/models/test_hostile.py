"""Malicious model directories: each is a model with its own problems, reported quickly, without affecting others."""

import json
import time

import pytest

from core.ground.errors import BadInput
from core.models import family, fingerprint, place, shape, trust, weights
from core.models import model as models
from tests.fakes.hostile import ZOO, hostile_model
from tests.fakes.model import write_model
from tests.fakes.users import needs_root, stranger

# Of the CPU, for this thread; reading from a pipe would wait forever.
SECONDS = 20.0


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Computed once for all models."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("kind", ZOO)
def test_a_look_at_it_comes_to_an_end(workspace, tmp_path, cache, kind):
    path = hostile_model(tmp_path / "bad", kind)
    began = time.thread_time()
    bad = models.look(path, cache=cache)
    assert all(len(problem.message.zh) < 400 for problem in bad.problems)
    # Other functions that pages call.
    for ask in (
        lambda: trust.code(workspace, bad.path),
        lambda: family.size_of(bad),
        lambda: family.label_of(bad, next(iter(family.FAMILIES.values()))),
        lambda: shape.shape(bad.path),
        lambda: shape.typical(bad.parameters or 1),
        lambda: shape.layers(bad.path),
        lambda: shape.knows_sdpa(bad.path),
        lambda: bad.to_json(),
    ):
        ask()
    assert time.thread_time() - began < SECONDS


def test_each_stands_for_itself(workspace, monkeypatch):
    """Also if inspecting one fails in an unforeseen way."""
    for name in ("bad", "good"):
        write_model(workspace.model(name))
    examine = models.examine
    monkeypatch.setattr(models, "examine", lambda path: 1 // 0 if path.name == "bad" else examine(path))
    bad, good = models.every(workspace)
    assert (good.whole, good.problems) == (True, [])
    assert (bad.whole, bad.trainable) == (False, False)
    assert "ZeroDivisionError" in bad.problems[0].message.en


def test_what_is_wrong_is_told(tmp_path):
    wrong = [kind for kind in ZOO if kind.startswith(("sizes: t", "sizes: neg", "header", "shape", "offsets", "index"))]
    told = {kind: weights.examine(hostile_model(tmp_path / str(n), kind))[2] for n, kind in enumerate(wrong)}
    assert [kind for kind, problems in told.items() if not problems] == []


def test_what_is_named_at_length_is_shown_in_short(tmp_path):
    path, name = write_model(tmp_path / "model"), "x" * 10**6
    (path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {name: "model.safetensors", "y": f"{name}.safetensors"}})
    )
    problems = weights.examine(path)[2]
    assert len(problems) == 2
    assert all(len(problem.where + problem.message.en) < 600 for problem in problems)


@pytest.mark.parametrize(
    "kind", ["a pipe: adapter_config.json", "no end: adapter_config.json", "deep: adapter_config.json"]
)
def test_asking_whether_a_place_holds_a_model_comes_to_an_end(tmp_path, kind):
    bad = hostile_model(tmp_path / "bad", kind)
    with pytest.raises(BadInput):
        place.refuse_no_model(bad)
    (bad / "config.json").unlink()
    with pytest.raises(BadInput):
        place.refuse_no_model(bad)


def test_a_fingerprint_waits_for_no_pipe(tmp_path):
    directory = hostile_model(tmp_path / "bad", "a pipe: README.md")
    whole = fingerprint.fingerprint(directory)
    (directory / "x.safetensors").symlink_to("x.safetensors")
    assert fingerprint.fingerprint(directory) == whole


@needs_root
def test_a_directory_that_may_not_be_entered(tmp_path):
    """Root may enter everything, so another user inspects it."""
    for parent in (tmp_path, *tmp_path.parents[:-1]):
        parent.chmod(parent.stat().st_mode | 0o055)
    write_model(tmp_path / "closed")
    (tmp_path / "closed").chmod(0o700)

    def look() -> tuple[list[str], bool, bool]:
        model = models.look(tmp_path / "closed")
        return [problem.where for problem in model.problems], model.demo, model.trainable

    where, demo, trainable = stranger(look)
    assert where
    assert (demo, trainable) == (False, False)
