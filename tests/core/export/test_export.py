"""Which parts of an export exist, and whether they still belong together; the engine does the work itself."""

import json
import re
import shutil
import sys

import pytest

from core.export import export
from core.export.export import Form, exported
from core.export.verdict import causes, verdict
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import read_json, write_json
from core.models.fingerprint import fingerprint
from tests.conftest import PATIENCE, ended


def date(path, made):
    write_json(path, {**read_json(path), "made": made})


def test_nothing(finished_run):
    found = exported(finished_run)
    assert (found.adapter, found.merged, found.verified) == (None, None, None)


def test_everything(exported_run):
    found = exported(exported_run)
    assert found.adapter["path"] == str(exported_run.adapter)
    assert found.adapter["bytes"] > 100
    assert found.merged["bytes"] > found.adapter["bytes"]
    assert found.verified["ok"]


@pytest.mark.parametrize(
    ("adapter", "merged", "verified", "kept"),
    [
        (1, 2, 3, (True, True, True)),
        (1, 1, 1, (True, True, True)),
        # Converted again: the merged model has another adapter.
        (4, 2, 3, (True, False, False)),
        # Merged again: the verdict is about another model.
        (1, 4, 3, (True, True, False)),
    ],
)
def test_staleness(exported_run, adapter, merged, verified, kept):
    date(exported_run.adapter / "export.json", adapter)
    date(exported_run.merged / "export.json", merged)
    date(exported_run.path / "export" / "verify.json", verified)
    found = exported(exported_run)
    assert (found.adapter is not None, found.merged is not None, found.verified is not None) == kept


def test_the_same_adapter_again_keeps_what_was_made_of_it(exported_run):
    write_json(exported_run.adapter / "export.json", {**read_json(exported_run.adapter / "export.json"), "sha256": "a"})
    made = read_json(exported_run.merged / "export.json")
    write_json(exported_run.merged / "export.json", {**made, "adapter_sha256": "a"})
    date(exported_run.adapter / "export.json", 4)
    date(exported_run.merged / "export.json", 2)
    assert exported(exported_run).merged
    write_json(exported_run.merged / "export.json", {**made, "adapter_sha256": "b"})
    assert exported(exported_run).merged is None


def test_merged_without_its_adapter(exported_run):
    shutil.rmtree(exported_run.adapter)
    found = exported(exported_run)
    assert (found.adapter, found.merged, found.verified) == (None, None, None)


def test_half_written_export_is_not_there(finished_run):
    for name in ("adapter", "merged"):
        partial = finished_run.path / f"{name}.partial"
        partial.mkdir()
        write_json(partial / "export.json", {"made": 1})
    assert exported(finished_run).adapter is None


WORKER = """
import json, pathlib, sys
plan = json.loads(pathlib.Path(sys.argv[sys.argv.index("--plan") + 1]).read_text())
results, run = pathlib.Path(plan["results"]), pathlib.Path(plan["results"]).parent
results.mkdir(exist_ok=True)
for step in ("convert", "merge", "verify"):
    if step in sys.argv:
        (results / f"{step}.json").write_text(json.dumps({"seconds": 0.1, "made": 1, "ok": True}))
for name, file in (("adapter", "adapter_model.safetensors"), ("merged", "config.json")):
    (run / name).mkdir(exist_ok=True)
    (run / name / file).touch()
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def worker(monkeypatch):
    """Replace the export worker by this source."""

    def use(source):
        monkeypatch.setattr(
            export,
            "engine_command",
            lambda _workspace, _module, *words: [sys.executable, "-c", source, *map(str, words)],
        )

    use(WORKER)
    return use


@pytest.mark.usefixtures("worker")
def test_all_steps_in_one_job(workspace, finished_run):
    job = export.start(workspace, finished_run)
    found = export.finish(finished_run, job)
    assert list(found) == ["convert", "merge", "verify"]
    assert found["verify"]["ok"]
    words = json.loads(job.log_tail())
    assert words[:3] == ["convert", "merge", "verify"]
    plan = read_json(finished_run.path / "export" / "plan.json")
    assert plan["checkpoint"].endswith("iter_12.pth")
    assert plan["prompts"][0] == "<|im_start|>user\n请介绍一下你自己<|im_end|>\n<|im_start|>assistant\n"
    assert plan["stop_words"] == ["<|im_end|>"]
    assert plan["prompt"]["template"]["name"] == "internlm2_chat"
    texts = [one["text"] for one in plan["prompt"]["exchanges"]]
    assert texts[: len(plan["prompts"])] == plan["prompts"]
    assert plan["prompt"]["exchanges"][0]["messages"] == [{"role": "user", "content": "请介绍一下你自己"}]
    assert "apply_chat_template" in plan["card"]
    assert plan["kind"] == "lora"
    assert (plan["dtype"], plan["shard_bytes"]) == (None, None)
    assert plan["trained_on"] == plan["base_fingerprint"] == fingerprint(finished_run.model_path)


@pytest.mark.usefixtures("worker")
def test_plain_texts_have_no_prompt(workspace, finished_run):
    text = finished_run.config.read_text(encoding="utf-8")
    made = re.sub(r"template_map_fn=dict\(.*?\)", "template_map_fn=None", text, flags=re.DOTALL)
    assert made != text
    finished_run.config.write_text(made, encoding="utf-8")
    export.finish(finished_run, export.start(workspace, finished_run))
    plan = read_json(finished_run.path / "export" / "plan.json")
    assert plan["prompt"] is None
    assert "apply_chat_template" not in plan["card"]


def test_a_verdict_on_the_prompt_is_not_one_on_the_weights():
    kinds = [
        {"kind": "prompt", "trained": "<s>a", "published": "b"},
        {"kind": "answers", "asked": "who?", "said": "me"},
        {"kind": "adapter_prompt"},
    ]
    for cause in kinds:
        found = {"ok": False, "causes": [cause]}
        assert "chat_template" in verdict(found).en
        assert causes(found)[0].zh
        assert "again" in causes(found)[0].en
        assert "base + adapter" in verdict({"ok": False, "causes": [cause, {"kind": "not_merged"}]}).en


@pytest.mark.usefixtures("worker")
def test_the_weights_trained_on_are_remembered(workspace, finished_run):
    """If the weights under the same name have changed since then, verification learns both fingerprints."""
    (weights,) = finished_run.model_path.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    export.finish(finished_run, export.start(workspace, finished_run))
    plan = read_json(finished_run.path / "export" / "plan.json")
    assert plan["base_fingerprint"] == fingerprint(finished_run.model_path) != plan["trained_on"]


@pytest.mark.usefixtures("worker")
def test_an_earlier_checkpoint(workspace, finished_run):
    job = export.start(workspace, finished_run, ["convert"], "iter_4")
    assert list(export.finish(finished_run, job)) == ["convert"]
    assert read_json(finished_run.path / "export" / "plan.json")["checkpoint"].endswith("iter_4.pth")
    assert job.spec["facts"]["checkpoint"] == "iter_4"


@pytest.mark.parametrize(
    ("steps", "checkpoint", "words"),
    [
        (["merge"], None, "export convert"),
        (["verify"], None, "export convert"),
        (["convert"], "iter_5", "iter_12"),
    ],
)
def test_step_with_nothing_to_work_on(workspace, finished_run, steps, checkpoint, words):
    with pytest.raises(BadInput) as refused:
        export.start(workspace, finished_run, steps, checkpoint)
    assert words in str(refused.value)
    assert [path.name for path in finished_run.jobs.iterdir() if path.is_dir()] == ["train-1"]


def test_verify_before_merge(workspace, exported_run):
    shutil.rmtree(exported_run.merged)
    with pytest.raises(BadInput) as refused:
        export.start(workspace, exported_run, ["verify"])
    assert "export merge" in str(refused.value)


def test_second_export_is_refused_while_one_runs(workspace, finished_run, worker):
    worker("import time; time.sleep(600)")
    job = export.start(workspace, finished_run)
    with pytest.raises(BadInput):
        export.start(workspace, finished_run)
    job.stop(discard=True)


def test_export_that_fails(workspace, finished_run, worker):
    worker("raise ValueError('nothing fits')")
    with pytest.raises(WorkFailed) as failed:
        export.finish(finished_run, export.start(workspace, finished_run))
    assert "nothing fits" in str(failed.value)
    assert "log.txt" in str(failed.value)


def test_export_that_ends_well_and_leaves_nothing(workspace, finished_run, worker):
    worker("pass")
    job = export.start(workspace, finished_run)
    with pytest.raises(WorkFailed):
        export.finish(finished_run, job)
    assert ended(job) == "FAILED"


def test_what_a_killed_export_left_is_taken_away(workspace, exported_run, worker):
    worker("import time; time.sleep(600)")
    job = export.start(workspace, exported_run, ["merge"])
    half = exported_run.path / "merged.partial"
    half.mkdir()
    export.sweep(exported_run)
    assert half.is_dir(), "not while it is being written"
    job.stop(discard=True)
    with pytest.raises(WorkFailed):
        export.finish(exported_run, job)
    assert not half.exists()
    assert exported_run.merged.is_dir()


def test_a_kill_between_two_renames_leaves_the_older_one(workspace, exported_run, worker):
    worker("pass")
    export.start(workspace, exported_run, ["merge"]).wait(PATIENCE)
    exported_run.merged.rename(exported_run.path / "merged.old.partial")
    export.sweep(exported_run)
    assert (exported_run.merged / "config.json").is_file()
    assert not list(exported_run.path.glob("*.partial"))


def make_full(run):
    """Make the run's config train the complete model."""
    text = run.config.read_text(encoding="utf-8")
    start = text.index("    lora=dict(")
    run.config.write_text(text[:start] + text[text.index("    ),\n", start) + 7 :], encoding="utf-8")


@pytest.mark.parametrize(
    ("built", "whole"),
    [("model = dict(lora=None)", True), ("model = dict(llm=dict())", True), ("model = dict(lora=dict(r=4))", False)],
)
def test_what_was_trained_is_what_mmengine_built(finished_run, built, whole):
    """Whatever the text says, which may use code or another file."""
    place = finished_run.work_dir / "20990101_000000" / "vis_data" / "config.py"
    place.parent.mkdir(parents=True)
    place.write_text(f"{built}\n")
    assert export.full(finished_run) is whole


@pytest.mark.usefixtures("worker")
def test_a_full_fine_tune_is_not_merged(workspace, finished_run):
    assert export.steps_of(finished_run) == ("convert", "merge", "verify")
    make_full(finished_run)
    assert export.full(finished_run)
    assert export.steps_of(finished_run) == ("convert", "verify")
    with pytest.raises(BadInput) as refused:
        export.start(workspace, finished_run, ["merge"])
    assert "nothing to merge" in str(refused.value.text.en)
    job = export.start(workspace, finished_run)
    assert list(export.finish(finished_run, job)) == ["convert", "verify"]
    plan = read_json(finished_run.path / "export" / "plan.json")
    assert plan["kind"] == "full"
    assert "full fine-tune" in plan["card"]
    write_json(finished_run.merged / "export.json", {"made": 1, "checkpoint": plan["checkpoint"]})
    assert exported(finished_run).merged is None, "its weights are not there"
    (finished_run.merged / "model.safetensors").touch()
    shutil.rmtree(finished_run.adapter)
    assert exported(finished_run).merged["checkpoint"].endswith("iter_12.pth")


def test_form():
    assert Form.of("bfloat16", "2GB") == Form(dtype="bfloat16", shard_bytes=2_000_000_000)
    assert Form.of(None, " 500 mb ") == Form(shard_bytes=500_000_000)
    assert Form.of() == Form()
    for dtype, size in (("int4", None), (None, "2"), (None, "big"), (None, "0MB"), (None, "-2GB")):
        with pytest.raises(BadInput):
            Form.of(dtype, size)
