"""GGUF files of a run: created by the real worker from a tiny merged model, and valid for that model only."""

import sys

import pytest
from gguf import GGUFReader

from core.export import export
from core.export.export import exported
from core.export.gguf import conversion
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import read_json, write_json
from core.jobs.job import Job, Status, wait_until
from core.models.packaged.weights import field
from tests.conftest import PATIENCE, ended, swap_code
from tests.core.export.gguf import tiny


@pytest.fixture(autouse=True)
def _in_english(workspace, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "en")


@pytest.fixture
def run(exported_run):
    """Its merged model is a tiny Llama, verified with the tokens of one answer."""
    tiny.write_model(exported_run.merged)
    file = exported_run.path / "export" / "verify.json"
    write_json(file, {**read_json(file), "tokens": [{"prompt": [1, 2], "answer": [7, 3]}]})
    write_json(exported_run.path / "export" / "plan.json", {"prompts": ["a question"]})
    return exported_run


def test_both_files_with_all_that_lies_beside_them(workspace, run):
    files = conversion.finish(run, conversion.start(workspace, run, ["q8_0", "f16"]))
    assert [made.kind for made in files] == ["f16", "q8_0"]
    for made in files:
        assert made.path == run.path / "gguf" / made.kind / f"{run.id}-{made.kind}.gguf"
        assert made.bytes == made.path.stat().st_size
        assert made.verified is None
        reader = GGUFReader(made.path)
        assert field(reader, "general.name") == run.id
        assert field(reader, "tokenizer.chat_template") == tiny.TEMPLATE
        assert field(reader, "tokenizer.ggml.eos_token_id") == tiny.STOPS[0]
        assert field(reader, "tokenizer.ggml.add_bos_token") is False
        written = made.path.with_name("Modelfile").read_text(encoding="utf-8")
        assert written.startswith(f"FROM ./{made.path.name}\n")
        assert 'PARAMETER stop "<|im_end|>"' in written
        assert 'PARAMETER stop "<|endoftext|>"' in written
        assert run.nickname in made.path.with_name("README.md").read_text(encoding="utf-8")
        assert not list(made.path.parent.glob("*.partial"))
    assert files[0].bytes > files[1].bytes


@pytest.mark.parametrize(("bos", "adds"), [("<s>", True), ("<|im_start|>", False), (None, False)])
def test_a_template_that_begins_with_the_bos(workspace, run, bos, adds):
    """llama.cpp adds BOS, unless the trained prompt itself begins with it and it would be there twice."""
    said = read_json(run.merged / "tokenizer_config.json")
    begun = "{{ '<s>' }}" if bos == "<s>" else ""
    write_json(run.merged / "tokenizer_config.json", {**said, "bos_token": bos, "chat_template": begun + tiny.TEMPLATE})
    (made,) = conversion.finish(run, conversion.start(workspace, run, ["q8_0"]))
    assert field(GGUFReader(made.path), "tokenizer.ggml.add_bos_token") is adds


def test_nothing_is_taken_from_the_owner_of_a_linked_model(workspace, run, owners):
    """Neither code nor settings nor weights: everything comes from the merged model, made from the trusted copy."""
    (made,) = conversion.finish(run, conversion.start(workspace, run, ["f16"]))
    before = made.path.read_bytes()
    swap_code(owners)
    (owners / "tokenizer.json").unlink()
    (made,) = conversion.finish(run, conversion.start(workspace, run, ["f16"]))
    assert made.path.read_bytes() == before
    with pytest.raises(BadInput, match="models trust"):
        export.start(workspace, run)


def test_of_another_merged_model_they_are_old(workspace, run):
    conversion.finish(run, conversion.start(workspace, run, ["q8_0"]))
    assert conversion.made(run)
    facts = read_json(run.merged / "export.json")
    write_json(run.merged / "export.json", {**facts, "made": facts["made"] + 1})
    assert exported(run).merged
    assert not conversion.made(run)


def test_made_again_it_is_not_verified_any_more(workspace, run):
    conversion.finish(run, conversion.start(workspace, run, ["q8_0"]))
    write_json(conversion.place(run, "q8_0").with_name("verified.json"), {"ok": True})
    assert conversion.made(run)[0].verified == {"ok": True}
    conversion.finish(run, conversion.start(workspace, run, ["q8_0"]))
    assert conversion.made(run)[0].verified is None


def test_without_a_merged_model(workspace, finished_run):
    with pytest.raises(BadInput, match="not merged yet"):
        conversion.start(workspace, finished_run, ["q8_0"])


def test_what_cannot_be_made_is_refused_before_anything_is_written(workspace, run):
    tiny.write_model(run.merged, architectures=["GlmForCausalLM"])
    with pytest.raises(BadInput, match="GlmForCausalLM cannot"):
        conversion.start(workspace, run, ["q8_0"])
    assert not (run.path / "gguf").exists()


@pytest.mark.parametrize("verified", [{"ok": True, "made": 9e12}, {"tokens": [], "ok": True, "made": 9e12}, None])
def test_without_the_merged_models_answers_nothing_is_asked(workspace, run, verified):
    write_json(run.path / "export" / "verify.json", verified)
    with pytest.raises(BadInput, match="export verify first"):
        conversion.start(workspace, run, ["f16"], verify=True)


def test_a_full_disk_is_told_before_anything_is_written(workspace, run):
    """The plan is real; its process asks the system about the disk."""
    conversion.finish(run, conversion.start(workspace, run, ["f16"]))
    file = conversion.place(run, "f16")
    before = file.stat().st_mtime_ns
    full = (
        "import shutil, sys; shutil.disk_usage = lambda _: shutil._ntuple_diskusage(9, 8, 1); "
        f"sys.argv = ['worker', {str(run.path / 'gguf' / 'plan.json')!r}]; "
        "from core.export.gguf import worker; worker.main()"
    )
    job = Job.start(run.jobs, "gguf", [sys.executable, "-c", full], facts={"kinds": ["f16"]})
    with pytest.raises(WorkFailed, match="not enough disk space"):
        conversion.finish(run, job)
    assert file.stat().st_mtime_ns == before


def test_the_workers_own_words_are_the_reason(workspace, run):
    tensors = tiny.tensors_of("LlamaForCausalLM")
    tensors["model.layers.0.router.weight"] = tensors["model.norm.weight"]
    tiny.write_safetensors(run.merged / "model.safetensors", tensors)
    with pytest.raises(WorkFailed, match="has no tensor model.layers.0.router.weight"):
        conversion.finish(run, conversion.start(workspace, run, ["f16"]))


def test_killed_it_leaves_nothing_half_written(workspace, run, monkeypatch):
    slow = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"
    half = conversion.place(run, "f16").with_name("x.gguf.partial")
    half.parent.mkdir(parents=True)
    monkeypatch.setattr(conversion, "module_command", lambda *_: ["python3", "-c", slow, str(half)])
    job = conversion.start(workspace, run, ["f16"])
    assert wait_until(half.exists, PATIENCE)
    conversion.sweep(run)
    assert half.exists(), "while it runs, nothing is taken away"
    with pytest.raises(BadInput, match="already being created"):
        conversion.start(workspace, run, ["f16"])
    job.stop(grace=0)
    assert ended(job) is Status.KILLED
    conversion.sweep(run)
    assert not half.exists()
