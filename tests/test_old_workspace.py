"""A workspace created by an earlier version opens in this one, and everything in it reads the same as before."""

import io
import json
import os
import zipfile
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

import pytest

from core import __main__ as command_line
from core.chat import conversation, score
from core.chat.diagnosis import diagnose, next_config
from core.config import config as configs
from core.config import own_recipe
from core.config.check import check as check_config
from core.data import dataset as datasets
from core.data import split
from core.engine.cluster import Cluster
from core.engine.presets import prompt_templates
from core.export.export import exported
from core.ground.files import read_json, sha256
from core.jobs.job import Status
from core.models import model as models
from core.publish import card, package
from core.report import outline, writeup
from core.training import run as runs
from core.training import shelf

HERE = Path(__file__).parent / "old_workspace"
SAID = json.loads((HERE / "said.json").read_text(encoding="utf-8"))
FINISHED, FAILED, DELETED = "20261126-171524-assistant-fast", "20261126-171529-copied", "20261126-171548-copied"
TEXTS = {".json", ".jsonl", ".py", ".txt", ".md", ""}


@pytest.fixture
def old(workspace):
    """The old workspace, in place of the test's own."""
    with zipfile.ZipFile(HERE / "workspace.zip") as packed:
        packed.extractall(workspace.root)
    for path in workspace.root.rglob("*"):
        if path.is_file() and path.suffix in TEXTS:
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("WORKSPACE", str(workspace.root)), encoding="utf-8")
    run = workspace.run(FINISHED)
    # A zip does not store such precise times; scores refer to the checkpoint by its time and size.
    time = int(read_json(run / "scores" / "iter_12.json")["stamp"].partition(":")[0])
    os.utime(run / "work_dir" / "iter_12.pth", ns=(time, time))
    return workspace


def answer(workspace, words: str):
    out = io.StringIO()
    with redirect_stdout(out):
        assert command_line.main([*words.split(), "--workspace", str(workspace.root), "--json"]) == 0
    return json.loads(out.getvalue().replace(str(workspace.root), "WORKSPACE"))


def missing(said, now, where=""):
    """Yield what was reported then and is not reported now; new keys are permitted."""
    if isinstance(said, dict) and isinstance(now, dict):
        for key, value in said.items():
            # Paths have different lengths here, and so have the files that contain them.
            if key != "bytes":
                yield from missing(value, now.get(key), f"{where}.{key}")
    elif isinstance(said, list) and isinstance(now, list) and len(said) == len(now):
        for number, (then, value) in enumerate(zip(said, now, strict=True)):
            yield from missing(then, value, f"{where}[{number}]")
    elif said != now:
        yield where, said, now


def test_every_command_answers_as_it_did(old):
    differences = {words: list(missing(said, answer(old, words))) for words, said in SAID.items()}
    assert {words: found for words, found in differences.items() if found} == {}


def test_datasets(old):
    made = {dataset.name: dataset for dataset in datasets.every(old)}
    assert set(made) == {"assistant", "assistant-2", "table", "table-train", "table-heldout"}
    for dataset in made.values():
        assert sha256(dataset.data) == dataset.sha256
        assert len(dataset.load()) == dataset.rows
    assert (made["assistant"].nickname, made["assistant-2"].nickname) == ("小明", "小红")
    assert made["table"].rows == made["table-train"].rows + made["table-heldout"].rows == 20
    assert split.held_out_of(old, made["table-train"].made) == made["table-heldout"]
    assert made["table"].report()["format"] == "qa"


def test_configs_and_the_recipe(old):
    changed = configs.find(old, "assistant-fast")
    assert changed.values()["lr"] == 0.0003
    assert check_config(old, changed) == []
    before = configs.step(old, "assistant-fast", -1)
    assert before.values()["lr"] != 0.0003
    (mine,) = own_recipe.every(old)
    made = configs.make(old, model="demo", dataset="assistant", recipe=mine.name)
    assert made.values()["lr"] == 0.0003


def test_runs(old):
    finished, failed = runs.find(old, FINISHED), runs.find(old, FAILED)
    assert runs.every(old) == [failed, finished]
    assert (finished.state().status, failed.state().status) == (Status.FINISHED, Status.FAILED)
    assert "显存不足" in failed.state().reason.zh
    assert shelf.name_of(failed) == "我的第二次"
    facts = failed.facts
    assert (facts.deepspeed, facts.cluster, facts.serial, facts.config.name) == (
        "deepspeed_zero2",
        Cluster(),
        2,
        "copied",
    )
    assert (facts.model.name, facts.dataset.rows, facts.dataset.nickname) == ("demo", 282, "小明")
    assert facts.template is None
    assert finished.template == prompt_templates()["internlm2_chat"]
    # What it contained then can still be written.
    written = read_json(finished.path / "run.json")
    again = {key: value for key, value in finished.facts.to_json().items() if key in written}
    # Slurm's time and options came later.
    assert again.pop("cluster").items() >= written.pop("cluster").items()
    assert again == written
    assert runs.before_start(old, "assistant-fast") == []


def test_a_deleted_run_comes_back(old):
    assert [deleted.id for deleted in shelf.trash(old)] == [DELETED]
    back = shelf.restore(old, "latest")
    assert back.facts.early_stop["nickname"] == "小明"
    assert len(runs.every(old)) == 3


def test_scores_conversations_export(old):
    run = runs.find(old, FINISHED)
    scores = score.stored(run)
    then = read_json(run.path / "scores.json")
    kept = [
        {key: asdict(now)[key] for key in old} for now, old in zip(scores.questions, then["questions"], strict=True)
    ]
    assert kept == then["questions"]
    assert (scores.identity, scores.retention, scores.parrot) == (then["identity"], then["retention"], then["parrot"])
    assert (scores.identity["tuned"], diagnose(scores).verdict) == (1, "learned")
    assert next_config(old, run, diagnose(scores)).facts["preset"] == run.facts.config.preset
    (said,) = conversation.every(old, FINISHED)
    assert (said.system, said.sides, said.title) == ("一句话", ["base", "tuned"], "你是谁？")
    assert said.exchanges[0].answers["tuned"]["answer"] == "我是小明的小助手。"
    there = exported(run)
    assert Path(there.adapter["path"]) == run.adapter
    assert Path(there.merged["path"]) == run.merged
    assert there.verified["ok"]
    assert models.look(run.merged).whole


def test_the_report_and_the_package(old):
    run = runs.find(old, FINISHED)
    chosen = outline.load(run)
    assert (chosen.author, chosen.notes, chosen.masked) == ("李雷", "学到了 *很多*。", False)
    assert (chosen.sections, [picture.caption for picture in chosen.pictures]) == (
        ("task", "scores", "notes"),
        ["截图"],
    )
    outline.change(run, sections=outline.SECTIONS)
    text = (writeup.build(old, run, "zh").path / "report.md").read_text(encoding="utf-8")
    for part in ("李雷", "小明", "12 / 12", "internlm2_chat", "学到了 *很多*。", "internlm2_chat_1_8b_qlora_alpaca_e3"):
        assert part in text
    made = package.package(old, run, "modelscope")
    assert "app.py" in made.files
    assert "internlm2_chat" in card.card(run, "modelscope", "merged")
