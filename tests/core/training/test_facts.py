"""run.json is read as it was written, and one from an earlier version still opens."""

import json
from dataclasses import replace

import pytest

from core.config import config as configs
from core.engine.cluster import Cluster
from core.engine.presets import PromptTemplate, prompt_templates
from core.ground.files import read_json, write_json
from core.training import run as runs
from core.training.facts import RunFacts
from tests.conftest import ended

OWN = "dict(SYSTEM='S:{system}\\n', INSTRUCTION='Q:{input}\\nA:', SUFFIX='<e>', SEP='\\n', STOP_WORDS=['<e>'])"
TEMPLATE = PromptTemplate(
    name=None, system="S:{system}\n", instruction="Q:{input}\nA:", suffix="<e>", sep="\n", stop_words=("<e>",)
)
KEYS = {
    "id", "created", "serial", "asked", "config", "dataset", "model", "template", "early_stop", "keep", "questions", "lora_r",
    "versions", "command", "commands", "cluster", "deepspeed",
}  # fmt: skip


def with_template(workspace, config, code):
    """Return the config with another prompt template, as a user would type it."""
    text = config.text().replace("PROMPT_TEMPLATE.internlm2_chat", code)
    assert text != config.text()
    return configs.replace_text(workspace, config.name, text)


def test_what_is_written_is_what_is_read(finished_run, config, dataset, small_model):
    written = read_json(finished_run.path / "run.json")
    assert set(written) == KEYS
    assert RunFacts.from_json(written) == finished_run.facts
    assert json.loads(json.dumps(finished_run.facts.to_json())) == written
    assert written["dataset"] == {**dataset.made, "name": dataset.name, "sha256": dataset.sha256, "rows": dataset.rows}
    assert written["config"] == {**config.facts, "name": config.name}
    assert written["model"].keys() == {
        "name", "path", "parameters", "architecture", "prompt_template", "fingerprint",
    }  # fmt: skip
    assert written["template"] == {
        "name": "internlm2_chat",
        "system": "<|im_start|>system\n{system}<|im_end|>\n",
        "instruction": "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
        "suffix": "<|im_end|>",
        "sep": "\n",
        "stop_words": ["<|im_end|>"],
        "suffix_as_eos": True,
        "bos": "",
        "eos": "",
    }
    assert (finished_run.facts.model.path, finished_run.facts.lora_r) == (str(small_model.path), 64)


def test_a_file_that_says_less_and_one_that_says_more():
    bare = RunFacts.from_json({"id": "x"})
    assert (bare.id, bare.serial, bare.cluster, bare.template, bare.commands) == ("x", 0, Cluster(), None, [])
    more = RunFacts.from_json(
        {
            "id": "x", "new": 1, "cluster": {"nproc": 2, "new": 1}, "model": {"name": "m", "new": 1}, "deepspeed": None,
            "config": {"name": "c", "new": 1}, "dataset": {"rows": None, "nickname": "小明"}, "questions": None,
            "template": {"instruction": "{input}!", "new": 1}, "asked": "yesterday",
        }
    )  # fmt: skip
    assert (more.cluster.nproc, more.model.name, more.config.more, more.dataset.rows) == (2, "m", {"new": 1}, 0)
    assert (more.dataset.nickname, more.questions, more.asked) == ("小明", [], None)
    assert more.template == PromptTemplate(instruction="{input}!")


def test_a_run_speaks_the_template_of_its_config(workspace, config, fake_engine):
    fake_engine("ok")
    run = runs.start(workspace, with_template(workspace, config, OWN).name)
    # Its tokenizer ends an answer and begins the next turn.
    assert run.template == run.facts.template == replace(TEMPLATE, bos="<s>", eos="</s>")
    assert run.template.title == "自定义 custom"
    ended(run.job)
    assert [at.iter for at in run.timeline()] == [0, 4, 8, 12]


def test_an_early_stop_asks_in_the_template_of_the_config(workspace, config, fake_engine):
    fake_engine("ok")
    run = runs.start(workspace, with_template(workspace, config, OWN).name, early_stop=True)
    ended(run.job)
    assert run.facts.early_stop["stop_words"] == ["<e>"]
    assert all(prompt.endswith("\nA:") for prompt in run.facts.early_stop["identity"])


@pytest.mark.parametrize(
    ("code", "template"),
    [
        (OWN, TEMPLATE),
        ("'xtuner.utils.PROMPT_TEMPLATE.qwen_chat'", prompt_templates()["qwen_chat"]),
        ("make_one()", prompt_templates()["internlm2_chat"]),
        ("dict(", prompt_templates()["internlm2_chat"]),
    ],
    ids=["its own", "by name", "by code", "no Python"],
)
def test_a_run_of_the_version_before_says_it_by_its_config(workspace, finished_run, code, template):
    record = read_json(finished_run.path / "run.json")
    del record["template"]
    write_json(finished_run.path / "run.json", record)
    run = runs.find(workspace, finished_run.id)
    assert run == replace(finished_run, facts=replace(finished_run.facts, template=None))
    text = run.config.read_text(encoding="utf-8")
    run.config.write_text(text.replace("PROMPT_TEMPLATE.internlm2_chat", code), encoding="utf-8")
    assert run.template == template


def test_slurm_options_of_the_version_before_hide_no_run(workspace, finished_run):
    """Else one such run would keep all from being listed."""
    written = read_json(finished_run.path / "run.json")
    cluster = {"launcher": "slurm", "nnodes": 2, "options": "--gpu-bind=none"}
    write_json(finished_run.path / "run.json", {**written, "cluster": cluster})
    assert [run.cluster for run in runs.every(workspace)] == [Cluster(launcher="slurm", nnodes=2)]


def test_a_record_that_is_none_is_no_run(workspace, finished_run):
    write_json(finished_run.path / "run.json", [])
    with pytest.raises(runs.BadInput, match="train list"):
        runs.find(workspace, finished_run.id)
