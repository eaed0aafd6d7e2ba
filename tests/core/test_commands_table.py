"""The headless commands: scripts rely on their names, keys and exit codes, so these are repeated here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import __main__ as command_line
from core.data import dataset as datasets
from core.engine import commands
from core.ground.workspace import PROJECT
from core.headless import machine
from core.headless import training as commands_of_training
from core.jobs.job import Status
from core.training import run as runs
from tests.conftest import PATIENCE
from tests.fakes.model import write_model

COMMANDS = [
    "doctor",
    "models demo",
    "models small",
    "models link",
    "models check",
    "models list",
    "models unlink",
    "models download",
    "models delete",
    "models trust",
    "models tree",
    "models shared",
    "engine show",
    "engine use",
    "engine check",
    "datasets assistant",
    "datasets import",
    "datasets check",
    "datasets stats",
    "datasets render",
    "datasets show",
    "datasets replace",
    "datasets split",
    "datasets remake",
    "datasets corpus",
    "datasets replay",
    "datasets list",
    "configs list",
    "configs new",
    "configs set",
    "configs undo",
    "configs diff",
    "configs preflight",
    "configs copy",
    "configs import",
    "configs export",
    "recipes list",
    "recipes save",
    "recipes import",
    "recipes export",
    "train start",
    "train status",
    "train stop",
    "train resume",
    "train queue",
    "train move",
    "train list",
    "train metrics",
    "train timeline",
    "train compare",
    "train rename",
    "train delete",
    "train restore",
    "train trash",
    "export all",
    "export convert",
    "export merge",
    "export verify",
    "export gguf",
    "chat ask",
    "chat score",
    "report build",
    "publish package",
    "tunnel",
    "assignment",
    "publish upload",
    "demo",
]
# Every option in the table, with a value.
OPTIONS = [
    ["models", "link", "PATH", "--name", "N", "--no-trust"],
    ["models", "trust", "N", "--withdraw"],
    ["models", "download", "A/B", "--hub", "huggingface", "--endpoint", "E", "--revision", "R", "--name", "N", "--no-trust"],
    ["engine", "use", "PATH", "--quick"],
    ["datasets", "assistant", "--name", "NICK", "--recipe", "course", "--n", "3750", "--out", "D"],
    ["datasets", "import", "FILE", "--format", "auto", "--out", "D"],
    ["datasets", "import", "F", "--question", "Q", "--answer", "A", "--system", "S", "--assistant-name", "N", "--author", "A"],
    ["datasets", "stats", "D", "--model", "M", "--max-length", "512", "--exact"],
    ["datasets", "corpus", "F", "G", "--chunk", "500", "--overlap", "50", "--raw", "--held-out", "0.1", "--no-replay", "--keep", "--out", "D"],
    ["datasets", "split", "D", "--share", "0.2", "--seed", "1", "--out", "E"],
    ["datasets", "replace", "D", "--find", "a", "--put", "b", "--part", "output", "--out", "E"],
    ["datasets", "show", "D", "--first", "3", "--count", "5"],
    ["datasets", "remake", "D", "--out", "E"],
    ["datasets", "replay", "--model", "M", "--count", "5", "--tokens", "64", "--temperature", "1", "--samples", "2"],
    ["datasets", "assistant", "--name", "N", "--assistant-name", "A", "--maker", "M", "--language", "en", "--style", "lively",
     "--general", "0.5", "--repeat", "3", "--replay", "M"],
    ["datasets", "assistant", "--name", "N", "--model", "M", "--no-replay", "--choices", "{}"],
    ["datasets", "render", "D", "--row", "3", "--model", "M", "--system", "S"],
    ["configs", "list", "-p", "PATTERN", "--long"],
    ["configs", "undo", "C", "--redo"],
    ["configs", "preflight", "C", "--nproc", "2"],
    ["configs", "copy", "P", "DIR"],
    ["configs", "import", "FILE", "--model", "M", "--dataset", "D", "--out", "C"],
    ["configs", "export", "C", "--out", "FILE"],
    ["recipes", "save", "C", "R", "--about", "TEXT"],
    ["recipes", "import", "FILE", "--name", "R"],
    ["recipes", "export", "R", "--out", "FILE"],
    *(
        ["configs", "new", "--model", "M", "--dataset", "D", "--preset", "P", "--recipe", recipe, "--out", "C", "--set", "a=1", "b=2"]
        for recipe in ("course", "fast", "pretrain", "preset")
    ),
    ["configs", "set", "C", "a=1", "b=2"],
    ["train", "start", "C", "--nproc", "2", "--nnodes", "2", "--node-rank", "1", "--addr", "A", "--port", "1"],
    ["train", "start", "C", "--deepspeed", "deepspeed_zero2", "--wait"],
    ["train", "start", "C", "--early-stop"],
    ["train", "start", "C", "--launcher", "slurm", "--partition", "P"],
    ["train", "move", "R", "1"],
    ["train", "stop", "R", "--discard"],
    ["train", "compare", "R", "S"],
    ["train", "rename", "R", "NAME"],
    ["train", "restore", "R"],
    ["train", "trash", "--empty"],
    ["export", "convert", "R", "--checkpoint", "iter_4"],
    ["export", "gguf", "R", "--type", "f16", "q8_0", "--verify"],
    ["chat", "ask", "--prompt", "TEXT", "--run", "R", "--model", "M"],
    ["chat", "score", "R", "--checkpoint", "iter_4"],
    ["report", "build", "R", "--out", "DIR", "--screenshots", "--author", "A", "--notes", "FILE", "--picture", "FILE"],
    ["report", "build", "R", "--sections", "task", "scores", "--without", "files", "--unmasked"],
    ["report", "build", "R", "--masked"],
    *(["publish", "package", "R", "--target", t, "--out", "DIR"] for t in ("openxlab", "modelscope", "huggingface")),
    ["tunnel", "--host", "H", "--port", "P", "--user", "U", "--app-port", "8501", "--shared"],
    ["publish", "package", "R", "--target", "huggingface", "--what", "adapter"],
    ["publish", "upload", "R", "--target", "modelscope", "--what", "adapter", "--repo", "U/N", "--private", "--send"],
    ["publish", "upload", "R", "--target", "huggingface", "--repo", "U/N", "--endpoint", "URL"],
    ["demo", "--name", "NICK"],
]  # fmt: skip
STATE = {
    "run",
    "status",
    "pid",
    "iter",
    "max_iters",
    "eta_s",
    "loss",
    "exit_code",
    "reason",
    "place",
    "slurm",
    "early_stop",
}
DATASET = {"name", "path", "rows", "unique_rows", "sha256"}
MODEL = {"name", "path", "parameters", "architecture", "prompt_template", "trainable", "problems", "trusted"}


def core(*words: str, **environment: str) -> subprocess.CompletedProcess:
    """Really run `python -m core`."""
    return subprocess.run(
        [sys.executable, "-m", "core", *words],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def answer(done: subprocess.CompletedProcess) -> dict:
    """Return the JSON object that is the only output on stdout."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("}\n")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def here(capsys):
    """Run a command in this process, which is faster; return its code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = command_line.main(list(words))
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def told(here):
    """Return the JSON answer of a command that must succeed."""

    def told(*words: str) -> dict:
        code, out, err = here(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return told


def refused(result: tuple[int, str, str]) -> str:
    """Return the single line of a command that was refused."""
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert len(err) < 600
    return err


def test_the_overview_names_every_command():
    said = [line.split(None, 1) for line in command_line.overview(command_line.commands()).splitlines()[1:]]
    named = {f"{group} {verb}" for group, *verbs in said for verb in ", ".join(verbs).split(", ") if verb}
    named |= {group for group, *verbs in said if not verbs}
    assert named == set(command_line.commands())


def test_the_table():
    assert sorted(command_line.commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("word", command_line.STAGES)
def test_a_first_word_finds_all_its_commands(word):
    own = {name for name in COMMANDS if name.split()[0] == word}
    assert own
    assert own <= set(command_line.commands(word))


def test_a_command_imports_no_room_that_it_does_not_use():
    listing = "import sys; from core.__main__ import main; main(['models', 'list']); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout
    imported = set(told.split())
    assert "core.models.model" in imported
    assert not imported & {"libcst", "numpy", "core.config", "core.training", "core.chat", "core.report"}


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_options(words):
    parsed = command_line.parser(command_line.commands()).parse_args([*words, "--workspace", "W", "--json"])
    assert (parsed.workspace, parsed.json) == ("W", True)


def test_defaults():
    parsed = command_line.parser(command_line.commands()).parse_args(["datasets", "assistant", "--name", "x"])
    assert parsed.n == 3750
    parsed = command_line.parser(command_line.commands()).parse_args(
        ["configs", "new", "--model", "m", "--dataset", "d", "--set", "a=1", "--set", "b=2"]
    )
    assert parsed.set == ["a=1", "b=2"]


def test_real_process_in_an_empty_workspace(workspace):
    """One after the other, like a script."""
    found = answer(core("doctor", "--json"))
    assert set(found) == {"checks", "versions", "gpus"}
    assert all(set(check) == {"name", "ok", "value", "hint"} for check in found["checks"])
    assert found["versions"]["xtuner"] == "0.2.0"

    found = answer(core("datasets", "assistant", "--name", "O'Neil 😀", "--recipe", "course", "--n", "2", "--json"))
    assert set(found) == {*DATASET, "teaches", "general"}
    assert (found["rows"], found["unique_rows"]) == (6, 2)
    assert Path(found["path"]).is_relative_to(workspace.datasets)

    done = core("datasets", "assistant", "--name", "../x", "--json")
    refused((done.returncode, done.stdout, done.stderr))
    assert [path.name for path in workspace.datasets.iterdir()] == ["assistant"]


def test_the_course_s_file_is_chinese_for_any_model_unless_english_is_asked_for(workspace, told):
    write_model(workspace.models / "SmolLM2-135M-Instruct")
    course = ("datasets", "assistant", "--name", "Bob", "--recipe", "course", "--n", "2")
    own = told(*course)
    assert own["sha256"] == datasets.make_assistant(workspace, "Bob", "course", n=2, name="again").sha256
    assert own["teaches"] == {"zh": "我是Bob的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦"}
    english = told(*course, "--language", "en")
    assert english["teaches"] == {"en": "I am Bob's assistant, powered by SmolLM2 135M from Hugging Face."}
    rows = datasets.find(workspace, english["name"]).load()
    assert all(text.isascii() for row in rows for turn in row["conversation"] for text in turn.values())


def test_real_process_without_a_language(tmp_path):
    """Chinese is written as UTF-8 even if the environment does not specify an encoding."""
    done = core(
        "datasets", "assistant", "--name", "小明", "--json", XTUNER_STUDIO_HOME=str(tmp_path), LC_ALL="C", XTUNER_STUDIO_LANG=""
    )  # fmt: skip
    assert answer(done)["name"] == "assistant"
    done = core("datasets", "check", "没有", LC_ALL="C", XTUNER_STUDIO_HOME=str(tmp_path), XTUNER_STUDIO_LANG="zh")
    assert "没有数据集" in refused((done.returncode, done.stdout, done.stderr))


def test_real_process_with_a_workspace_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    done = core("doctor", "--json", "--workspace", str(tmp_path / "file" / "x"))
    assert "XTUNER_STUDIO_HOME" in refused((done.returncode, done.stdout, done.stderr))


@pytest.mark.usefixtures("workspace")
def test_models(told, tmp_path, workspace):
    assert told("models", "list") == {"models": []}
    directory = write_model(tmp_path / "internlm2", shards=2)
    linked = told("models", "link", str(directory), "--name", "mine")
    assert set(linked) == MODEL
    assert linked["problems"] == []
    assert told("models", "check", "mine") == linked
    assert told("models", "list") == {"models": [linked]}
    assert linked["trusted"]
    assert told("models", "trust", "mine", "--withdraw")["trusted"] is False
    assert set(told("models", "trust", "mine")["code"]) == {"configuration_internlm2.py", "modeling_internlm2.py"}
    assert told("models", "tree", "mine")["tree"].startswith(f"mine -> {directory}")
    assert told("models", "link", str(directory), "--no-trust")["trusted"] is False
    assert told("models", "unlink", "internlm2") == {"name": "internlm2", "path": str(directory)}
    (directory / "modeling_internlm2.py").unlink()
    (problem,) = told("models", "check", "mine")["problems"]
    assert set(problem) == {"severity", "where", "message", "hint"}
    write_model(workspace.model("demo"), demo=True)
    for _ in range(2):
        assert set(told("models", "demo")) == MODEL


@pytest.mark.usefixtures("workspace")
def test_datasets(told, tmp_path):
    made = told("datasets", "assistant", "--name", "小明", "--out", "mine")
    assert set(made) == {*DATASET, "teaches", "general"}
    assert made["name"] == "mine"
    (tmp_path / "x.jsonl").write_text('{"question": "a", "answer": "b"}\nbad\n')
    imported = told("datasets", "import", str(tmp_path / "x.jsonl"), "--out", "other")
    assert set(imported) >= {"name", "format", "rows", "skipped", "problems"}
    assert imported["format"] == "qa"
    assert [set(skipped) for skipped in imported["skipped"]] == [{"row", "reason"}]
    checked = told("datasets", "check", "other")
    assert set(checked) >= {"name", "format", "rows", "skipped", "problems"}
    assert [dataset["name"] for dataset in told("datasets", "list")["datasets"]] == ["mine", "other"]


@pytest.mark.usefixtures("small_model", "dataset")
def test_configs(told, here):
    presets = told("configs", "list", "-p", "internlm2_chat_1_8b")["presets"]
    assert "internlm2_chat_1_8b_qlora_alpaca_e3" in presets
    assert len(told("configs", "list")["presets"]) > 500
    made = told("configs", "new", "--model", "demo", "--dataset", "assistant", "--out", "c", "--set", "lr=1e-3")
    assert set(made) == {"name", "path", "problems"}
    assert (made["name"], made["problems"]) == ("c", [])
    assert set(told("configs", "set", "c", "max_epochs=2", "SYSTEM=你好")) == {"name", "path", "problems"}
    diff = told("configs", "diff", "c")["diff"]
    assert "+max_epochs = 2" in diff
    code, out, _ = here("configs", "diff", "c")
    assert (code, out) == (0, diff + "\n")


def test_preflight_of_a_config_that_cannot_be_trained(told, config):
    config.file.write_text("a = = 1")
    found = told("configs", "preflight", config.name)
    assert set(found) >= {
        "rows",
        "unique_rows",
        "tokens",
        "packs",
        "iters",
        "optimizer_updates",
        "evaluations",
        "checkpoints",
        "estimated_seconds",
        "estimated_memory_mb",
        "problems",
    }
    assert [set(problem) for problem in found["problems"]] == [{"severity", "where", "message", "hint"}]


def test_train(told, here, config, fake_engine):
    fake_engine("slow")
    started = told("train", "start", config.name)
    assert set(started) == STATE
    assert (started["status"], started["reason"], started["place"]) == ("RUNNING", None, None)
    assert told("train", "queue")["runs"] == []
    assert "排队" in refused(here("train", "move", "latest", "1"))
    assert told("train", "status", "latest")["run"] == started["run"]
    stopped = told("train", "stop", started["run"], "--discard")
    assert (stopped["status"], stopped["pid"]) == ("KILLED", None)
    assert stopped["reason"]
    refused(here("train", "stop", "latest"))
    listed = told("train", "list")["runs"]
    assert [set(run) for run in listed] == [{*STATE, "name"}]
    fake_engine("ok")
    code, out, err = here("train", "start", config.name, "--wait", "--json")
    assert code == 0, err
    finished = json.loads(out)
    assert (finished["status"], finished["exit_code"], finished["iter"]) == ("FINISHED", 0, 12)
    points = told("train", "metrics", "latest")["points"]
    assert [point["iter"] for point in points] == list(range(1, 13))
    assert {"iter", "loss", "lr"} <= set(points[0])


def test_train_puts_runs_in_order(told, here, finished_run, failed_run):
    found = told("train", "timeline", finished_run.id)
    assert [point["iter"] for point in found["points"]] == [0, 4, 8, 12]
    assert [point["identity"] for point in found["points"]] == [0.0, 1.0, 1.0, 1.0]
    assert set(found["points"][0]["answers"][0]) == {"question", "answer"}
    found = told("train", "compare", finished_run.id, "latest")
    assert set(found) == {"runs", "settings", "diffs"}
    assert [run["run"] for run in found["runs"]] == [finished_run.id, failed_run.id]
    refused(here("train", "compare", "latest"))
    assert told("train", "rename", "latest", "第二次 'x'") == {"run": failed_run.id, "name": "第二次 'x'"}
    refused(here("train", "rename", "latest", "x" * 100))
    deleted = told("train", "delete", "latest")
    assert (deleted["run"], deleted["name"]) == (failed_run.id, "第二次 'x'")
    assert told("train", "status", "latest")["run"] == finished_run.id
    refused(here("train", "delete", failed_run.id))
    assert [run["run"] for run in told("train", "trash")["runs"]] == [failed_run.id]
    restored = told("train", "restore", failed_run.id)
    assert (restored["run"], restored["name"], restored["status"]) == (failed_run.id, "第二次 'x'", "FAILED")
    refused(here("train", "restore", "latest"))
    told("train", "delete", failed_run.id)
    assert told("train", "trash", "--empty")["bytes"] > 0
    assert told("train", "trash") == {"runs": [], "bytes": 0, "emptied": False}


def test_train_waits_its_turn(told, here, config, fake_engine, workspace):
    fake_engine("slow")
    first = told("train", "start", config.name)
    fake_engine("ok")
    # Another learning rate each time: typing the same command twice at once would start one run.
    runs_waiting = []
    for lr in ("1e-4", "2e-4"):
        told("configs", "set", config.name, f"lr={lr}")
        runs_waiting.append(told("train", "start", config.name))
    assert [(run["status"], run["place"], run["pid"]) for run in runs_waiting] == [
        ("PENDING", 1, None),
        ("PENDING", 2, None),
    ]
    moved = told("train", "move", runs_waiting[1]["run"], "1")["runs"]
    assert [run["run"] for run in moved] == [runs_waiting[1]["run"], runs_waiting[0]["run"]]
    refused(here("train", "move", first["run"], "1"))
    refused(here("train", "move", runs_waiting[0]["run"], "0"))
    cancelled = told("train", "stop", runs_waiting[0]["run"])
    assert (cancelled["status"], cancelled["exit_code"]) == ("KILLED", None)
    assert [run["run"] for run in told("train", "queue")["runs"]] == [runs_waiting[1]["run"]]
    told("train", "stop", first["run"], "--discard")
    assert runs.find(workspace, runs_waiting[1]["run"]).job.wait(PATIENCE) is Status.FINISHED
    again = told("train", "resume", runs_waiting[0]["run"])
    assert again["status"] in ("RUNNING", "PENDING", "FINISHED")


def test_each_machine_is_told_its_command(told, config, fake_engine):
    fake_engine("ok")
    # Four processes have a quarter of the iterations each.
    told("configs", "set", config.name, "warmup_ratio=0.1")
    words = ["--nproc", "2", "--nnodes", "2", "--addr", "10.0.0.1", "--port", "12345"]
    answer = told("train", "start", config.name, *words)
    assert set(answer) == STATE | {"commands"}
    assert len(answer["commands"]) == 2
    assert "--node-rank 1 --addr 10.0.0.1 --port 12345" in answer["commands"][1]


def test_the_machine_of_rank_0_has_an_address_that_others_reach(here, told, config, fake_engine, monkeypatch):
    fake_engine("ok")
    monkeypatch.setattr(commands_of_training, "own_address", lambda: "10.1.2.3")
    answer = told("train", "start", config.name, "--nnodes", "2")
    assert all("--addr 10.1.2.3" in line for line in answer["commands"])
    code, out, err = here("train", "start", config.name, "--nnodes", "2", "--node-rank", "1", "--json")
    assert (code, out) == (2, "")
    assert "--addr" in err


def test_train_that_fails_and_resumes(here, told, config, fake_engine, workspace):
    fake_engine("oom")
    code, out, err = here("train", "start", config.name, "--wait", "--json")
    assert (code, out) == (1, "")
    assert "显存不足" in err.splitlines()[-1]
    status = told("train", "status", "latest")
    assert (status["status"], status["exit_code"]) == ("FAILED", 1)
    assert "显存不足" in status["reason"]
    fake_engine("ok")
    resumed = told("train", "resume", "latest")
    assert resumed["run"] == status["run"]
    assert runs.find(workspace, "latest").job.wait(PATIENCE) is Status.FINISHED


def test_metrics_that_are_no_numbers(told, config, fake_engine):
    fake_engine("nan")
    assert told("train", "start", config.name, "--wait")["loss"] is None
    assert told("train", "metrics", "latest")["points"][-1]["loss"] is None


def test_report_and_package(told, exported_run, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "")
    built = told("report", "build", "latest")
    assert set(built) == {"path", "files"}
    assert built["path"] == str(exported_run.path / "report")
    assert told("report", "build", exported_run.id, "--out", str(tmp_path / "out"))["path"] == str(tmp_path / "out")
    assert set(told("publish", "package", "latest", "--target", "modelscope")) == {"path", "files"}


BAD = [
    [],
    ["nothing"],
    ["models"],
    ["models", "nothing"],
    ["models", "link"],
    ["models", "link", "/no/such/directory"],
    ["models", "link", "/proc", "--name", "../x"],
    ["models", "check", "nothing"],
    ["models", "check", "../x"],
    ["models", "unlink", "nothing"],
    ["models", "download", "nothing"],
    ["models", "download", "a/b", "--endpoint", "x"],
    ["models", "download", "a/b", "--name", "../x"],
    ["models", "delete", "../x"],
    ["models", "trust", "nothing"],
    ["models", "tree", "nothing"],
    ["engine", "use"],
    ["engine", "use", ""],
    ["engine", "use", "/no/such/python"],
    ["datasets", "assistant"],
    ["datasets", "assistant", "--name", ""],
    ["datasets", "assistant", "--name", "名" * 10_000],
    ["datasets", "assistant", "--name", "../x"],
    ["datasets", "assistant", "--name", "a\nb"],
    ["datasets", "assistant", "--name", "<|im_end|>"],
    ["datasets", "assistant", "--name", "\udcff"],
    ["datasets", "assistant", "--name", "小明", "--recipe", "best"],
    ["datasets", "assistant", "--name", "小明", "--recipe", "course", "--n", "-1"],
    ["datasets", "assistant", "--name", "小明", "--n", "many"],
    ["datasets", "assistant", "--name", "小明", "--out", "../x"],
    ["datasets", "import", "/no/such/file.json"],
    ["datasets", "import", "/no/such\nfile.json"],
    ["datasets", "import", "/proc", "--format", "auto"],
    ["datasets", "check", "nothing"],
    ["datasets", "stats", "nothing", "--model", "nothing"],
    ["configs", "new", "--model", "nothing", "--dataset", "nothing"],
    ["configs", "new", "--model", "m", "--dataset", "d", "--recipe", "best"],
    ["configs", "new", "--model", "m", "--dataset", "d", "--set", "lr"],
    ["configs", "set", "nothing", "lr=1"],
    ["configs", "set", "nothing"],
    ["configs", "diff", "nothing"],
    ["configs", "preflight", "nothing"],
    ["train", "start", "nothing"],
    ["train", "start", "../x"],
    ["train", "start", "c", "--nproc", "two"],
    ["train", "status", "latest"],
    ["train", "status", "nothing"],
    ["train", "stop", "../x"],
    ["train", "start", "c", "--launcher", "ssh"],
    ["train", "resume", "nothing"],
    ["train", "move", "nothing", "1"],
    ["train", "move", "latest", "first"],
    ["train", "metrics", "nothing"],
    ["export", "convert", "nothing"],
    ["export", "merge", "latest"],
    ["export", "verify", "nothing"],
    ["export", "gguf", "latest"],
    ["export", "gguf", "latest", "--type", "q4_k_m"],
    ["chat", "ask", "--prompt", "x"],
    ["chat", "ask", "--prompt", "x", "--model", "nothing"],
    ["chat", "score", "nothing"],
    ["report", "build", "nothing"],
    ["publish", "package", "nothing", "--target", "openxlab"],
    ["publish", "package", "nothing", "--target", "elsewhere"],
    ["tunnel"],
    ["tunnel", "--host", "-oProxyCommand=x"],
    ["tunnel", "--host", "h", "--port", "0"],
    ["demo"],
    ["demo", "--name", ""],
    ["demo", "--name", "x" * 10_000],
    ["demo", "--name", "a/b"],
]


def shown(words: list[str]) -> str:
    return ascii(" ".join(words))[1:60]


@pytest.mark.parametrize("words", BAD, ids=shown)
def test_bad_input_is_one_line_and_writes_nothing(workspace, here, words):
    refused(here(*words, "--json") if words else here())
    assert [path.name for path in workspace.root.rglob("*") if path.name not in (".lock",) and path.is_file()] == []
    assert {path.name for path in workspace.root.iterdir()} <= {"jobs", "runs"}


@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_processes(here, config, fake_engine, workspace, number):
    fake_engine("ok")
    for option in ("--nproc", "--nnodes"):
        refused(here("train", "start", config.name, option, number))
    assert not list(workspace.runs.glob("*/run.json"))


def test_taken_names_are_refused_and_nothing_is_overwritten(here, workspace, config, dataset, tmp_path):
    before = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}
    model = write_model(tmp_path / "m")
    (tmp_path / "x.txt").write_text("text")
    for words in (
        ["models", "link", str(model), "--name", "demo"],
        ["datasets", "assistant", "--name", "小红", "--out", dataset.name],
        ["datasets", "import", str(tmp_path / "x.txt"), "--out", dataset.name],
        ["configs", "new", "--model", "demo", "--dataset", dataset.name, "--recipe", "course", "--out", config.name],
    ):
        refused(here(*words))
    assert {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()} == before


def test_model_with_a_missing_shard(here, workspace, tmp_path):
    model = write_model(tmp_path / "m", shards=2)
    (model / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in refused(here("models", "link", str(model)))
    assert not workspace.models.exists()


def test_stopped_by_the_keyboard(here, monkeypatch, workspace):  # noqa: ARG001
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(machine.COMMANDS, "doctor", (interrupted, []))
    code, out, err = here("doctor")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_the_real_trainer_is_what_is_started():
    assert commands.ENTRY == "core.engine.workers.entry"


def test_a_config_from_elsewhere_is_executed_with_agree_alone(told, here, config, tmp_path, fake_engine):
    fake_engine("ok")
    ran, file = tmp_path / "ran", tmp_path / "theirs.py"
    line = f"open({str(ran)!r}, 'w').close()"
    file.write_text(f"{config.text()}\n{line}\n", encoding="utf-8")
    made = told("configs", "import", str(file))
    assert [problem["where"] for problem in made["problems"]] == ["agreement"]
    for command in (("configs", "preflight"), ("train", "start")):
        said = refused(here(*command, "theirs"))
        assert made["path"] in said
        assert "--agree" in said
    assert told("train", "list")["runs"] == []
    assert not ran.exists()
    code, _, err = here("train", "start", "theirs", "--agree", "--wait")
    assert code == 0, err
    assert f"{made['path']}:{len(file.read_text().splitlines())}: {line}" in err
    # Once per text.
    assert told("train", "start", "theirs", "--wait")["status"] == "FINISHED"


def test_a_run_that_was_changed_outside_is_resumed_with_agree_alone(here, failed_run):
    failed_run.config.write_text(failed_run.config.read_text() + "import os\n")
    assert "--agree" in refused(here("train", "resume", failed_run.id))
    code, _, err = here("train", "resume", failed_run.id, "--agree")
    assert code == 0, err
